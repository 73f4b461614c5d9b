"""Offices whose targets hold backups, made without a run: real files, signatures and journals."""

from __future__ import annotations

import random
from copy import deepcopy
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from tasks.backup.condition import note_delivered
from tasks.backup.deliver import publish
from tasks.context import PlanContext
from tasks.manifests.manifest import to_json
from tasks.manifests.signing import sign_record
from tasks.records import Finding, Manifest
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import TAKEN, manifest

SIZE = 5000


def office(root: Path, *targets: str, **options: Any) -> PlanContext:
    """A plan with folder targets, prepared and empty."""
    made = Site.make(root, [])
    made.change_plan(
        targets=[{"name": name, "kind": "folder", "path": name, **deepcopy(options)} for name in targets]
    )
    context = made.context
    for name in targets:
        made.init_target(name)
    return context


def archive(number: int) -> bytes:
    """What the sealed archive of a backup holds, here: noise."""
    return random.Random(number).randbytes(SIZE)


def stated(context: PlanContext, number: int) -> Manifest:
    """The signed manifest of a backup, a night after the one before."""
    data = archive(number)
    facts = {"sealed_bytes": len(data), "sealed_sha256": sha256(data).hexdigest()}
    record = manifest(number, TAKEN + timedelta(days=number), archive_sha256=f"{number:064x}", **facts)
    return sign_record(record, context.machine_key())


def stock(context: PlanContext, target: str, *numbers: int) -> None:
    """Deliver these backups to a target, as a run does it."""
    with context.target(target) as place:
        for number in numbers:
            record = stated(context, number)
            put(place, record.sealed_name, archive(number))
            publish(place, to_json(record), record.sealed_name)
            note_delivered(context, place, record.sealed_name, record)


def path_of(context: PlanContext, target: str, number: int) -> Path:
    """Where the archive of a backup lies on a folder target."""
    return context.path.parent / target / stated(context, number).sealed_name


def rot(path: Path) -> None:
    """Overwrite four bytes in the middle, as a medium that ages does."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4] = bytes(byte ^ 0xFF for byte in data[middle : middle + 4])
    path.write_bytes(data)


def failed(findings: tuple[Finding, ...]) -> dict[str, str]:
    """The details of those that did not pass, by check."""
    return {finding.check: finding.detail for finding in findings if not finding.passed}
