"""Which names, ids and parameters a client may send: none of them can become a path of the server."""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from typing import Any

from monailabel_app.errors import BadInput

RESULT_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha")
MAX_INFO_CHARACTERS = 256 * 1024

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,127}")
_ENCODED = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")

# What decides which file a task or the platform reads or writes. `bundle_path` ends on the PYTHONPATH of a process.
_SERVER_KEYS = frozenset(
    "model image images session session_id file files path output folder directory result_write_to_file strategy method"
    " description _id _image_id".split()
)
_SERVER_SUFFIXES = ("_path", "_file", "_filename", "_dir", "_folder", "_uri", "_url")
# What the store itself says about an image or a label. Clients send back what they read, so these are left out quietly.
_STORE_KEYS = frozenset({"id", "path", "name", "ext", "ts"})


def _shown(value: object) -> str:
    return repr(str(value)[:60])


def check_tag(tag: str) -> str:
    """Let a label's tag through: letters, digits, ``.``, ``_`` and ``-``, at most 64.

    Raises:
        BadInput: It is anything else.
    """
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise BadInput(f"{_shown(tag)} is no tag: a tag is made of letters, digits, '.', '_' and '-' (at most 64)")
    return str(tag.value) if hasattr(tag, "value") else tag


def check_name(name: str) -> str:
    """Let the name of a model, a strategy, a scoring method or a label through.

    Raises:
        BadInput: It holds anything but letters, digits, spaces, ``.``, ``_``, ``+`` and ``-``.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInput(f"{_shown(name)} is no name: use letters, digits, spaces, '.', '_', '+' and '-' (at most 128)")
    return name


def check_text(text: str) -> str:
    """Let one short line of free text (a user's name) through.

    Raises:
        BadInput: It has more than 128 characters, or control characters.
    """
    if not isinstance(text, str) or len(text) > 128 or _has_control(text):
        raise BadInput(f"{_shown(text)} is not one line of at most 128 characters")
    return text


def check_id(value: str) -> str:
    """Let the id of an image or of a label through; ids may have folders (``patient/series``).

    Raises:
        BadInput: It is empty, longer than 512 characters, absolute, hidden, or has ``..``, backslashes, control
            characters or their encoded forms.
    """
    usable = isinstance(value, str) and 0 < len(value) <= 512 and not _has_control(value)
    if not usable or "\\" in value or _DRIVE.match(value) or _ENCODED.search(value):
        raise BadInput(f"{_shown(value)} is no id of this server: take one from GET /datastore/?output=all")
    segments = value.split("/")
    if any(not part or part.startswith(".") or len(part.encode()) > 240 for part in segments):
        raise BadInput(f"{_shown(value)} is no id of this server: take one from GET /datastore/?output=all")
    return value


def check_new_id(value: str) -> str:
    """Let the id of an image that is being uploaded through: as :func:`check_id`, and without folders.

    Raises:
        BadInput: As :func:`check_id`, or it has a ``/``.
    """
    if "/" in check_id(value):
        raise BadInput(f"{_shown(value)} has a '/': give an uploaded image an id without folders")
    return value


def check_session_id(value: str) -> str:
    """Let a session's id through: a UUID as the server wrote it.

    Raises:
        BadInput: It is anything else.
    """
    try:
        same = str(uuid.UUID(value)) == value
    except (ValueError, AttributeError, TypeError):
        same = False
    if not same:
        raise BadInput(f"{_shown(value)} is no session id: PUT /session/ answers with one")
    return value


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)


def read_object(text: str | None) -> dict[str, Any]:
    """Read a form field that holds a JSON object; empty is ``{}``.

    Raises:
        BadInput: It is not a JSON object (NaN and Infinity are not JSON).
    """
    try:
        value = json.loads(text or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput("the form field is not JSON: send an object, such as {}") from error
    if not isinstance(value, dict):
        raise BadInput("the form field is JSON, but not an object: send one, such as {}")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def check_info(text: str | None) -> str:
    """Let what a client says about an image or a label through, without the fields that the store itself writes.

    Raises:
        BadInput: It is not a JSON object, or has more than 256 Ki characters.
    """
    if text and len(text) > MAX_INFO_CHARACTERS:
        raise BadInput(f"what is said about one image has at most {MAX_INFO_CHARACTERS:,} characters")
    info = {key: value for key, value in read_object(text).items() if key not in _STORE_KEYS}
    for key in ("user", "client_id", "author"):
        if info.get(key) is not None:
            check_text(info[key])
    return json.dumps(info)


def check_params(params: dict[str, Any] | None, *, nested: bool = True) -> dict[str, Any]:
    """Let the parameters of a task through, but for those that say which file is read or written.

    ``label`` is a name here (viewers send the structure that a click belongs to) and comes out as ``label_name``;
    ``images`` of a batch is checked by :func:`check_batch_params`.

    Raises:
        BadInput: A parameter is the server's own, or its value does not fit.
    """
    checked = dict(params or {})
    for key, value in checked.items():
        if key in _SERVER_KEYS or (key.lower().endswith(_SERVER_SUFFIXES) and _has_text(value)):
            raise BadInput(f"the parameter {_shown(key)} is the server's own: leave it out of params")
    for value in checked.values():
        if nested and isinstance(value, dict):
            check_params(value, nested=False)
    _check_values(checked)
    if "label" in checked:
        label = checked.pop("label")
        if label:
            checked["label_name"] = check_text(check_id(label))
    return checked


def _has_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and any(_has_text(one) for one in value))


def _check_values(params: dict[str, Any]) -> None:
    extension = params.get("result_extension")
    if extension is not None and extension not in RESULT_SUFFIXES:
        raise BadInput(f"{_shown(extension)} is no result_extension: use one of {', '.join(RESULT_SUFFIXES)}")
    if params.get("label_tag") is not None and check_tag(params["label_tag"]) == "final":
        raise BadInput("a prediction is not an annotation: save it under another label_tag than 'final'")
    for key in ("user", "client_id"):
        if params.get(key) is not None:
            check_text(params[key])
    if params.get("gpus") and not re.fullmatch(r"all|\d+(,\d+)*", str(params["gpus"])):
        raise BadInput("gpus is a text, such as 'all' or '0,1'")


def check_batch_params(params: dict[str, Any] | None) -> dict[str, Any]:
    """As :func:`check_params`, with the ids of ``images`` let through one by one.

    Raises:
        BadInput: As :func:`check_params`, or ``images`` is neither ``all``, ``labeled``, ``unlabeled`` nor ids.
    """
    rest = dict(params or {})
    images = rest.pop("images", None)
    checked = check_params(rest)
    if isinstance(images, list):
        checked["images"] = [check_id(image) for image in images]
    elif images in ("all", "labeled", "unlabeled"):
        checked["images"] = images
    elif images is not None:
        raise BadInput("images is 'all', 'labeled', 'unlabeled' or a list of image ids")
    return checked
