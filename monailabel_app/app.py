"""The app: puts the store, the tasks and the strategies together for the platform."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

import monailabel_app
from monailabel_app.active_learning.strategies import AcquisitionStrategy, InOrderStrategy, RandomStrategy
from monailabel_app.errors import BadInput, NotFound
from monailabel_app.inference.service import InferenceService
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.settings import Settings
from monailabel_app.store.datastore import ANONYMOUS, LabelLoopDatastore
from monailabel_app.store.dicomweb import DicomWebMirror
from monailabel_app.store.store import Store
from monailabel_app.store.watcher import StudiesWatcher
from monailabel_app.tasks.segmentation import NAME as SEGMENTATION
from monailabel_app.tasks.segmentation import SegmentationPredictor, SegmentationTrainer
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.material import plan_for
from monailabel_app.training.queue import TrainingQueue

logger = logging.getLogger(__name__)

_PLATFORM_KEYS = frozenset({"server_mode"})


class PlatformStrategy(Strategy):
    """One of our strategies behind the platform's interface; a request may name cases to ``exclude``."""

    def __init__(self, strategy: AcquisitionStrategy, app: LabelLoopApp) -> None:
        super().__init__(strategy.description)
        self.strategy = strategy
        self.app = app

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        store = self.app.store
        annotator = str(request.get("client_id") or ANONYMOUS)
        passed_over = set(request.get("exclude") or ())
        candidates = [case_id for case_id in store.unfinished_case_ids() if case_id not in passed_over]
        if not candidates:
            return None
        case_id, score = self.strategy.choose(candidates, store, annotator)
        if score is not None:
            self.app.scores[case_id] = score
        return {"id": case_id, "weight": score, "strategy": self.strategy.name, "candidates": len(candidates)}


class OneByOne(BatchInferTask):
    """The platform's batch of predictions, for an inference service that takes one at a time on its own device."""

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> dict[str, Any]:
        return super().__call__({**request, "multi_gpu": False, "max_workers": 1}, datastore, infer)


class LabelLoopApp(MONAILabelApp):
    """The LabelLoop server app.

    Attributes:
        store: Cases, annotations and the split.
        registry: The versions of the models.
        training: The queue of training runs.
        inference: Predictions by the published versions.
        acquisition: The strategies by name.
        scores: The score of each case that a strategy has scored, by the one that did so last.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        given = {key: value for key, value in (conf or {}).items() if key not in _PLATFORM_KEYS}
        self.settings = Settings.read(studies=studies, **given)
        self.store = Store.open(self.settings)
        self.store.catalogue.refresh()
        workspace = self.store.workspace
        self.registry = Registry(self.store.database, workspace.versions)
        self.training = TrainingQueue(self.store.database, workspace.root, workspace.jobs)
        self.inference = InferenceService(self.registry, self.settings.device)
        self.watcher = StudiesWatcher(self.store.catalogue)
        self.mirror = DicomWebMirror(studies, workspace.mirror) if self.settings.is_remote else None
        strategies = (RandomStrategy(self.settings.seed), InOrderStrategy())
        self.acquisition: dict[str, AcquisitionStrategy] = {strategy.name: strategy for strategy in strategies}
        self.scores: dict[str, float] = {}
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="LabelLoop",
            description="The active-learning loop for clinicians who annotate in 3D Slicer",
            version=monailabel_app.__version__,
        )

    # --- what the platform asks for at start-up ----------------------------------------------------------------------

    def init_datastore(self) -> Datastore:
        return LabelLoopDatastore(self.store)

    def init_infers(self) -> dict[str, InferTask]:
        return {SEGMENTATION: SegmentationPredictor(self.inference, self.label_names)}

    def init_trainers(self) -> dict[str, TrainTask]:
        return {
            SEGMENTATION: SegmentationTrainer(self.training, self.registry, lambda: self.training_request(SEGMENTATION))
        }

    def init_strategies(self) -> dict[str, Strategy]:
        return {name: PlatformStrategy(strategy, self) for name, strategy in self.acquisition.items()}

    def init_batch_infer(self) -> BatchInferTask:
        return OneByOne()

    def on_init_complete(self) -> None:
        """Start what works in the background; called in the server's process alone."""
        atexit.register(self.close)
        self.training.start()
        self.watcher.start()
        if self.mirror is not None:
            self.mirror.start()
        logger.info("LabelLoop serves %d cases from %s", self.store.catalogue.count(), self.settings.studies)

    def close(self) -> None:
        """End the background work; a training run keeps its best so far."""
        atexit.unregister(self.close)
        if self.mirror is not None:
            self.mirror.stop()
        self.watcher.stop()
        self.training.close()
        self.inference.close()

    # --- what clients ask for ----------------------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, InferTask]:
        return self._infers

    @property
    def trainers(self) -> dict[str, TrainTask]:
        return self._trainers

    def task(self, name: str) -> InferTask:
        """A task by name.

        Raises:
            NotFound: There is no such task.
        """
        if name not in self._infers:
            raise NotFound(f"there is no task '{name[:60]}'; there are: {', '.join(self._infers)}")
        return self._infers[name]

    def label_names(self) -> list[str]:
        """The structures to segment: the user's, or else those that annotations have named."""
        return list(self.settings.labels) or self.store.annotations.label_names()

    def info(self) -> dict[str, Any]:
        return {**super().info(), "labels": self.label_names()}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Predict on a case (``image``: its id) or on a file of the server's own making (``image_file``).

        Raises:
            NotFound: There is no such task or case.
            NoPublishedVersion: There is no version to predict with.
        """
        task = self.task(str(request.get("model")))
        case_id = None
        if request.get("image_file") is not None:
            image_file = Path(request["image_file"])
        else:
            case_id = str(request["image"])
            image_file = self.store.catalogue.image_file(case_id)
        file, params = task({**request, "image_file": image_file})
        tag = str(request.get("label_tag") or "original")
        if request.get("save_label") and case_id is not None:
            self._datastore.save_label(case_id, file, tag, {"label_info": params["label_info"], "params": params})
        return {"label": file, "tag": tag, "file": file, "params": params}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The case that the strategy picks; empty when every case is finished.

        Raises:
            BadInput: There is no such strategy.
        """
        name = str(request.get("strategy") or RandomStrategy.name)
        strategy = self._strategies.get(name)
        if strategy is None:
            raise BadInput(f"there is no strategy '{name[:60]}'; there are: {', '.join(self._strategies)}")
        chosen = strategy(request, self._datastore)
        if not chosen:
            return {}
        return {**chosen, "path": str(self.store.catalogue.image_file(chosen["id"]))}

    def training_request(self, task: str) -> TrainingRequest:
        """What a training run does unless told otherwise."""
        settings = self.settings
        return TrainingRequest(
            task=task,
            epochs=settings.epochs,
            steps_per_epoch=settings.steps_per_epoch,
            minutes=settings.training_minutes,
            labels=tuple(self.label_names()),
            plan=settings.plan,
            seed=settings.seed,
            device=settings.device,
        )

    def next_plan(self, task: str) -> Plan:
        """The plan that a training run from scratch would begin with.

        Raises:
            Conflict: Nothing is annotated yet.
        """
        return plan_for(self.store, self.training_request(task), self.inference.device)
