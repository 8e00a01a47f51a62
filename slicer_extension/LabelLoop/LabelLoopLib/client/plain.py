"""Makes text that a server sent fit for a sentence."""

from __future__ import annotations

import unicodedata

_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def plain(text: object, limit: int = 500) -> str:
    """Return one line of visible text: control and direction characters become spaces, and the end is cut off.

    What is left may still look like HTML: escape it where HTML is shown.

    Args:
        limit: Most characters that are kept.
    """
    head = str(text)[: 4 * limit]
    visible = "".join(" " if unicodedata.category(one) in _INVISIBLE else one for one in head)
    line = " ".join(visible.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
