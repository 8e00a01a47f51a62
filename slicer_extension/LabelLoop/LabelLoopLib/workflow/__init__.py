"""What a clinician does, without widgets."""

from .workplace import Workplace

__all__ = ["Workplace"]
