"""The widgets: one panel a task, each with its .ui file."""

from .main_panel import MainPanel
from .message_box import MessageBoxQuestions

__all__ = ["MainPanel", "MessageBoxQuestions"]
