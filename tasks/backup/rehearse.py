"""The last gate before delivery: open the sealed archive in scratch, compare, sign the manifest.

The same comparison with what was recorded serves three times: before delivery (with the file's own key), in
drills and in restores (with a holder's).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tasks.age.file import decrypting_reader
from tasks.age.keys import Identity
from tasks.archive.reader import extract_archive
from tasks.backup.copy import Copied, identical
from tasks.backup.seal import describe, own_keys
from tasks.backup.validate import require, same_digest
from tasks.backup.workspace import Workspace
from tasks.checks.judge import judge_checks, judge_counts, judge_tables
from tasks.checks.measure import counts, measure_checks, profile
from tasks.context import PlanContext
from tasks.errors import MismatchError, ValidationError
from tasks.health import trend
from tasks.options import UserCheck
from tasks.platform.files import BLOCK, HashingReader, private_folder
from tasks.records import (
    CopiedFile,
    Finding,
    Profile,
    Progress,
    Rehearsed,
    Run,
    Sealed,
    Validated,
    no_progress,
)
from tasks.sources.base import Connection, Source
from tasks.sources.capabilities import made_anew, tables_for


def prove(
    context: PlanContext,
    run: Run,
    copy: Copied,
    sealed: Sealed,
    validated: Validated,
    progress: Progress = no_progress,
) -> Rehearsed:
    """Open the sealed archive, compare it with the copy, sign the manifest: marked where it must be.

    A backup that merely looks wrong is delivered all the same: it may be the newest there will ever be.
    """
    findings, seconds = rehearse(context, run, copy, sealed, validated, progress)
    seen = trend.look(context, run, copy, sealed, validated)
    manifest = describe(context, run, copy, sealed, validated, findings, seen)
    trend.remember(context, run.source_name, seen)
    return Rehearsed(findings=findings, seconds=seconds, manifest=manifest, anomalies=seen.anomalies)


def rehearse(
    context: PlanContext,
    run: Run,
    copy: Copied,
    sealed: Sealed,
    validated: Validated,
    progress: Progress = no_progress,
) -> tuple[tuple[Finding, ...], float]:
    """Restore the sealed archive in scratch with the file's own key; findings and seconds.

    Raises AgeError, ArchiveError, ValidationError or MismatchError: then nothing may be delivered.
    """
    began = time.monotonic()
    workspace = Workspace(context.staging / run.id)
    room = workspace.fresh(workspace.scratch)
    restored = private_folder(room / "restored")
    with sealed.path.open("rb", buffering=0) as stream:
        reader = HashingReader(stream, progress, sealed.bytes)
        digest = unpack(reader.stream, own_keys(sealed), restored, copy.bytes)
    same_digest(reader.hexdigest(), sealed.sha256, "sealed archive")
    same_digest(digest, sealed.archive_sha256, "archive inside the seal")
    proof = Proof(copy.read_files(), validated.profile, context.checks(run.source_name), run.started)
    engine = private_folder(room / "engine")
    findings = proof.of(context.source(run.source_name), restored, engine, checked=True)
    what = "the rehearsal failed: the restored copy is not what was recorded"
    require(findings, what, MismatchError, strict=context.plan.strict)
    return findings, time.monotonic() - began


def unpack(
    reader: BinaryIO,
    identities: Sequence[Identity],
    folder: Path,
    copy_bytes: int,
    only: Callable[[str], bool] | None = None,
) -> str:
    """Decrypt and extract a sealed archive into ``folder``; the plain archive's sha256.

    With ``only``, just the files whose names it says yes to. Reads ``reader`` to its end, so that a digest
    taken around it covers the whole file.
    """
    plain = HashingReader(decrypting_reader(reader, identities))
    # A little room for sparse rounding; anything beyond what the manifest states is an attack or a fault.
    extract_archive(plain.stream, folder, limit=copy_bytes + BLOCK, only=only)
    return plain.drain()


class Proof:
    """What a restored copy must show: recorded files, recorded profile, the user's own checks."""

    def __init__(
        self,
        files: Sequence[CopiedFile],
        recorded: Profile,
        checks: Sequence[UserCheck],
        taken: datetime,
    ) -> None:
        self._files = files
        self._recorded = recorded
        self._checks = checks
        self._taken = taken

    def of(
        self, source: Source, restored: Path, scratch: Path, *, checked: bool = False
    ) -> tuple[Finding, ...]:
        """All findings about the copy in ``restored``. Never raises for a copy that is merely wrong.

        ``checked``: the recorded files have just passed the engine's check on this machine. What was proven
        of bytes is not proven again where they are the same; opening and counting is done always.
        """
        with ThreadPoolExecutor(max_workers=1) as beside:
            hashing = beside.submit(identical, restored, self._files)
            engine = [] if checked else source.validate(restored, scratch)
            same = hashing.result()
        alike = same.passed and not made_anew(source, restored)
        if checked and not alike:
            engine = source.validate(restored, scratch)
        findings = [same, *([_stands(engine=checked)] if alike else []), *engine]
        try:
            with source.open(restored, scratch) as connection:
                # First of all: measuring may change settings that the user's SQL relies on.
                values = measure_checks(connection, self._checks, self._taken)
                findings += self._rows(connection, source, alike=alike)
                findings += judge_checks(self._checks, values)
        except ValidationError as error:
            findings.append(Finding(check="restored copy opens", passed=False, detail=error.message))
        else:
            how = "opened and counted" if alike else "opened and read"
            findings.append(Finding(check="restored copy opens", passed=True, detail=how))
        return tuple(findings)

    def _rows(self, connection: Connection, source: Source, *, alike: bool) -> tuple[Finding, ...]:
        tables = tables_for(source, connection, self._recorded)
        if alike:
            return judge_counts(self._recorded, counts(connection, tables))
        return judge_tables(self._recorded, profile(connection, tables))


def _stands(*, engine: bool) -> Finding:
    what = "the engine's check and the fingerprints" if engine else "the fingerprints"
    detail = f"byte for byte the copy, so {what} taken of it when it was made prove this one as well"
    return Finding(check="same bytes", passed=True, detail=detail)
