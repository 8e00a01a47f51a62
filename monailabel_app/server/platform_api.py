"""The platform's HTTP API, offered again as it is, but confined and off the event loop.

Left out, and why:

- ``/train``: training runs are LabelLoop's own (a queue, versions), under the same paths but by other routes;
- ``/infer/wsi``: there are no whole-slide tasks, and the route joins a client's file name and parameters unchecked;
- ``/ohif``, ``/static``: no web viewer is shipped, and the route joins a client's path to a folder of the server;
- ``/proxy``: it forwards to any address of the PACS's network with the server's own credentials;
- ``/auth/token`` with Keycloak: it rejects every valid token; access is by one token
  (:mod:`monailabel_app.server.access`), which covers every route;
- ``/reload``: it would start a second app beside the running one.
"""

from __future__ import annotations

import dis
import inspect
import json
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import activelearning, batch_infer, datastore, info, model, scoring
from monailabel.endpoints import infer as stock_infer
from monailabel.endpoints.user.auth import DEFAULT_USER
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.errors import BadInput
from monailabel_app.server import confinement, sample_api, session_api
from monailabel_app.server.datastore_api import DatastoreApi
from monailabel_app.server.error_handlers import add_error_handlers
from monailabel_app.server.infer_api import InferApi
from monailabel_app.server.log_api import LogApi
from monailabel_app.server.served_folders import ServedFolders

__all__ = ["add_error_handlers", "add_platform_api", "off_the_loop"]

_STOCK = (info, batch_infer, activelearning, scoring, datastore, model)
_AWAITS = {"GET_AWAITABLE", "GET_AITER", "BEFORE_ASYNC_WITH"}
_MODELS_ARE_MADE_BY_TRAINING = (
    "model files are neither uploaded nor deleted: versions are made by training, and /loop/versions switches them"
)

Arguments = dict[str, Any]


def add_platform_api(app: FastAPI, *, log_file: Path | None = None, folders: Sequence[Path] = ()) -> None:
    """Add the platform's routes to our application, with the paths, parameters and answers that clients know.

    Args:
        log_file: What ``/logs/`` shows; by default where the platform's ``start_server`` writes its log.
        folders: Images and labels are served from, and written into, these alone, all links resolved; with none the
            store alone decides.

    Raises:
        BadInput: The platform is set up for a login with Keycloak.
        AssertionError: The installed platform has an endpoint that cannot be run off the event loop.
    """
    if settings.MONAI_LABEL_AUTH_ENABLE:
        raise BadInput("a login with Keycloak is not offered: unset MONAI_LABEL_AUTH_ENABLE and start with a token")
    served = ServedFolders(tuple(folders))
    own = list(_own_routes(served, log_file or Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"))
    taken = {(method, path) for path, method, _, _ in own}
    for path, method, endpoint, more in own:
        app.add_api_route(settings.MONAI_LABEL_API_STR + path, endpoint, methods=[method], response_model=None, **more)
    for route in (route for module in _STOCK for route in module.router.routes if isinstance(route, APIRoute)):
        if not any((method, route.path) in taken for method in route.methods or ()):
            _offer_again(app, route, served)


def _offer_again(app: FastAPI, route: APIRoute, served: ServedFolders) -> None:
    app.add_api_route(
        settings.MONAI_LABEL_API_STR + route.path,
        off_the_loop(route.endpoint, _check_of(route.endpoint, served)),
        methods=sorted(route.methods or ()),
        summary=route.summary,
        tags=list(route.tags),
        responses=dict(route.responses),
        include_in_schema=route.include_in_schema,
        deprecated=route.deprecated,
        response_model=None,
    )


def off_the_loop(
    endpoint: Callable[..., Coroutine[Any, Any, Any]], check: Callable[[Arguments], Arguments] = dict
) -> Callable[..., Any]:
    """Make a plain function of a coroutine function that never waits, so that FastAPI runs it in its thread pool.

    The parameters stay as they are, but for ``user``: whoever has the server's token is the platform's one user.

    Args:
        check: Lets the arguments through, or raises.

    Raises:
        AssertionError: The coroutine waits for something, so that it needs the event loop.
    """
    if not inspect.iscoroutinefunction(endpoint) or any(i.opname in _AWAITS for i in dis.get_instructions(endpoint)):
        raise AssertionError(
            f"{endpoint.__module__}.{endpoint.__name__} is not a coroutine that never waits: this version of the "
            "platform is not the one that LabelLoop was written for"
        )
    signature = inspect.signature(endpoint)
    user = {"user": DEFAULT_USER} if "user" in signature.parameters else {}

    def run(**arguments: Any) -> Any:
        coroutine = endpoint(**check(arguments), **user)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        coroutine.close()
        raise AssertionError(f"{endpoint.__name__} waited for something off the event loop")

    run.__name__, run.__doc__, run.__module__ = endpoint.__name__, endpoint.__doc__, endpoint.__module__
    # No __wrapped__: FastAPI would look through it, find the coroutine function, and run it on the event loop.
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "user"]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "image": confinement.check_id,
    "label": confinement.check_id,
    "id": confinement.check_id,
    "tag": confinement.check_tag,
    "model": confinement.check_name,
    "strategy": confinement.check_name,
    "method": confinement.check_name,
    "info": confinement.check_info,
}


