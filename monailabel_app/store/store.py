"""The store as a whole."""

from __future__ import annotations

import json
from pathlib import Path

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.settings import Settings
from monailabel_app.store.annotations import AnnotationStore, Requirement
from monailabel_app.store.bank import Bank
from monailabel_app.store.blinded import BlindedTrials
from monailabel_app.store.catalogue import Catalogue
from monailabel_app.store.database import Database
from monailabel_app.store.leases import LeaseTable
from monailabel_app.store.picks import PickTable
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.scheme_store import SchemeStore
from monailabel_app.store.score_table import ScoreTable
from monailabel_app.store.split import FrozenSplit
from monailabel_app.store.synthetic_share import SyntheticShare
from monailabel_app.store.workspace import Workspace


class Store:
    """Cases, annotations, the split and the bank of synthetic images, over one index and one workspace folder.

    Several processes may open the same store at once (the server and a trainer do).
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        studies: Path,
        validation_share: float = 0.25,
        seed: int = 0,
        follow_links: bool = False,
        synthetic_share: float = 1.0,
    ) -> None:
        self.workspace = workspace.create()
        self.database = Database(workspace.index)
        self.catalogue = Catalogue(self.database, workspace, studies, follow_links)
        self.split = FrozenSplit(self.database, validation_share, seed)
        self.schemes = SchemeStore(self.database)
        self.annotations = AnnotationStore(self.database, workspace, self.catalogue, self.split, self.schemes)
        self.scores = ScoreTable(self.database)
        self.leases = LeaseTable(self.database)
        self.picks = PickTable(self.database)
        self.bank = Bank(self.database, workspace)
        self.synthetic_share = SyntheticShare(self.database, synthetic_share)
        self.blinded = BlindedTrials(self.bank, self.catalogue, self.annotations, self.split)
        self._remember(
            studies=str(self.catalogue.studies),
            validation_share=validation_share,
            seed=seed,
            follow_links=follow_links,
            synthetic_share=synthetic_share,
        )

    def _remember(self, **opening: object) -> None:
        """Keep what a second process needs to open the same store."""
        text = json.dumps(opening)
        if self.database.value("SELECT value FROM properties WHERE name = 'opening'") != text:
            with self.database.write() as connection:
                connection.execute("INSERT OR REPLACE INTO properties VALUES ('opening', ?)", (text,))

    @classmethod
    def existing(cls, workspace: Workspace) -> Store:
        """Open a store that another process has opened before, knowing its workspace alone.

        Raises:
            NotFound: There is no store in this workspace.
        """
        if not workspace.index.exists():
            raise NotFound(f"there is no LabelLoop workspace at {workspace.root}")
        text = Database(workspace.index).value("SELECT value FROM properties WHERE name = 'opening'")
        if text is None:
            raise NotFound(f"the LabelLoop workspace at {workspace.root} was never opened: start a server with it")
        opening = json.loads(str(text))
        return cls(**{**opening, "workspace": workspace, "studies": Path(opening["studies"])})

    @classmethod
    def open(cls, settings: Settings) -> Store:
        """Open (or begin) the store that the settings name. The studies folder is looked at by ``refresh``.

        Raises:
            BadInput: There is no such studies folder, or the workspace cannot be written.
        """
        assert settings.workspace is not None  # Settings fills it in
        workspace = Workspace(settings.workspace)
        studies = workspace.mirror if settings.is_remote else Path(settings.studies).expanduser()
        if settings.is_remote:
            studies.mkdir(parents=True, exist_ok=True)
        elif not studies.is_dir():
            raise BadInput(f"there is no folder {studies}: give the folder that holds your images with --studies")
        scheme = Scheme.read(settings.classes) if settings.classes is not None else None  # before anything is begun
        store = cls(
            workspace=workspace,
            studies=studies,
            validation_share=settings.validation_share,
            seed=settings.seed,
            follow_links=settings.follow_links,
            synthetic_share=settings.synthetic_share,
        )
        store.leases.minutes = settings.lease_minutes
        if scheme is not None and settings.classes is not None:
            store.schemes.set_from_file(scheme, settings.classes)
        return store

    def unfinished_case_ids(self) -> list[str]:
        """Usable cases that nobody has submitted; those that somebody has begun only when no other is left."""
        untouched, begun = self.unfinished()
        return untouched or begun

    def unfinished(self, requirement: Requirement | None = None) -> tuple[list[str], list[str]]:
        """Usable cases that nobody has submitted, with what is required if anything is, in the order of their ids: the
        untouched, and those with a draft."""
        condition, values = ("1", ()) if requirement is None else (requirement.condition("a"), requirement.values)
        query = (
            "SELECT k.id, MAX(c.status = 'draft') AS begun FROM cases k"
            " LEFT JOIN current_annotations c ON c.case_id = k.id LEFT JOIN annotations a ON a.id = c.annotation"
            " WHERE k.removed = 0 AND k.present = 1 AND k.problem IS NULL GROUP BY k.id"
            f" HAVING COALESCE(MAX(c.status IN ('final', 'approved') AND {condition}), 0) = 0 ORDER BY k.id"
        )
        rows = self.database.rows(query, *values)
        return [row["id"] for row in rows if not row["begun"]], [row["id"] for row in rows if row["begun"]]
