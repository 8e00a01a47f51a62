"""The figures of a classification: which classes are taken for which, and how well each is told from the others."""

from __future__ import annotations

import html
from typing import Any, Optional, Sequence

import qt
from slicer.i18n import tr as _

from ..client import AnyVersion, AttributeEvaluation, ClassEvaluation, ClassificationVersion, Figure
from ..client.plain import plain
from .training_words import SEPARATOR, capital
from .version_words import NOT_MEASURED, figureText, valueText

NAME_LENGTH = 40
MOST_ROWS = 8
"""How many rows have room without scrolling."""
MOST_COLUMNS = 6
"""With more columns a table scrolls sideways."""
DEEPEST = 160
"""How opaque the cell of a row with all its cases is, of 255."""


class ClassFigures:
    """Shows the figures of the selected version, attribute by attribute; hidden where there are none.

    Args:
        box: Holds all of the others.
        attributeComboBox: Chooses the attribute; hidden if there is only one.
        figuresLabel: The figures of the attribute as a whole.
        confusionTable: Cases by class, rows answer, columns prediction; hidden for findings.
        classesTable: The figures of each class.
    """

    def __init__(
        self, box: Any, attributeComboBox: Any, figuresLabel: Any, confusionTable: Any, classesTable: Any
    ) -> None:
        self._box = box
        self._attributeComboBox = attributeComboBox
        self._figuresLabel = figuresLabel
        self._confusionTable = confusionTable
        self._classesTable = classesTable
        self._attributes: "dict[str, AttributeEvaluation]" = {}
        self._rowHeight = classesTable.fontMetrics().height() + 8
        for table in (confusionTable, classesTable):
            table.verticalHeader().setMinimumSectionSize(self._rowHeight)
            table.verticalHeader().setDefaultSectionSize(self._rowHeight)
            table.horizontalHeader().setMinimumSectionSize(24)
        attributeComboBox.connect("currentIndexChanged(int)", self._onAttribute)
        box.setVisible(False)

    def show(self, version: Optional[AnyVersion]) -> None:
        """Show the figures of a version; the attribute that was chosen stays, if it has it."""
        evaluation = version.evaluation if isinstance(version, ClassificationVersion) else None
        attributes = evaluation.attributes if evaluation is not None else {}
        self._box.setVisible(bool(attributes))
        if attributes == self._attributes:
            return
        names, chosen = list(attributes), self._chosen()
        self._attributes = attributes
        combo = self._attributeComboBox
        blocked = combo.blockSignals(True)
        combo.clear()
        for name in names:
            combo.addItem(plain(name, NAME_LENGTH), name)
        combo.setCurrentIndex(names.index(chosen) if chosen in names else 0)
        combo.setVisible(len(names) > 1)
        combo.blockSignals(blocked)
        self._onAttribute()

    def _chosen(self) -> Optional[str]:
        return self._attributeComboBox.itemData(self._attributeComboBox.currentIndex)

    def _onAttribute(self, _index: int = 0) -> None:
        attribute = self._attributes.get(self._chosen() or "")
        if attribute is None:
            return
        self._figuresLabel.text = attributeText(attribute)
        self._confusionTable.setVisible(attribute.confusion is not None)
        self._fillConfusion(attribute)
        self._fillClasses(attribute)

    def _fillConfusion(self, attribute: AttributeEvaluation) -> None:
        table, names = self._confusionTable, [plain(name, NAME_LENGTH) for name in attribute.order]
        _resize(table, names, [_("→ {name}").format(name=name) for name in names])
        for row, counts in enumerate((attribute.confusion or ())[: len(names)]):
            total = max(sum(counts), 1)
            for column, count in enumerate(counts[: len(names)]):
                text = _("{count} of {total} with the answer '{row}' were taken for '{column}'").format(
                    count=count, total=sum(counts), row=names[row], column=names[column]
                )
                item = _cell(str(count), text)
                font = item.font()
                font.setBold(row == column)
                item.setFont(font)
                color = qt.QColor(table.palette.color(qt.QPalette.Highlight))
                color.setAlpha(int(DEEPEST * max(min(count / total, 1.0), 0.0)))
                item.setBackground(qt.QBrush(color))
                table.setItem(row, column, item)
        self._fitHeight(table)

    def _fillClasses(self, attribute: AttributeEvaluation) -> None:
        table = self._classesTable
        measures = (_("Cases"), _("Precision"), _("Recall"), _("F1"), _("AUC"))
        known = [(name, attribute.classes[name]) for name in attribute.order if name in attribute.classes]
        _resize(table, [plain(name, NAME_LENGTH) for name, _one in known], measures)
        for row, (_name, one) in enumerate(known):
            table.setItem(row, 0, _cell(str(one.support), _countText(one)))
            for column, figure in enumerate((one.precision, one.recall, one.f1, one.roc_auc), 1):
                table.setItem(row, column, _cell(_shortText(figure), _intervalText(figure)))
        self._fitHeight(table)

    def _fitHeight(self, table: Any) -> None:
        """Be as high as the rows, within limits; one more for the header."""
        bar = 1 if table.columnCount > MOST_COLUMNS else 0
        height = (min(table.rowCount, MOST_ROWS) + 1 + bar) * self._rowHeight + 8
        table.setMinimumHeight(height)
        table.setMaximumHeight(height)


