"""What can go wrong in words a user can act on. Each class maps to one HTTP status in the server."""


class LabelLoopError(Exception):
    """Anything LabelLoop refuses or fails to do; its message says what happened and what to do about it."""


class BadInput(LabelLoopError):
    """The request or the file given cannot be used as it is."""


class NotFound(LabelLoopError):
    """There is no such case, version, annotation or job."""


class Conflict(LabelLoopError):
    """The request is sound, but not in the present state (for example: a training run is already under way)."""


class UnreadableImage(LabelLoopError):
    """An image file is damaged, incomplete, or of a kind that cannot be read."""


class GeometryMismatch(BadInput):
    """A label map does not lie on the voxels of its image."""


class NoPublishedVersion(Conflict):
    """A prediction was asked for before any version of the model was published."""
