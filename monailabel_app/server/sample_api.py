"""The platform's route for the next sample, whose answer can also be that there is none, and why."""

from __future__ import annotations

import time
from typing import Any

from monailabel.interfaces.utils.app import app_instance

from monailabel_app.server import confinement


def next_sample(strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the app for a case; the answer is what it says, with what is known of the image.

    As in the platform, the image's record keeps who asked by which strategy, and an answer without ``id`` means that
    there is nothing left to do.

    Raises:
        BadInput: The name of the strategy, or a parameter, is not one.
    """
    name = confinement.check_name(strategy)
    given = confinement.check_params(params) if params is not None else {}
    app = app_instance()
    chosen = app.next_sample({"strategy": name, **given})
    if not chosen or not chosen.get("id"):
        return chosen or {}
    store = app.datastore()
    info = store.get_image_info(chosen["id"])
    asked = {**info.get("strategy", {}), name: {"ts": int(time.time()), "client_id": given.get("client_id")}}
    store.update_image_info(chosen["id"], {"strategy": asked})
    return {**chosen, **info, "strategy": asked}
