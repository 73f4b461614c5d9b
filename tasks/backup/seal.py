"""From the copy to the sealed archive and its signed manifest."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from tasks.age.file import OwnKey, encrypting_writer, stanza_kinds
from tasks.age.file import encrypt as encrypt_stream
from tasks.age.keys import parse_recipient
from tasks.age.recipients import FILE_KEY_BYTES, Recipient
from tasks.archive.writer import write_archive
from tasks.backup.copy import Copied, summed_up
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import HeaderError, StateError
from tasks.manifests.manifest import manifest_name, sealed_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.platform.files import (
    HashingWriter,
    atomic_writer,
    write_atomic,
)
from tasks.platform.relay import written_beside
from tasks.policy.trend_rules import Snapshot
from tasks.records import (
    Contents,
    Finding,
    Holder,
    JournalHead,
    Manifest,
    Progress,
    Run,
    Sealed,
    Validated,
    no_progress,
)

_own_keys: dict[Path, OwnKey] = {}


def archive_and_encrypt(
    context: PlanContext, workspace: Workspace, run: Run, copy: Copied, progress: Progress = no_progress
) -> Sealed:
    """Pack the copy and encrypt the archive in one pass: no readable archive ever lies on the disk.

    Two threads beside this one and the compressor's: one hashes the archive and encrypts it, one hashes what
    is sealed and writes it.
    """
    name = sealed_name(stem(run.source, run.started, run.sequence))
    # What an earlier try left here was never proven.
    path = workspace.fresh(workspace.sealed) / name
    key = _own_keys[path] = OwnKey()
    with atomic_writer(path) as stream:
        sealed = HashingWriter(stream)
        with written_beside(sealed.stream) as outside, encrypt(context, outside, key) as inside:
            plain = HashingWriter(inside)
            with written_beside(plain.stream) as packed:
                archive(context, copy, packed, progress)
    return Sealed(
        path=path,
        name=name,
        bytes=sealed.bytes,
        sha256=sealed.hexdigest(),
        archive_bytes=plain.bytes,
        archive_sha256=plain.hexdigest(),
    )


def archive(context: PlanContext, copy: Copied, stream: BinaryIO, progress: Progress = no_progress) -> None:
    """Pack the copy as tar + zstandard, by the plan's ``archive`` options."""
    options = context.plan.archive
    write_archive(
        copy.folder,
        stream,
        level=options.level,
        threads=options.threads,
        progress=lambda done, _total: progress(done, copy.bytes),
    )


def encrypt(context: PlanContext, stream: BinaryIO, key: OwnKey) -> AbstractContextManager[BinaryIO]:
    """What is written inside the block goes to ``stream`` encrypted to every holder, and to nobody else.

    ``key`` lets the rehearsal open exactly the file that will be delivered, although the machine holds no
    holder's identity.
    """
    return encrypting_writer(stream, context.recipients(), key=key)


def own_keys(sealed: Sealed) -> list[OwnKey]:
    """What opens a sealed archive in the process that made it.

    It is in memory alone: on a disk even a removed key may be found again, and would open what lies on the
    targets. Raises StateError in any other process.
    """
    try:
        return [_own_keys[sealed.path]]
    except KeyError:
        raise StateError(
            f"{sealed.name} cannot be rehearsed: its key was in the memory of a process that has ended",
            hint="Run the backup again; it starts with a new copy.",
        ) from None


def _refuse_strangers(sealed: Path, holders: tuple[Holder, ...]) -> None:
    """Raise HeaderError unless a sealed archive is for as many keys, of their kinds, as there are holders."""
    with sealed.open("rb") as stream:
        found = stanza_kinds(stream)
    named = [parse_recipient(holder.recipient).wrap(bytes(FILE_KEY_BYTES)).args[0] for holder in holders]
    if found != named:
        raise HeaderError(
            f"{sealed.name} can be opened by {len(found)} keys, and its manifest would name {len(named)}",
            hint="Nothing was delivered. Run the backup again.",
        )


def describe(
    context: PlanContext,
    run: Run,
    copy: Copied,
    sealed: Sealed,
    validated: Validated,
    rehearsal: tuple[Finding, ...],
    seen: Snapshot | None = None,
) -> Path:
    """Write the signed manifest beside the sealed archive in staging; returns its path.

    Where ``seen`` doesn't look like the runs before, the backup is marked for good: what was seen stands
    in the encrypted part, the kind of it in the open, so that no machine clears out older ones over it.
    """
    findings = (*validated.findings, *rehearsal)
    contents = Contents(
        files=summed_up(copy.read_files()),
        profile=validated.profile,
        findings=findings,
        anomalies=seen.anomalies if seen else (),
    )
    head = context.journal.head()
    manifest = Manifest(
        source=run.source,
        kind=copy.engine.kind,
        engine_version=copy.engine.version,
        program_version=version("datasave"),
        sequence=run.sequence,
        taken=run.started,
        sealed_at=datetime.now(UTC).replace(microsecond=0),
        sealed_name=sealed.name,
        copy_bytes=copy.bytes,
        archive_bytes=sealed.archive_bytes,
        archive_sha256=sealed.archive_sha256,
        sealed_bytes=sealed.bytes,
        sealed_sha256=sealed.sha256,
        recipients=tuple(Holder(name=h.name, recipient=h.recipient) for h in context.plan.holders),
        checks=outline(findings),
        marks=seen.marks if seen else (),
        journal=JournalHead(length=head.length, sha256=head.sha256),
        contents=seal_text(contents.model_dump_json(), context.recipients()),
        machine="",
    )
    _refuse_strangers(sealed.path, manifest.recipients)
    signed = sign_record(manifest, context.machine_key())
    path = sealed.path.with_name(manifest_name(stem(run.source, run.started, run.sequence)))
    write_atomic(path, to_json(signed))
    return path


def outline(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Findings by check alone, without tables and counts: what an off-site reader may see."""
    names = dict.fromkeys(finding.check for finding in findings)
    outlined = []
    for name in names:
        same = [finding for finding in findings if finding.check == name]
        good = sum(finding.passed for finding in same)
        detail = f"{good} of {len(same)} passed"
        # Something wrong outweighs what could not be checked.
        unchecked = good < len(same) and not any(finding.failed for finding in same)
        outlined.append(Finding(check=name, passed=good == len(same), detail=detail, unchecked=unchecked))
    return tuple(outlined)


def seal_text(text: str, recipients: list[Recipient]) -> str:
    """``text`` as an armored age file."""
    sealed = io.BytesIO()
    encrypt_stream(io.BytesIO(text.encode("utf-8")), sealed, recipients, armored=True)
    return sealed.getvalue().decode("ascii")
