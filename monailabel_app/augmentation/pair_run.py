"""Runs of the tasks that train generators on annotated images: pairs, and enhancement."""

from __future__ import annotations

from monailabel_app.augmentation.bench import Bench
from monailabel_app.augmentation.enhancement_bench import EnhancementBench
from monailabel_app.augmentation.material import PairMaterial, pair_material
from monailabel_app.augmentation.pair_bench import PairBench
from monailabel_app.augmentation.plan import GeneratorKind, GeneratorPlan
from monailabel_app.augmentation.planning import plan_on_segmentation
from monailabel_app.augmentation.run import GeneratorRun
from monailabel_app.training.jobs import JobState
from monailabel_app.training.material import device_memory_gb


class PairRun(GeneratorRun):
    """Trains a generator of image and mask pairs, and fills the bank with candidates."""

    kind = GeneratorKind.PAIRS

    def make_bench(self, parent: GeneratorPlan | None) -> Bench:
        material = self.material(parent)
        return PairBench(self.plan(material, parent), material, self.store.bank, self.device)

    def material(self, parent: GeneratorPlan | None) -> PairMaterial:
        """The training cases, in the space of the parent if there is one."""
        space = parent.segmentation if parent is not None else None
        return pair_material(self.store, self.registry, self.request, self.device, space, self._count_read)

    def plan(self, material: PairMaterial, parent: GeneratorPlan | None) -> GeneratorPlan:
        """The parent's, or one for the material; with what the request replaces."""
        if parent is not None:
            return parent.with_overrides(self.request.plan)
        return plan_on_segmentation(
            self.kind,
            material.plan,
            material.cases,
            device_memory_gb=device_memory_gb(self.device),
            overrides=self.request.plan,
        )

    def _count_read(self, done: int, of: int) -> None:
        self.report(JobState.PREPARING, message=f"read {done} of {of} training cases")


class EnhancementRun(PairRun):
    """Trains a network that takes noise away."""

    kind = GeneratorKind.ENHANCEMENT

    def make_bench(self, parent: GeneratorPlan | None) -> Bench:
        material = self.material(parent)
        return EnhancementBench(self.plan(material, parent), material, self.device)