def attributeText(attribute: AttributeEvaluation) -> str:
    """The figures of an attribute as a whole, on two lines."""
    figures = (
        (_("balanced accuracy"), attribute.balanced_accuracy),
        (_("mean ROC AUC"), attribute.macro_auc),
        (_("accuracy"), attribute.accuracy),
        (_("all findings right"), attribute.exact_match),
        (_("weighted kappa"), attribute.kappa),
        (_("calibration error"), attribute.calibration_error),
    )
    if attribute.kind == "multi":  # what decides comes first
        figures = (figures[1], *figures[2:])
    told = [f"{name} {figureText(figure)}" for name, figure in figures if figure is not None]
    measured = _("measured on {cases} cases of {patients} patients").format(
        cases=attribute.cases, patients=attribute.patients
    )
    lines = (told[:1] or [_("nothing could be measured")]) + [SEPARATOR.join([*told[1:], measured])]
    return "\n".join(capital(line) for line in lines)


def _shortText(figure: Optional[Figure]) -> str:
    return valueText(figure.value if figure is not None else None, 2)


def _intervalText(figure: Optional[Figure]) -> str:
    if figure is None:
        return _("{mark}: there are no cases to measure it on").format(mark=NOT_MEASURED)
    if figure.low is None or figure.high is None:
        return _("Too few patients to say how sure it is")
    return _("95 % interval: {low} to {high}").format(low=valueText(figure.low, 2), high=valueText(figure.high, 2))


def _countText(one: ClassEvaluation) -> str:
    return _("{support} cases have it, it was predicted in {predicted}; in {hits} cases both").format(
        support=one.support, predicted=one.predicted, hits=one.hits
    )


def _resize(table: Any, rows: "Sequence[str]", columns: "Sequence[str]") -> None:
    """Empty a table, and name its rows and columns."""
    table.clear()
    table.setRowCount(len(rows))
    table.setColumnCount(len(columns))
    table.setVerticalHeaderLabels(list(rows))
    table.setHorizontalHeaderLabels(list(columns))
    isWide = len(columns) > MOST_COLUMNS
    mode = qt.QHeaderView.ResizeToContents if isWide else qt.QHeaderView.Stretch
    for column, name in enumerate(columns):
        table.horizontalHeader().setSectionResizeMode(column, mode)
        table.horizontalHeaderItem(column).setToolTip(_escaped(name))


def _cell(text: str, toolTip: str) -> Any:
    item = qt.QTableWidgetItem(text)
    item.setTextAlignment(qt.Qt.AlignCenter)
    item.setToolTip(_escaped(toolTip))
    return item


def _escaped(text: str) -> str:
    """A tool tip shows as HTML whatever looks like it."""
    return f"<qt>{html.escape(text)}</qt>"
