"""The list of cases, and the way to the next one."""

from __future__ import annotations

from typing import Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..client import CaseSummary, StrategyInfo
from ..client.plain import plain
from ..jobs import Listeners, Signal
from ..workflow.case_list import CaseList
from ..workflow.casework import Casework
from ..workflow.connection import Connection
from ..workflow.selection import Selection
from ..workflow.settings import Settings
from ..workflow.submission import Submission
from .selection_words import leaseText

SHOWN_AT_ONCE = 300
ROW_HEIGHT = 22
COLUMN_WIDTHS = (90, 80, 85, 50, 80, 80)
WIDEST_COLUMN = 140
STATUSES = ("new", "draft", "submitted", "approved", "rejected", "unusable")


class CasesPanel:
    """Chooses what is worked on.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
    """

    def __init__(
        self,
        connection: Connection,
        cases: CaseList,
        casework: Casework,
        selection: Selection,
        submission: Submission,
        settings: Settings,
        uiFile: str,
    ) -> None:
        self.titleChanged = Signal("title: str")
        self._connection = connection
        self._cases = cases
        self._casework = casework
        self._selection = selection
        self._submission = submission
        self._settings = settings
        self._shown: "list[CaseSummary]" = []
        self._strategies: "tuple[StrategyInfo, ...]" = ()
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._setUpTable()
        self._connectWidgets()
        self._listeners = Listeners(
            (cases.changed, self.updateList),
            (connection.changed, self.update),
            (selection.changed, self.onSelection),
            (casework.opened, self.update),
            (casework.closed, self.update),
            (casework.busy, self.onBusy),
        )
        self.onBusy("", None)
        self.updateList()
        self.update()

    def close(self) -> None:
        self._listeners.close()

    def _setUpTable(self) -> None:
        table = self.ui.casesTable
        columns = [_("Case"), _("Status"), _("Annotators"), _("Score"), _("Patient"), _("Image")]
        table.setColumnCount(len(columns))
        table.setHorizontalHeaderLabels(columns)
        table.setTextElideMode(qt.Qt.ElideMiddle)  # of a long UID the end tells most
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        table.setWordWrap(False)
        table.horizontalHeader().setStretchLastSection(True)
        table.horizontalHeader().setHighlightSections(False)
        table.setMinimumHeight(200)
        self.ui.statusComboBox.addItem(_("any status"), "")
        for status in STATUSES:
            self.ui.statusComboBox.addItem(_statusText(status), status)
        self.ui.prefetchCheckBox.checked = self._settings.prefetch

    def _connectWidgets(self) -> None:
        ui = self.ui
        ui.nextButton.connect("clicked(bool)", self.onNext)
        ui.cancelButton.connect("clicked(bool)", lambda checked=False: self._casework.cancelOpening())
        ui.openButton.connect("clicked(bool)", self.onOpen)
        ui.reopenButton.connect("clicked(bool)", self.onReopen)
        ui.rescanButton.connect("clicked(bool)", lambda checked=False: self._cases.rescan())
        ui.casesTable.connect("cellDoubleClicked(int,int)", lambda row, column: self.onOpen())
        ui.casesTable.connect("itemSelectionChanged()", self.update)
        ui.searchEdit.connect("textChanged(QString)", self.updateList)
        ui.statusComboBox.connect("currentIndexChanged(int)", self.updateList)
        ui.strategyComboBox.connect("activated(int)", self.onStrategy)
        ui.prefetchCheckBox.connect("toggled(bool)", self.onPrefetch)

    # --- what the user does -------------------------------------------------------------------------------------------

    def onNext(self, checked: bool = False) -> None:
        if self.ui.nextButton.enabled:
            self._selection.openNext()

    def onOpen(self, checked: bool = False) -> None:
        case = self.selected()
        if case is not None and self._connection.online:
            self._casework.openCase(case.id)

    def onReopen(self, checked: bool = False) -> None:
        case = self.selected()
        if case is not None:
            self._submission.reopen(case.id)

    def onStrategy(self, index: int) -> None:
        self._selection.choose(self._strategies[index].name)

    def onPrefetch(self, on: bool) -> None:
        self._settings.prefetch = on

    def selected(self) -> Optional[CaseSummary]:
        """The case of the selected line."""
        row = self.ui.casesTable.currentRow()
        chosen = self.ui.casesTable.selectedItems()
        return self._shown[row] if chosen and 0 <= row < len(self._shown) else None

    # --- what is shown ------------------------------------------------------------------------------------------------

    def onSelection(self) -> None:
        combo, chosen = self.ui.strategyComboBox, self._selection.strategy
        if self._selection.strategies != self._strategies:
            self._strategies = self._selection.strategies
            combo.clear()
            combo.addItems([plain(one.title or one.name) for one in self._strategies])
        if chosen is not None and combo.currentIndex != self._strategies.index(chosen):
            combo.currentIndex = self._strategies.index(chosen)
        self.update()

    def onBusy(self, text: str, share: Optional[float]) -> None:
        for widget in (self.ui.busyLabel, self.ui.busyProgressBar, self.ui.cancelButton):
            widget.setVisible(bool(text))
        self.ui.busyLabel.text = text
        self.ui.busyProgressBar.setRange(0, 0 if share is None else 100)
        self.ui.busyProgressBar.setValue(int(100 * (share or 0.0)))

    def update(self, _value: object = None) -> None:
        """Buttons and the line under the strategy."""
        case = self.selected()
        strategy = self._selection.strategy
        self.ui.strategyDescriptionLabel.text = plain(strategy.description) if strategy else ""
        offline = "" if self._connection.online else _("Connect to a server first")
        missing = offline or ("" if case is not None else _("Select a case in the list"))
        noStrategy = "" if strategy is not None else _("The server has no strategy")
        problem = plain(case.problem or "") if case is not None else ""
        for button, does, hindrance in (
            (self.ui.nextButton, _("Open the case that the strategy finds most useful"), offline or noStrategy),
            (self.ui.openButton, _("Open the selected case"), missing or problem),
            (self.ui.reopenButton, _("Make your submitted work a draft again, open it"), self._whyNoReopen(missing)),
            (self.ui.rescanButton, _("Let the server look for new studies, and ask for the list again"), offline),
        ):
            button.enabled = not hindrance
            button.toolTip = hindrance or does
        current = self._casework.current
        self.titleChanged.emit(_("Cases: {case} is open").format(case=current.id) if current else _("Cases"))
        self._markOpenCase()

    def _whyNoReopen(self, missing: str) -> str:
        case = self.selected()
        mine = [one for one in case.annotators if one.author == self._settings.annotator] if case is not None else []
        isFinished = any(one.status != "draft" for one in mine)
        return missing or ("" if isFinished else _("You have not submitted this case"))

    def updateList(self, _value: object = None) -> None:
        status = self.ui.statusComboBox.itemData(self.ui.statusComboBox.currentIndex)
        matching = self._cases.matching(self.ui.searchEdit.text, [status] if status else [])
        self._fillTable(matching[:SHOWN_AT_ONCE])
        text = _("{count} of {total} cases").format(count=len(matching), total=len(self._cases.cases))
        if len(matching) > SHOWN_AT_ONCE:
            text += _(", the first {shown} shown: search to narrow").format(shown=SHOWN_AT_ONCE)
        self.ui.countLabel.text = text
        self.update()

    def _fillTable(self, cases: "list[CaseSummary]") -> None:
        """Fill the table where it is to change; the selected case stays selected."""
        if cases == self._shown:
            return
        selected = self.selected()
        table = self.ui.casesTable
        table.blockSignals(True)
        table.setRowCount(len(cases))
        for row, case in enumerate(cases):
            if row >= len(self._shown) or case != self._shown[row]:
                self._fillRow(row, case)
        if not self._shown:
            self._fitColumns()
        self._shown = cases
        table.clearSelection()
        for row, case in enumerate(cases):
            if selected is not None and case.id == selected.id:
                table.selectRow(row)
        table.blockSignals(False)

    def _fitColumns(self) -> None:
        """As wide as the content, but none so wide that it hides the others; from then on they are the user's."""
        table = self.ui.casesTable
        table.resizeColumnsToContents()
        for column, least in enumerate(COLUMN_WIDTHS):
            table.setColumnWidth(column, min(max(table.columnWidth(column), least), WIDEST_COLUMN))

    def _fillRow(self, row: int, case: CaseSummary) -> None:
        lease = leaseText(case.lease, self._settings.annotator)
        annotators = ", ".join((*(one.author for one in case.annotators), *([lease] if lease else ())))
        who = "\n".join(f"{one.author}: {_statusText(one.status)}" for one in case.annotators)
        score = "" if case.score is None else f"{case.score:.3f}"
        place = "" if case.rank is None else _("place {rank} by its score").format(rank=case.rank)
        image = " ".join(part for part in (case.modality, case.description) if part)
        toolTip = "\n".join(part for part in (case.id, case.problem or image, who, lease, place) if part)
        for column, text in enumerate((case.id, _statusText(case.status), annotators, score, case.patient, image)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(toolTip)
            self.ui.casesTable.setItem(row, column, item)

    def _markOpenCase(self) -> None:
        current = self._casework.current
        for row, case in enumerate(self._shown):
            item = self.ui.casesTable.item(row, 0)
            font = item.font()
            font.setBold(current is not None and current.id == case.id)
            item.setFont(font)


def _statusText(status: str) -> str:
    """A status in the user's words; ``final`` is what the store calls a submitted annotation."""
    return {
        "new": _("new"),
        "draft": _("draft"),
        "final": _("submitted"),
        "submitted": _("submitted"),
        "approved": _("approved"),
        "rejected": _("rejected"),
        "unusable": _("unusable"),
    }.get(status, status)
