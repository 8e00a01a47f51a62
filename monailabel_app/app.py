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
from monailabel_app.active_learning.case_looks import tasks_of
from monailabel_app.active_learning.case_pool import CasePool, kind_of
from monailabel_app.active_learning.given import Asked
from monailabel_app.active_learning.next_case import NextCase
from monailabel_app.active_learning.scoring_watch import ScoringWatch
from monailabel_app.active_learning.selection_views import SelectionViews
from monailabel_app.active_learning.strategies import all_strategies
from monailabel_app.active_learning.strategy import AcquisitionStrategy
from monailabel_app.augmentation.names import ENHANCEMENT
from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.material import gather_classified
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.region_finder import RegionFinder
from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.inference.service import InferenceService
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.settings import Settings
from monailabel_app.store.datastore import ANONYMOUS, LabelLoopDatastore
from monailabel_app.store.dicomweb import DicomWebMirror
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.store import Store
from monailabel_app.store.watcher import StudiesWatcher
from monailabel_app.tasks.augmentation import EnhancementPredictor, JobTask, job_tasks, trained
from monailabel_app.tasks.classification import ClassPredictor
from monailabel_app.tasks.kinds import loader_of, record_of
from monailabel_app.tasks.plans import PlanValues
from monailabel_app.tasks.segmentation import SegmentationPredictor
from monailabel_app.tasks.trainer import QueuedTrainer
from monailabel_app.training.jobs import SCORING, SEGMENTATION, TrainingRequest
from monailabel_app.training.material import device_memory_gb, plan_for
from monailabel_app.training.queue import TrainingQueue

logger = logging.getLogger(__name__)

LONGEST_NAME = 120
"""Letters of an annotator's name."""

_PLATFORM_KEYS = frozenset({"server_mode"})


class PlatformStrategy(Strategy):
    """One of our strategies behind the platform's interface; a request may name a task, and cases to ``exclude``."""

    def __init__(self, strategy: AcquisitionStrategy, app: LabelLoopApp) -> None:
        super().__init__(strategy.description)
        self.strategy = strategy
        self.app = app

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        given = self.app.next_case.choose(_asked(request, self.strategy.name))
        if given.id is None:
            return {"why": given.why}
        told = given.model_dump(exclude={"score", "strategy"})
        # The platform has a field "strategy" of its own: its record of who asked by which.
        return {**told, "weight": given.score, "strategy_used": given.strategy, "candidates": given.of}


def _asked(request: dict[str, Any], strategy: str) -> Asked:
    """The question in a request of the platform's, which nobody has checked before.

    Raises:
        BadInput: A field is of another type.
    """
    annotator, task, exclude = request.get("client_id"), request.get("task"), request.get("exclude")
    if annotator is not None and not (isinstance(annotator, str) and len(annotator) <= LONGEST_NAME):
        raise BadInput(f"client_id is the name of the annotator, of at most {LONGEST_NAME} letters")
    if task is not None and not isinstance(task, str):
        raise BadInput("task is the name of a task")
    if exclude is not None and not (isinstance(exclude, list) and all(isinstance(one, str) for one in exclude)):
        raise BadInput("exclude is a list of ids of cases")
    return Asked(annotator if annotator and annotator.strip() else ANONYMOUS, strategy, task, frozenset(exclude or ()))


class OneByOne(BatchInferTask):
    """The platform's batch of predictions, for an inference service that takes one at a time on its own device."""

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> dict[str, Any]:
        return super().__call__({**request, "multi_gpu": False, "max_workers": 1}, datastore, infer)


