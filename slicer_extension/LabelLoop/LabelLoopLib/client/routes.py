"""Every method and path of the server that this client uses, in one table; a test looks each up on the server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from .errors import ClientError
from .plain import plain


@dataclass(frozen=True)
class Route:
    """A method and a path, with ``{}`` in the place of what :meth:`path` fills in."""

    method: str
    template: str

    def path(self, *values: object) -> str:
        """The path with these values, each as one segment.

        Raises:
            ClientError: A value cannot be a segment of a path.
        """
        return self.template.format(*(_segment(str(value)) for value in values))


def _segment(value: str) -> str:
    if value in ("", ".", "..") or "/" in value or "\\" in value:  # would lead to another path, encoded or not
        raise ClientError(f"'{plain(value, 80)}' is not a name that a LabelLoop server gives: refresh the case list.")
    return quote(value, safe="")


CAPABILITIES = Route("GET", "/loop/")
PLATFORM_INFO = Route("GET", "/info/")
CASES = Route("GET", "/loop/cases")
REFRESH_CASES = Route("POST", "/loop/cases/refresh")
CASE = Route("GET", "/loop/cases/{}")
NEXT_CASE = Route("POST", "/activelearning/{}")
IMAGE = Route("GET", "/datastore/image")
ADD_IMAGE = Route("PUT", "/datastore/image")
PREDICT = Route("POST", "/infer/{}")
LABEL = Route("GET", "/loop/annotations/{}/label")
SAVE_ANNOTATION = Route("PUT", "/loop/cases/{}/annotation")
REOPEN = Route("POST", "/loop/cases/{}/reopen")
TRAINING_DEFAULTS = Route("GET", "/loop/training/defaults")
START_TRAINING = Route("POST", "/loop/training")
TRAINING_RUNS = Route("GET", "/loop/training")
TRAINING = Route("GET", "/loop/training/{}")
STOP_TRAINING = Route("POST", "/loop/training/{}/stop")
VERSIONS = Route("GET", "/loop/versions/{}")
PUBLISH = Route("POST", "/loop/versions/{}/{}/publish")
ROLL_BACK = Route("POST", "/loop/versions/{}/roll-back")
TRAINING_PREVIEW = Route("GET", "/loop/training/{}/preview")
SAMPLES = Route("GET", "/loop/synthetic")
SYNTHETIC_SUMMARY = Route("GET", "/loop/synthetic/summary")
SAMPLE_IMAGE = Route("GET", "/loop/synthetic/{}/image")
SAMPLE_MASK = Route("GET", "/loop/synthetic/{}/mask")
SAMPLE_PICTURE = Route("GET", "/loop/synthetic/{}/picture")
DECIDE_SAMPLE = Route("POST", "/loop/synthetic/{}/decision")
START_BLINDED = Route("POST", "/loop/synthetic/blinded")
BLINDED_PICTURE = Route("GET", "/loop/synthetic/blinded/{}/{}/picture")
ANSWER_BLINDED = Route("POST", "/loop/synthetic/blinded/{}/{}")
GIVE_NEXT = Route("POST", "/loop/next")
HOLD = Route("POST", "/loop/cases/{}/lease")
GIVE_BACK = Route("DELETE", "/loop/cases/{}/lease")
SKIP = Route("POST", "/loop/cases/{}/skip")
UNCERTAINTY = Route("GET", "/loop/uncertainty/{}")
ROUNDS_CURVE = Route("GET", "/loop/learning-curve/{}")
