"""A made-up office whose backups are tiny and sealed for real: one night is some milliseconds.

What a run does after its rehearsal (deliver, read back, prune) and what the audit says are the program's own
functions, called without a flow. What people, drives and clocks do between the nights is done to the files.
"""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import time_machine
import yaml
import zstandard

from tasks.age.file import decrypt, encrypt
from tasks.age.x25519 import X25519Identity
from tasks.backup.deliver import deliver, read_back
from tasks.backup.due_targets import day_of, not_due
from tasks.backup.memory import doubts
from tasks.backup.preflight import next_sequence
from tasks.backup.removal import removed_in
from tasks.backup.retain import copy_journal, prune
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.audit import audit_target
from tasks.health.trend import remember
from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.manifests.manifest import sealed_name, stem, to_json
from tasks.manifests.signing import public_text, sign_record
from tasks.policy.trend_rules import Snapshot
from tasks.records import Engine, Finding, Holder, JournalHead, Pruned, Rehearsed, Removed, Run, Sealed
from tasks.targets.shared.mounted import MountedFolder
from tests.unit.manifests.shelves import manifest

OWNER = X25519Identity.generate()
NAME = "clinic"
ELSEWHERE = "copies elsewhere"  # told without alarm
COPY = ".journal."
NEVER_BACKUPS = ("RECOVER.md", "RUNBOOK.md", "RUNBOOK.html")


@lru_cache(maxsize=512)
def sealed_bytes(content: str, size: int) -> bytes:
    """A sealed archive of one file that holds its name ``content`` and ``size`` bytes of noise."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        data = content.encode() + b"\n" + Random(content).randbytes(size)
        info = tarfile.TarInfo("clinic.db")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    sealed = io.BytesIO()
    plain = zstandard.ZstdCompressor(level=1).compress(packed.getvalue())
    encrypt(io.BytesIO(plain), sealed, [OWNER.recipient()])
    return sealed.getvalue()


@lru_cache(maxsize=1024)
def opened(data: bytes) -> str:
    """What is in a sealed archive, opened with the owner's key; "" where it doesn't open."""
    plain = io.BytesIO()
    try:
        decrypt(io.BytesIO(data), plain, [OWNER])
        packed = zstandard.ZstdDecompressor().decompressobj().decompress(plain.getvalue())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            member = archive.extractfile("clinic.db")
            return member.readline().decode().strip() if member else ""
    except (DatasaveError, zstandard.ZstdError, tarfile.TarError):
        return ""


@dataclass
class Outcome:
    """What one run came to: its number and name, where it arrived, what failed, every sentence it said."""

    machine: str
    number: int
    stem: str
    content: str
    arrived: set[str] = field(default_factory=set)
    removed: dict[str, tuple[Removed, ...]] = field(default_factory=dict)
    failed: dict[str, DatasaveError] = field(default_factory=dict)
    pruned: dict[str, Pruned] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    audited: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    def says(self, *words: str) -> bool:
        """Whether one sentence of that night has all these words."""
        return any(all(word in sentence for word in words) for sentence in self.told)


@dataclass
class Office:
    """One machine of it, by name, with a state folder of its own; ``signers`` are the others that count."""

    root: Path
    plan: dict[str, Any]
    signers: list[str] = field(default_factory=list)
    machine: str = "main"
    runs: int = 0
    read: dict[str, PlanContext] = field(default_factory=dict)

    @property
    def plan_file(self) -> Path:
        return self.root / f"{self.machine}.yaml"

    @property
    def state(self) -> Path:
        return self.root / f"state-{self.machine}"

    @property
    def key(self) -> str:
        """Public key of the machine."""
        return public_text(self.context().machine_key().public_key())

    def context(self) -> PlanContext:
        """The plan as it is now; read anew where it changed."""
        text = yaml.safe_dump({**self.plan, "state": f"state-{self.machine}", "signers": self.signers})
        if text not in self.read:
            self.plan_file.write_text(text)
            self.read = {text: PlanContext(self.plan_file)}
        return self.read[text]

    def prepare(self) -> None:
        """Mark the folder targets as such."""
        context = self.context()
        for entry in self.plan["targets"]:
            if entry["kind"] == "folder":
                (self.root / entry["path"]).mkdir(exist_ok=True)
                with context.target(entry["name"]) as target:
                    target.prepare()  # type: ignore[attr-defined]

    def night(self, moment: datetime, size: int) -> Outcome:
        """A backup to every target that is due, and the audit after it."""
        with time_machine.travel(moment, tick=True):
            context = self.context()
            run, sealed, rehearsed = self._proven(context, moment, size)
            stem_text = sealed.name.removesuffix(".tar.zst.age")
            outcome = Outcome(self.machine, run.sequence, stem_text, self._content(run))
            for entry in context.plan.targets:
                if entry.name not in run.not_due:
                    self._send(context, run, sealed, rehearsed, entry.name, outcome)
            outcome.told += [doubt.detail for doubt in doubts(context)]
            for entry in context.plan.targets:
                outcome.audited[entry.name] = audit_target(context, entry.name, read_all=True)
                told = (f for f in outcome.audited[entry.name] if not f.passed or f.check == ELSEWHERE)
                outcome.told += [finding.detail for finding in told]
            return outcome

    def _proven(self, context: PlanContext, moment: datetime, size: int) -> tuple[Run, Sealed, Rehearsed]:
        self.runs += 1
        run_id = f"{self.machine}-{self.runs}"
        run = Run(
            plan=context.path,
            id=run_id,
            source=NAME,
            sequence=next_sequence(context, run_id),
            started=moment,
            engine=Engine(kind="sqlite", version="3", bytes=size),
            not_due=not_due(context, "", day_of(context, moment)),
        )
        content = self._content(run)
        data = sealed_bytes(content, size)
        folder = context.staging / run_id
        folder.mkdir(parents=True)
        name = sealed_name(stem(NAME, moment, run.sequence))
        (folder / name).write_bytes(data)
        head = context.journal.head()
        record = manifest(
            run.sequence,
            moment,
            source=NAME,
            sealed_bytes=len(data),
            sealed_sha256=sha256(data).hexdigest(),
            archive_sha256=sha256(content.encode()).hexdigest(),
            recipients=(Holder(name="Owner", recipient=str(OWNER.recipient())),),
            journal=JournalHead(length=head.length, sha256=head.sha256),
        )
        (folder / "manifest").write_bytes(to_json(sign_record(record, context.machine_key())))
        sealed = Sealed(path=folder / name, name=name, bytes=len(data), sha256=record.sealed_sha256)
        found = (Finding(check="opened", passed=True, detail="opened and counted"),)
        remember(context, "", _seen(run, size))
        return run, sealed, Rehearsed(findings=found, seconds=0.0, manifest=folder / "manifest")

    def _content(self, run: Run) -> str:
        return f"{self.machine} {run.sequence} {run.started:%Y-%m-%d}"

    def _send(
        self,
        context: PlanContext,
        run: Run,
        sealed: Sealed,
        rehearsed: Rehearsed,
        name: str,
        outcome: Outcome,
    ) -> None:
        try:
            placed = deliver(context, run, sealed, rehearsed, name)
            placed = read_back(context, run, sealed, rehearsed, placed)
            outcome.arrived.add(name)
            outcome.pruned[name] = prune(context, name, "", placed.name, day_of(context, run.started), run.id)
            outcome.told.append(outcome.pruned[name].note)
            copy_journal(context, name, day_of(context, run.started))
        except DatasaveError as error:
            outcome.failed[name] = error
            outcome.told.append(f"{name}: {error}")
        outcome.removed[name] = removed_in(context, run, name)


def _seen(run: Run, size: int) -> Snapshot:
    return Snapshot(sequence=run.sequence, taken=run.started, copy_bytes=size, archive_bytes=size, tables=())


def files_below(root: Path) -> dict[str, bytes]:
    """Every file of a place that is no page for people and no marker, by its path there."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in found
        if path.name not in NEVER_BACKUPS and not path.name.startswith(".datasave") and COPY not in path.name
    }