class LabelLoopApp(MONAILabelApp):
    """The LabelLoop server app.

    Attributes:
        store: Cases, annotations and the split.
        plan_values: What is set of the plans that training runs work out.
        registry: The versions of the models.
        training: The queue of training runs.
        inference: Predictions by the published versions.
        region: Finds the structures that attributes are about.
        next_case: Which case comes next.
        selection: What is shown of scores and choices.
        scoring: Queues the job that scores, in the server's process.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        given = {key: value for key, value in (conf or {}).items() if key not in _PLATFORM_KEYS}
        self.settings = Settings.read(studies=studies, **given)
        self.store = Store.open(self.settings)
        self.plan_values = PlanValues(self.settings.plan)
        self.plan_values.check(tasks_of(self.store.schemes.scheme))
        self.store.catalogue.refresh()
        workspace = self.store.workspace
        self.registry = Registry(self.store.database, workspace.versions, record_of)
        self.training = TrainingQueue(self.store.database, workspace.root, workspace.jobs)
        self.inference = InferenceService(self.registry, self.settings.device, loader_of)
        self.watcher = StudiesWatcher(self.store.catalogue)
        self.mirror = DicomWebMirror(studies, workspace.mirror) if self.settings.is_remote else None
        self.region = RegionFinder(self.store, self.inference)
        pools = CasePool(self.store, self.registry)
        settings = self.settings
        self.next_case = NextCase(self.store, pools, settings.default_strategy, settings.control_share, settings.seed)
        self.next_case.look_ahead()
        self.selection = SelectionViews(self.store, pools, self.next_case)
        self.scoring = ScoringWatch(
            self.store,
            self.registry,
            self.training,
            request=lambda: self.training_request(SCORING),
            is_wanted=self.next_case.wants_scores,
            read_ahead=pools.read_ahead,
        )
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
        groups = groups_of(self.store.schemes.scheme)
        classifiers = {name: ClassPredictor(self.inference, group, self.region) for name, group in groups.items()}
        segmentation = SegmentationPredictor(self.inference, self.label_names)
        return {SEGMENTATION: segmentation, **classifiers, ENHANCEMENT: EnhancementPredictor(self.inference)}

    def init_trainers(self) -> dict[str, TrainTask]:
        names = (SEGMENTATION, *groups_of(self.store.schemes.scheme), ENHANCEMENT, *trained(self.job_tasks.values()))
        return {name: self._trainer(name) for name in names}

    def _trainer(self, task: str) -> QueuedTrainer:
        return QueuedTrainer(task, self.training, self.registry, lambda: self.training_request(task))

    def init_strategies(self) -> dict[str, Strategy]:
        return {name: PlatformStrategy(strategy, self) for name, strategy in self.acquisition.items()}

    @property
    def acquisition(self) -> dict[str, AcquisitionStrategy]:
        """The strategies by name; some need classes to tell apart."""
        kinds = {kind_of(task) for task in tasks_of(self.store.schemes.scheme)}
        return {name: strategy for name, strategy in all_strategies().items() if kinds & strategy.tasks}

    def init_batch_infer(self) -> BatchInferTask:
        return OneByOne()

    def on_init_complete(self) -> None:
        """Start what works in the background; called in the server's process alone."""
        atexit.register(self.close)
        self.training.start()
        self.watcher.start()
        self.scoring.start()
        if self.mirror is not None:
            self.mirror.start()
        logger.info("LabelLoop serves %d cases from %s", self.store.catalogue.count(), self.settings.studies)
        if self.settings.classes is not None and self.store.schemes.is_newer_than_file:
            file = self.settings.classes
            logger.warning("%s has not changed since it was read: the newer scheme of a client stays in use", file)

    def close(self) -> None:
        """End the background work; a training run keeps its best so far."""
        atexit.unregister(self.close)
        if self.mirror is not None:
            self.mirror.stop()
        self.scoring.stop()
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

    @property
    def job_tasks(self) -> dict[str, JobTask]:
        """The tasks that predict nothing: they train generators, or make images with them."""
        return job_tasks(self.store.schemes.scheme)

    def check_task(self, name: str) -> None:
        """Make sure that there is a task to train or queue.

        Raises:
            NotFound: There is no such task.
        """
        if name not in self.job_tasks:
            self.task(name)

    def task(self, name: str) -> InferTask:
        """A task that predicts, by name.

        Raises:
            NotFound: There is no such task.
        """
        if name not in self._infers:
            if name in self.job_tasks:
                raise NotFound(f"the task '{name}' makes synthetic images and predicts nothing: train it instead")
            raise NotFound(f"there is no task '{name[:60]}'; there are: {', '.join((*self._infers, *self.job_tasks))}")
        return self._infers[name]

    def use_scheme(self, scheme: Scheme) -> None:
        """Ask for other classes from now on; answers that were given stay."""
        self.store.schemes.set(scheme)
        self._infers, self._trainers = self.init_infers(), self.init_trainers()
        self._strategies = self.init_strategies()

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
        file, params = task({**request, "image_file": image_file, "case_id": case_id})
        tag = str(request.get("label_tag") or "original")
        if request.get("save_label") and case_id is not None and file is not None and "label_info" in params:
            self._datastore.save_label(case_id, file, tag, {"label_info": params["label_info"], "params": params})
        return {"label": file, "tag": tag, "file": file, "params": params}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The case that the strategy picks; without an id, ``why`` says that every case is finished or with others.

        Raises:
            BadInput: There is no such strategy.
        """
        name = str(request.get("strategy") or self.next_case.default_strategy())
        strategy = self._strategies.get(name)
        if strategy is None:
            raise BadInput(f"there is no strategy '{name[:60]}'; there are: {', '.join(self._strategies)}")
        chosen = strategy(request, self._datastore)
        if "id" not in chosen:
            return chosen
        return {**chosen, "path": str(self.store.catalogue.image_file(chosen["id"]))}

    def training_request(self, task: str) -> TrainingRequest:
        """What a training run does unless told otherwise."""
        settings = self.settings
        return TrainingRequest(
            task=task,
            epochs=settings.epochs,
            steps_per_epoch=settings.steps_per_epoch,
            minutes=settings.training_minutes,
            labels=tuple(self.label_names()) if task == SEGMENTATION else (),
            plan=self.plan_values.of(task),
            seed=settings.seed,
            device=settings.device,
        )

    def next_plan(self, task: str) -> Plan | ClassificationPlan:
        """The plan that a training run from scratch would begin with.

        Raises:
            Conflict: Nothing is annotated yet, or it is a generator's.
        """
        if task == ENHANCEMENT or task in self.job_tasks:
            raise Conflict("a generator is planned when it is trained: train it, then ask for its plan")
        group = groups_of(self.store.schemes.scheme).get(task)
        if group is not None:
            material = gather_classified(self.store, group)
            return material.plan(group, self.training_request(task), device_memory_gb(self.inference.device))
        return plan_for(self.store, self.training_request(task), self.inference.device)
