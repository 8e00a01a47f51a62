"""Which case of which server a node belongs to: node attributes, which a saved scene keeps. Never the token."""

from __future__ import annotations

from typing import Any, NamedTuple

CASE_ID = "LabelLoop.CaseId"
SERVER = "LabelLoop.Server"
VERSION = "LabelLoop.Version"
SYNTHETIC = "LabelLoop.Synthetic"
"""Id of the synthetic sample that a node is of; such nodes are never of a case."""


class CaseMark(NamedTuple):
    """What a node is of.

    Attributes:
        server: Address of the server, as it was connected to.
        version: Number of the model's version that predicted the node's content; empty if none did.
    """

    server: str
    caseId: str
    version: str = ""


def setCase(node: Any, server: str, caseId: str, version: Any = None) -> None:
    """Mark a node as one of a case's.

    Args:
        version: Of the model that predicted what the node holds; None leaves what is noted already.
    """
    node.SetAttribute(SERVER, server)
    node.SetAttribute(CASE_ID, caseId)
    if version is not None:
        node.SetAttribute(VERSION, str(version))


def getCase(node: Any) -> CaseMark | None:
    """What `setCase` has noted, also in an earlier session; None if the node is no case's."""
    server, caseId = node.GetAttribute(SERVER), node.GetAttribute(CASE_ID)
    if not server or not caseId:
        return None
    return CaseMark(server, caseId, node.GetAttribute(VERSION) or "")


def setSynthetic(node: Any, sampleId: str) -> None:
    """Mark a node as one of a synthetic sample's; a saved scene keeps the mark."""
    node.SetAttribute(SYNTHETIC, sampleId)


def isSynthetic(node: Any) -> bool:
    """Whether what the node holds was made by a generator."""
    return bool(node is not None and node.GetAttribute(SYNTHETIC))
