"""An office in a scratch folder, and what tests ask about it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import yaml

from deployments.cli import app as cli
from tasks.age.x25519 import X25519Identity
from tasks.context import PlanContext
from tasks.journal.copies import SUFFIX
from tasks.keys.machines import words_of
from tasks.manifests.manifest import SIGNATURE_SUFFIX
from tasks.manifests.signing import public_text
from tasks.platform.files import create_private

NO_BACKUPS = (".datasave-target.json", "RECOVER.md", "RUNBOOK.md", "RUNBOOK.html")
PLAINTEXT_NAMES = ("copy", "archive.tar.zst", "scratch", "scratch-validate")


@dataclass(frozen=True)
class Site:
    """Root folder of an office, its plan file and its holders' identity files."""

    root: Path
    plan: Path
    keys: tuple[Path, ...]

    @classmethod
    def make(cls, root: Path, targets: Sequence[str], **options: Any) -> Site:
        """An office with two holders and a folder target for each name, all initialized."""
        keys = [root / "owner.key.txt", root / "safe.key.txt"]
        holders = []
        for name, path in zip(("Owner", "Bank safe"), keys, strict=True):
            identity = X25519Identity.generate()
            with create_private(path) as stream:
                stream.write(f"{identity.secret_text()}\n".encode())
            holders.append({"name": name, "recipient": str(identity.recipient())})
        plan = {
            "name": "clinic",
            "source": {"kind": "sqlite", "path": "clinic.db"},
            "holders": holders,
            "targets": [
                {"name": name, "kind": "folder", "path": name, "slots": "weekday"} for name in targets
            ],
            **options,
        }
        path = root / "clinic.yaml"
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
        site = cls(root, path, tuple(keys))
        for name in targets:
            site.init_target(name)
        return site

    @property
    def context(self) -> PlanContext:
        return PlanContext(self.plan)

    @property
    def database(self) -> Path:
        return self.root / "clinic.db"

    @property
    def staging(self) -> Path:
        return self.context.staging

    def init_target(self, target: str) -> None:
        with self.context.target(target) as place:
            place.prepare()

    @property
    def signer(self) -> tuple[str, str]:
        """What a person who comes with a key sheet adds to a rescue: the machine's words."""
        return "--signer", words_of(public_text(self.context.machine_key().public_key()))

    def run(self, *arguments: str) -> int:
        """A command as a user types it, in this process; its exit status."""
        return cli.main([*arguments, "--plan", str(self.plan)])

    def change_plan(self, **options: Any) -> None:
        plan = yaml.safe_load(self.plan.read_text("utf-8"))
        self.plan.write_text(yaml.safe_dump({**plan, **options}, sort_keys=False), "utf-8")

    def objects(self, target: str) -> list[str]:
        """Names of all files on a target; its marker, pages, journal and SSH signatures left out."""
        root = self.root / target
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(
            name for name in found if name not in NO_BACKUPS and not name.endswith((SUFFIX, SIGNATURE_SUFFIX))
        )

    def archives(self, target: str) -> list[Path]:
        return sorted((self.root / target).rglob("*.tar.zst.age"))

    def manifests(self, target: str) -> list[dict[str, Any]]:
        return [
            json.loads(path.read_text()) for path in sorted((self.root / target).rglob("*.manifest.json"))
        ]

    def plaintext(self) -> list[Path]:
        """Everything in staging that could be read without a holder's key."""
        staging = self.staging
        return (
            [path for path in staging.rglob("*") if path.name in PLAINTEXT_NAMES] if staging.exists() else []
        )

    def report(self) -> str:
        """The newest report page, its elements left out: what a person reads."""
        pages = sorted(self.context.reports.glob("*.html"), key=lambda page: page.stat().st_mtime_ns)
        return unescape(re.sub("<[^>]*>", "", pages[-1].read_text("utf-8")))


def counts(database: Path) -> dict[str, int]:
    """Rows of each of a clinic's tables."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as opened:
        return {
            table: opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("patients", "visits", "ledger")
        }