def _check_of(endpoint: Callable[..., Any], served: ServedFolders) -> Callable[[Arguments], Arguments]:
    is_batch = endpoint.__module__ == batch_infer.__name__
    check_params = confinement.check_batch_params if is_batch else confinement.check_params
    labels = "tag" in inspect.signature(endpoint).parameters

    def check(arguments: Arguments) -> Arguments:
        checked = {name: _CHECKS.get(name, _as_it_is)(value) for name, value in arguments.items()}
        params = checked.get("params")
        if isinstance(params, str):
            checked["params"] = confinement.check_info(params)
        elif params is not None:
            checked["params"] = check_params(params)
        _check_sum(checked.get("check_sum"))
        for which in _ids_in(checked):
            store = app_instance().datastore()
            served.check_label(store, which, checked["tag"]) if labels else served.check_image(store, which)
        return checked

    return check


def _ids_in(arguments: Arguments) -> list[str]:
    ids = [arguments[name] for name in ("image", "label", "id") if name in arguments]
    params = arguments.get("params")
    batch = params.get("images") if isinstance(params, dict) else None
    return ids + (batch if isinstance(batch, list) else [])


def _as_it_is(value: Any) -> Any:
    return value


def _check_sum(value: str | None) -> None:
    if value and ":" in value and value.split(":")[0] not in ("SHA256", "SHA512", "MD5"):
        raise BadInput("check_sum is SHA256:, SHA512: or MD5: and the digest in hexadecimal")


_Route = tuple[str, str, Callable[..., Any], dict[str, Any]]


def _own_routes(served: ServedFolders, log_file: Path) -> Iterator[_Route]:
    logs, store = LogApi(log_file), DatastoreApi(served)
    yield (
        "/infer/{model}",
        "POST",
        InferApi(served).infer,
        {
            "summary": "Run Inference for supported model",
            "tags": ["Infer"],
            "responses": dict(stock_infer.router.responses),
        },
    )
    for path, hidden in (("/datastore/image", False), ("/datastore/", True)):
        more = {"summary": "Upload new Image", "include_in_schema": not hidden, "deprecated": hidden or None}
        yield path, "PUT", store.add_image, {**more, "tags": ["Datastore"]}
    sample = {"summary": "Run Active Learning strategy to get next sample", "tags": ["ActiveLearning"]}
    yield "/activelearning/{strategy}", "POST", sample_api.next_sample, sample
    yield "/datastore/label", "PUT", store.save_label, {"summary": "Save Finished Label", "tags": ["Datastore"]}
    session: dict[str, Any] = {"tags": ["Session"]}
    yield "/session/{session_id}", "GET", session_api.get_session, {**session, "summary": "Get Session ID"}
    yield "/session/", "PUT", session_api.create_session, {**session, "summary": "Create new session with Image"}
    yield "/session/{session_id}", "DELETE", session_api.remove_session, {**session, "summary": "Delete Session"}
    yield "/logs/", "GET", logs.logs, {"summary": "Get Logs", "tags": ["Others"]}
    yield "/logs/gpu", "GET", logs.gpu, {"summary": "Get GPU Info (nvidia-smi)", "tags": ["Others"]}
    for method, summary in (
        ("PUT", "Not offered: upload a model file"),
        ("DELETE", "Not offered: delete a model file"),
    ):
        yield "/model/{model}", method, refuse_model_change, {"summary": summary, "tags": ["Model"]}
    yield "/auth/", "GET", auth_enabled, {"summary": "Check If Auth is Enabled", "tags": ["Auth"]}
    yield "/auth/token/valid", "GET", valid_token, {"summary": "Check If current token is Valid", "tags": ["Auth"]}


def refuse_model_change(model: str) -> None:
    raise HTTPException(403, _MODELS_ARE_MADE_BY_TRAINING)


def auth_enabled() -> dict[str, bool]:
    return {"enabled": False}


def valid_token() -> dict[str, Any]:
    return json.loads(DEFAULT_USER.model_dump_json())
