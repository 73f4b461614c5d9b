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

import time_machine
import yaml
import zstandard

from tasks.age.file import decrypt, encrypt
from tasks.age.x25519 import X25519Identity
from tasks.backup.deliver import deliver, read_back
from tasks.backup.due_targets import day_of, not_due
from tasks.backup.preflight import next_sequence
from tasks.backup.retain import prune
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.audit import audit_target
from tasks.health.trend import remember
from tasks.manifests.manifest import sealed_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.policy.trend_rules import Snapshot
from tasks.records import Engine, Finding, Holder, Pruned, Rehearsed, Run, Sealed
from tests.unit.manifests.shelves import manifest

OWNER = X25519Identity.generate()
NAME = "clinic"
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
    """What one run came to: its number and name, what failed at which target, every sentence it said."""

    number: int
    stem: str
    failed: dict[str, DatasaveError] = field(default_factory=dict)
    pruned: dict[str, Pruned] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    audited: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    def says(self, *words: str) -> bool:
        """Whether one sentence of that night has all these words."""
        return any(all(word in sentence for word in words) for sentence in self.told)


@dataclass
class Office:
    """Its folder, its plan; ``machine`` is the name of the state folder that runs use."""

    root: Path
    plan: dict[str, Any]
    machine: str = "state"

    @property
    def plan_file(self) -> Path:
        return self.root / f"{self.machine}.yaml"

    def write_plan(self) -> None:
        self.plan_file.write_text(yaml.safe_dump({**self.plan, "state": self.machine}, sort_keys=False))

    def context(self) -> PlanContext:
        self.write_plan()
        return PlanContext(self.plan_file)

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
            outcome = Outcome(run.sequence, sealed.name.removesuffix(".tar.zst.age"))
            for entry in context.plan.targets:
                if entry.name not in run.not_due:
                    self._send(context, run, sealed, rehearsed, entry.name, outcome)
            for entry in context.plan.targets:
                outcome.audited[entry.name] = audit_target(context, entry.name, read_all=True)
                outcome.told += [f.detail for f in outcome.audited[entry.name] if not f.passed]
            return outcome

    def _proven(self, context: PlanContext, moment: datetime, size: int) -> tuple[Run, Sealed, Rehearsed]:
        run_id = f"{self.machine}-{moment:%Y%m%d%H%M%S}"
        run = Run(
            plan=context.path,
            id=run_id,
            source=NAME,
            sequence=next_sequence(context, run_id),
            started=moment,
            engine=Engine(kind="sqlite", version="3", bytes=size),
            not_due=not_due(context, "", day_of(context, moment)),
        )
        content = f"{self.machine} {run.sequence} {moment:%Y-%m-%d}"
        data = sealed_bytes(content, size)
        folder = context.staging / run_id
        folder.mkdir(parents=True)
        name = sealed_name(stem(NAME, moment, run.sequence))
        (folder / name).write_bytes(data)
        record = manifest(
            run.sequence,
            moment,
            source=NAME,
            sealed_bytes=len(data),
            sealed_sha256=sha256(data).hexdigest(),
            archive_sha256=sha256(content.encode()).hexdigest(),
            recipients=(Holder(name="Owner", recipient=str(OWNER.recipient())),),
        )
        (folder / "manifest").write_bytes(to_json(sign_record(record, context.machine_key())))
        sealed = Sealed(path=folder / name, name=name, bytes=len(data), sha256=record.sealed_sha256)
        found = (Finding(check="opened", passed=True, detail="opened and counted"),)
        remember(context, "", _seen(run, size))
        return run, sealed, Rehearsed(findings=found, seconds=0.0, manifest=folder / "manifest")

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
            pruned = prune(context, name, "", placed.name, day_of(context, run.started))
        except DatasaveError as error:
            outcome.failed[name] = error
            outcome.told.append(str(error))
            return
        outcome.pruned[name] = pruned
        outcome.told.append(pruned.note)


def _seen(run: Run, size: int) -> Snapshot:
    return Snapshot(sequence=run.sequence, taken=run.started, copy_bytes=size, archive_bytes=size, tables=())


def files_below(root: Path) -> dict[str, bytes]:
    """Every file of a place that is no page for people and no marker, by its path there."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in found
        if path.name not in NEVER_BACKUPS and not path.name.startswith(".datasave")
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


def emptied(root: Path) -> None:
    """Remove what an earlier office left."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
