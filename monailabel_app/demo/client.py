"""What a program needs of the server's API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx

from monailabel_app.errors import LabelLoopError

PREDICTION_TIMEOUT_SECONDS = 1800.0


class ServerAnswer(LabelLoopError):
    """The server refused a request.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class ServerGone(LabelLoopError):
    """The server does not answer."""


class LoopClient:
    """Talks to a LabelLoop server over HTTP.

    Attributes:
        http: For calls that have no method here.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(
            base_url=url, headers=headers, timeout=httpx.Timeout(60.0, connect=5.0), trust_env=False
        )

    def close(self) -> None:
        self.http.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self.http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerGone(f"the server does not answer: {error}") from error
        if answer.is_error:
            raise ServerAnswer(answer.status_code, _detail(answer))
        return answer

    def capabilities(self) -> dict[str, Any]:
        return self._send("GET", "/loop/").json()

    def cases(self) -> list[dict[str, Any]]:
        """All cases, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._send("GET", "/loop/cases", params={"offset": len(found), "limit": 1000}).json()
            found += page["cases"]
            if len(found) >= page["total"] or not page["cases"]:
                return found

    def split(self) -> dict[str, list[str]]:
        return self._send("GET", "/loop/split").json()

    def name_validation_cases(self, cases: Iterable[str]) -> None:
        self._send("POST", "/loop/split/validation", json={"cases": list(cases)})

    def next_case(self, strategy: str, annotator: str, exclude: Iterable[str] = ()) -> str | None:
        """Id of the case to annotate next; None when all are finished."""
        request = {"client_id": annotator, "exclude": list(exclude)}
        return self._send("POST", f"/activelearning/{strategy}", json=request).json().get("id")

    def predict(self, case_id: str, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Predict with the published version; the label map is written into ``folder``.

        Raises:
            ServerAnswer: Status 409 when no version is published yet.
        """
        answer = self._send(
            "POST",
            "/infer/segmentation",
            params={"image": case_id},
            data={"params": "{}"},
            timeout=PREDICTION_TIMEOUT_SECONDS,
        )
        parts = multipart(answer)
        file = folder / "prediction.nii.gz"
        file.write_bytes(parts["image"])
        return file, json.loads(parts["params"])

    def submit(self, case_id: str, annotator: str, label_map: Path, labels: dict[str, int]) -> dict[str, Any]:
        """Submit a final annotation."""
        record = {"author": annotator, "status": "final", "labels": labels}
        with label_map.open("rb") as file:
            answer = self._send(
                "PUT",
                f"/loop/cases/{case_id}/annotation",
                data={"record": json.dumps(record)},
                files={"label": (label_map.name, file)},
            )
        return answer.json()

    def classify(self, case_id: str, task: str) -> dict[str, Any]:
        """What the published version says about a case: ``probabilities`` by attribute and class, and more.

        Raises:
            ServerAnswer: Status 409 when no version is published yet.
        """
        answer = self._send(
            "POST",
            f"/infer/{task}",
            params={"image": case_id, "output": "json"},
            data={"params": "{}"},
            timeout=PREDICTION_TIMEOUT_SECONDS,
        )
        return answer.json()

    def answer(self, case_id: str, annotator: str, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Submit classes as a final annotation."""
        record = json.dumps({"author": annotator, "status": "final", "classification": dict(answers)})
        return self._send("PUT", f"/loop/cases/{case_id}/annotation", data={"record": record}).json()

    def training_defaults(self, task: str = "segmentation") -> dict[str, Any]:
        return self._send("GET", "/loop/training/defaults", params={"task": task}).json()

    def start_training(self, changes: dict[str, Any], task: str = "segmentation") -> str:
        """Queue a training run with the server's settings but for these changes; return its id."""
        return self._send("POST", "/loop/training", json={**self.training_defaults(task), **changes}).json()["id"]

    def training(self, job_id: str) -> dict[str, Any]:
        return self._send("GET", f"/loop/training/{job_id}").json()

    def unfinished_training(self) -> list[str]:
        """Ids of queued and running training runs."""
        jobs = self._send("GET", "/loop/training").json()
        return [job["id"] for job in jobs if job["state"] not in ("done", "failed", "stopped")]

    def versions(self, task: str = "segmentation") -> dict[str, Any]:
        return self._send("GET", f"/loop/versions/{task}").json()

    def samples(self, state: str | None = None) -> list[dict[str, Any]]:
        """Synthetic images in a state; by default those that passed the checks and were not revoked, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"offset": len(found), **({"state": state} if state else {})}
            page = self._send("GET", "/loop/synthetic", params=query).json()
            found += page["samples"]
            if len(found) >= page["total"] or not page["samples"]:
                return found

    def decide(self, sample: str, decision: str, reviewer: str, reason: str = "") -> None:
        """Approve, reject, revoke or reopen a synthetic image."""
        request = {"decision": decision, "reviewer": reviewer, "reason": reason}
        self._send("POST", f"/loop/synthetic/{sample}/decision", json=request)

    def sample_picture(self, sample: str) -> bytes:
        """PNG of a synthetic image with its outline, beside the real image that it is most like."""
        return self._send("GET", f"/loop/synthetic/{sample}/picture").content

    def wait_until_up(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            ServerGone: It does not in this time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.capabilities()
                return
            except ServerGone:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: {answer.text[:500]}"


def multipart(answer: httpx.Response) -> dict[str, bytes]:
    """The parts of a multipart answer by their names."""
    header = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + answer.content)
    parts: dict[str, bytes] = {}
    for part in message.get_payload():
        assert isinstance(part, Message)
        name = str(part.get_param("name", header="content-disposition"))
        parts[name] = part.get_payload(decode=True)
    return parts
