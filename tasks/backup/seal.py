"""From the copy to the sealed archive and its signed manifest."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from tasks.age.file import encrypt as encrypt_stream
from tasks.age.file import encrypting_writer
from tasks.age.hybrid import HybridIdentity
from tasks.age.keys import parse_recipient
from tasks.age.recipients import Recipient
from tasks.age.x25519 import X25519Identity
from tasks.archive.writer import write_archive
from tasks.backup.copy import Copied, summed_up
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.manifests.manifest import manifest_name, sealed_name, stem, to_json
from tasks.manifests.signing import sign_record
from tasks.platform.files import (
    HashingWriter,
    atomic_writer,
    write_atomic,
    write_new_secret,
)
from tasks.platform.relay import written_beside
from tasks.platform.trees import remove_tree
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
    with atomic_writer(path) as stream:
        sealed = HashingWriter(stream)
        with written_beside(sealed.stream) as outside, encrypt(context, workspace, outside) as inside:
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


def encrypt(context: PlanContext, workspace: Workspace, stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """What is written inside the block goes to ``stream`` encrypted to every holder and to the run's own key.

    That key, made for this run alone, lets the rehearsal open exactly the file that will be delivered,
    although the machine holds no holder's identity.
    """
    return encrypting_writer(stream, [*context.recipients(), _make_run_key(context, workspace)])


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


def _make_run_key(context: PlanContext, workspace: Workspace) -> Recipient:
    # The run's key must be of the holders' class: one file never mixes hybrid and classic recipients,
    # or the weaker one would decide who can read it in the age of quantum computers.
    hybrid = any(holder.recipient.startswith("age1pq1") for holder in context.plan.holders)
    identity = HybridIdentity.generate() if hybrid else X25519Identity.generate()
    remove_tree(workspace.run_key)
    write_new_secret(workspace.run_key, identity.secret_text() + "\n")
    return parse_recipient(str(identity.recipient()))
