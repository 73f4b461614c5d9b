"""A plan, a run's folder in staging and a copy in it: what sealing takes, without an engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tasks.backup.copy import Copied
from tasks.backup.seal import archive_and_encrypt
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.platform.files import private_folder
from tasks.records import Engine, Progress, Run, Sealed, no_progress
from tests.flows.site import Site

ENGINE = Engine(kind="sqlite", version="3", bytes=0)


class Desk:
    """The desk of a site; its copy is an empty folder at first."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.context = PlanContext(site.plan)
        self.workspace = Workspace(private_folder(self.context.staging / "run"))
        self.copy = private_folder(self.workspace.copy)

    @classmethod
    def make(cls, root: Path, threads: int = 0) -> Desk:
        """A site with one target in ``root``, and its desk."""
        return cls(Site.make(root, ["nas"], archive={"threads": threads}))

    def copied(self) -> Copied:
        """The copy as the step before hands it on; its files are not listed."""
        size = sum(path.stat().st_size for path in self.copy.rglob("*") if path.is_file())
        listing = self.workspace.listing
        return Copied(folder=self.copy, engine=ENGINE, count=1, bytes=size, listing=listing)

    def seal(self, copied: Copied | None = None, progress: Progress = no_progress) -> Sealed:
        """Archive and encrypt the copy as a backup does."""
        started = datetime(2026, 1, 5, tzinfo=UTC)
        run = Run(plan=self.site.plan, id="run", source="clinic", sequence=7, started=started, engine=ENGINE)
        return archive_and_encrypt(self.context, self.workspace, run, copied or self.copied(), progress)

    def files(self) -> list[Path]:
        """All files of the run."""
        return [path for path in self.workspace.folder.rglob("*") if path.is_file()]
