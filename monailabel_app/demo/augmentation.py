"""A round with synthetic pairs: train a generator, review what it makes, train with what is approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from monailabel_app.augmentation.names import PAIRS
from monailabel_app.demo.client import LoopClient
from monailabel_app.demo.clinician import ANNOTATOR
from monailabel_app.training.jobs import StartFrom

PICTURES = 6
"""So many approved pairs are shown in the report."""


class AugmentationRound:
    """One round with synthetic pairs after the round without. What is done is read from the server.

    A pair is approved if it has passed every check: the demo has no clinician's eye.

    Args:
        follow: Shows a training run until it has ended.
        training: What both kinds of training runs do differently from the server's settings.
    """

    def __init__(
        self, client: LoopClient, console: Console, follow: Callable[[str], None], training: dict[str, Any]
    ) -> None:
        self.client = client
        self.console = console
        self.follow = follow
        self.training = training

    def run(self) -> None:
        """Do what is left of it.

        Raises:
            LabelLoopError: A training run failed.
        """
        if not self.client.versions(PAIRS)["versions"]:
            self.console.print("[bold]Generator[/]: training on the annotated training cases")
            self.follow(self.client.start_training({**self.training, "requested_by": ANNOTATOR}, PAIRS))
        self._review()
        if self._approved() and not any(version["synthetic"] for version in self.client.versions()["versions"]):
            self.console.print(f"[bold]Round 2[/]: training anew with {len(self._approved())} approved synthetic pairs")
            # From scratch and for the same time as the round before, so that the two can be compared.
            changes = {**self.training, "start": StartFrom.SCRATCH, "requested_by": ANNOTATOR}
            self.follow(self.client.start_training(changes))

    def _review(self) -> None:
        made = Counter(sample["state"] for sample in self.client.samples())
        made.update(sample["state"] for sample in self.client.samples("failed"))
        for sample in self.client.samples("candidate"):
            self.client.decide(sample["id"], "approve", ANNOTATOR, "passed every check")
        failed, all_made = made["failed"], sum(made.values())
        self.console.print(f"  {all_made - failed} of {all_made} pairs passed the checks and were approved")

    def _approved(self) -> list[dict[str, Any]]:
        return self.client.samples("approved")


def write_synthetic_part(folder: Path, client: LoopClient) -> list[str]:
    """Keep pictures of approved pairs in a folder; return what a report says about the bank."""
    approved, failed = client.samples("approved"), client.samples("failed")
    if not approved and not failed:
        return []
    lines = [
        "## Synthetic pairs",
        "",
        f"{len(approved) + len(failed)} pairs were made; {len(failed)} failed a check, {len(approved)} were approved "
        "(in the demo, whatever passes is). They train only: no validation case is synthetic.",
        "",
    ]
    reasons = Counter(check["name"] for sample in failed for check in sample["checks"] if not check["passed"])
    if reasons:
        lines += ["Failed checks: " + ", ".join(f"{name} {count}" for name, count in reasons.most_common()) + ".", ""]
    for sample in approved[:PICTURES]:
        file = folder / f"{sample['id']}.png"
        file.write_bytes(client.sample_picture(sample["id"]))
        lines += [f"![{sample['name']}]({file.name})", "", sample["how"], ""]
    return lines