_LIBC = ctypes.CDLL(None, use_errno=True)
_BIND, _LAZY = 4096, 2


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def memory_at(path: Path, size: str) -> Iterator[Path]:
    """A file system in memory, as tests/mounts.py makes it, without a program's start for each."""
    path.mkdir(parents=True, exist_ok=True)
    _checked(_LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size}".encode()))
    try:
        yield path
    finally:
        _checked(_LIBC.umount2(os.fsencode(path), _LAZY))


@contextmanager
def shown_at(store: Path, path: Path) -> Iterator[None]:
    """A drive that is plugged in at ``path`` for as long as the block runs."""
    path.mkdir(parents=True, exist_ok=True)
    _checked(_LIBC.mount(os.fsencode(store), os.fsencode(path), None, _BIND, None))
    try:
        yield
    finally:
        _checked(_LIBC.umount2(os.fsencode(path), _LAZY))
        path.rmdir()


class PowerCut(DatasaveError):
    """Nothing more is done in that run."""


@contextmanager
def power_cut(after: int | None) -> Iterator[None]:
    """After so many deletions neither another one nor a line of the journal about them comes about."""
    if after is None:
        yield
        return
    left = [after]
    delete, append = MountedFolder.delete, Journal.append

    def cut(target: MountedFolder, name: str) -> None:
        if not left[0]:
            raise PowerCut("the power went")
        left[0] -= 1
        delete(target, name)

    def lost(journal: Journal, kind: str, /, **facts: Any) -> Entry:
        if kind == Kind.REMOVED and not left[0]:
            raise PowerCut("the power went")
        return append(journal, kind, **facts)

    with patch.object(MountedFolder, "delete", cut), patch.object(Journal, "append", lost):
        yield


def emptied(root: Path) -> None:
    """Remove what an earlier office left."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
