"""Work off the UI thread: worker threads, and one queue that a timer of the UI thread empties."""

from .repeater import Repeater
from .runner import Job, JobRunner
from .signal import Listeners, Signal

__all__ = ["Job", "JobRunner", "Listeners", "Repeater", "Signal"]
