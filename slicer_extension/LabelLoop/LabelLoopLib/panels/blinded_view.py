"""A blinded round on the screen: an image, two buttons, and nothing that tells."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..jobs import Listeners
from ..workflow.blinded import BlindedRound
from ..workflow.connection import Connection
from .review_keys import BLINDED_KEYS
from .scaled_picture import ScaledPicture


class BlindedView:
    """Shows the image of a round that is to be judged, and takes the answer.

    Args:
        ui: The widgets of ``ReviewPanel.ui``.
    """

    def __init__(self, blinded: BlindedRound, connection: Connection, ui: Any, room: Any) -> None:
        self._blinded = blinded
        self._connection = connection
        self._ui = ui
        self._picture = ScaledPicture(ui.blindedPictureLabel, room)
        ui.realButton.text = _("Real  [{key}]").format(key=BLINDED_KEYS["real"])
        ui.syntheticButton.text = _("Synthetic  [{key}]").format(key=BLINDED_KEYS["synthetic"])
        ui.realButton.connect("clicked(bool)", self.onReal)
        ui.syntheticButton.connect("clicked(bool)", self.onSynthetic)
        ui.endButton.connect("clicked(bool)", lambda checked=False: blinded.stop())
        self._listeners = Listeners((blinded.changed, self.update), (blinded.pictures.came, self.update))

    def close(self) -> None:
        self._listeners.close()

    def onReal(self, checked: bool = False) -> None:
        self._answer(False)

    def onSynthetic(self, checked: bool = False) -> None:
        self._answer(True)

    def _answer(self, synthetic: bool) -> None:
        """Nobody judges what is not seen yet."""
        if self._blinded.pictures.file(self._blinded.item) is not None:
            self._blinded.answer(synthetic)

    def update(self, _value: object = None) -> None:
        ui, blinded = self._ui, self._blinded
        ui.blindedBox.setVisible(blinded.running)
        if not blinded.running:
            return
        place, count = blinded.place
        ui.blindedPlaceLabel.text = _("Image {place} of {count}: real or synthetic?").format(place=place, count=count)
        item = blinded.item
        file, problem = blinded.pictures.file(item), blinded.pictures.problem(item)
        self._picture.show(file, problem or _("The image is on its way ..."))
        for button in (ui.realButton, ui.syntheticButton):
            button.enabled = file is not None and not blinded.busy
        note = _("How your answers were is told at the end.")
        if blinded.said is not None and not self._connection.online:
            said = _("synthetic") if blinded.said else _("real")
            note = _("Your answer ({said}) is sent when the server is back.").format(said=said)
        ui.blindedNoteLabel.text = note
