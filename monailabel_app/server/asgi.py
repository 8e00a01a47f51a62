"""The server: the platform's API and ours behind one gate."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

import monailabel_app
from monailabel_app.app import LabelLoopApp
from monailabel_app.server.access import AccessMiddleware, AccessPolicy
from monailabel_app.server.json_body import check_body
from monailabel_app.server.loop_answers import answer_routes
from monailabel_app.server.loop_cases import case_routes
from monailabel_app.server.loop_selection import selection_routes
from monailabel_app.server.loop_synthetic import synthetic_routes
from monailabel_app.server.loop_training import training_routes
from monailabel_app.server.platform_api import add_error_handlers, add_platform_api
from monailabel_app.server.train_api import train_routes


def build_api(app: LabelLoopApp) -> FastAPI:
    """All routes, with one ``/openapi.json``; the page to try them is at ``/``."""
    api = FastAPI(
        title="LabelLoop",
        version=monailabel_app.__version__,
        docs_url="/",
        redoc_url="/docs",
        dependencies=[Depends(check_body)],
    )
    store = app.store
    folders = () if app.settings.follow_links else (store.catalogue.studies, store.workspace.root)
    add_platform_api(api, log_file=store.workspace.logs / "app.log", folders=folders)
    add_error_handlers(api)
    routers = (train_routes, case_routes, answer_routes, synthetic_routes, training_routes, selection_routes)
    for router in (routes(app) for routes in routers):
        api.include_router(router)
    return api


def build_server(app: LabelLoopApp, policy: AccessPolicy) -> ASGIApp:
    """The API behind the gate that checks token, origin, host and size."""
    return AccessMiddleware(build_api(app), policy)


def take_over(platform: FastAPI, app: LabelLoopApp, policy: AccessPolicy) -> None:
    """Serve ours in place of the platform's routes, in the platform's own server.

    Both ``labelloop serve`` and ``monailabel start_server`` run ``monailabel.app:app``; Starlette hands each request to
    its ``middleware_stack``, which exists by the time the app's start-up code runs.
    """
    platform.middleware_stack = build_server(app, policy)
