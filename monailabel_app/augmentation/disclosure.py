"""What is told of a synthetic image outside its workspace: names of cases may be those of patients, so none of them.

The workspace knows the cases, by the sample's id.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from monailabel_app.store.samples import Sample

_KEPT = "A real patient's image, partly replaced:"


def is_partly_real(sample: Sample) -> bool:
    """Whether most of its pixels are those of a real patient: only a part of a training image was replaced."""
    return any(source.role == "background" for source in sample.sources)


def how_made(sample: Sample) -> str:
    """One sentence for people, as `Sample.how` without names of cases."""
    if sample.answer:
        classes = ", ".join(f"{attribute}: {answer}" for attribute, answer in sample.answer.items())
        return f"An image of {classes}, made from noise."
    roles = {source.role for source in sample.sources}
    if not is_partly_real(sample):
        several = len({source.case for source in sample.sources}) > 1
        return f"Made as a whole for {'a blend of two label maps' if several else 'a label map'}, bent."
    if "lesion" not in roles:
        return f"{_KEPT} structures have another shape."
    if len({source.case for source in sample.sources}) > 1:
        return f"{_KEPT} a lesion was put in whose shape is a varied one of another case."
    return f"{_KEPT} a lesion moved within it, or put in once more."


def record_of(sample: Sample) -> dict[str, Any]:
    """All that is known of a sample but names of cases: of its sources how many there are in each role, of the nearest
    training image the distance, of checks the figures without the sentence that names it."""
    record = sample.model_dump(mode="json", exclude={"image", "label", "picture"})
    checks = [check.model_dump(mode="json", exclude={"reason", "details"}) for check in sample.checks]
    return {
        "name": sample.name,
        **record,
        "how": how_made(sample),
        "sources": Counter(source.role for source in sample.sources),
        "checks": checks,
        "nearest": sample.nearest.distance if sample.nearest is not None else None,
        "image": sample.image.name,
        "label": sample.label.name if sample.label is not None else None,
    }
