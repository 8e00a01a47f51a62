"""How a caller watches a transfer, and ends it."""

from __future__ import annotations

from typing import Optional, Protocol


class Watch(Protocol):
    """Asked between two blocks of a transfer, in the thread that transfers.

    Nothing asks it while a call waits for the first byte of an answer, since a blocked socket cannot be woken: whoever
    cancels then leaves the call to its timeout and drops what it brings.
    """

    def checkCancelled(self) -> None:
        """Do nothing, or end the transfer.

        Raises:
            Cancelled: The transfer is to end. Any other exception does the same, and reaches the caller as it is,
                unless it is an :class:`OSError`, which is taken for one of the connection.
        """

    def report(self, done: int, total: Optional[int]) -> None:
        """Hear how far the transfer is.

        Args:
            done: Bytes so far.
            total: Bytes in all; None where nobody knows.
        """


class Unwatched:
    """A watch that neither cancels nor tells."""

    def checkCancelled(self) -> None:
        return None

    def report(self, done: int, total: Optional[int]) -> None:
        return None
