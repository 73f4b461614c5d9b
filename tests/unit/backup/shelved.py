"""An office whose folder target holds good backups, a day after the other."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.context import PlanContext
from tasks.manifests.manifest import manifest_name, parse_name, to_json
from tasks.manifests.signing import sign_record
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, TAKEN, manifest

STEM = ".tar.zst.age"


def office(root: Path, *, count: int = 5, **options: Any) -> Site:
    """Backups 1 to ``count`` on ``nas``; ``options`` are the target's."""
    site = Site.make(root, ["nas"])
    change_target(site, **options)
    with site.context.target("nas") as target:
        for number in range(1, count + 1):
            put_backup(site.context, target, number)
    return site


def change_target(site: Site, name: str = "nas", **options: Any) -> PlanContext:
    """The plan with that target alone, under these options."""
    site.change_plan(targets=[{"name": name, "kind": "folder", "path": "nas", **options}])
    return site.context


def taken(number: int) -> datetime:
    """When the backup of that number was taken."""
    return TAKEN + timedelta(days=number)


def put_backup(context: PlanContext, target: Any, number: int, slot: str = "", **facts: Any) -> str:
    """A good backup of this machine; its full name on the target."""
    record = sign_record(manifest(number, taken(number), **facts), context.machine_key())
    name = f"{slot}/{record.sealed_name}".lstrip("/")
    put(target, name, SEALED)
    put(target, manifest_name(name.removesuffix(STEM)), to_json(record))
    return name


def left(site: Site, target: str = "nas") -> list[int]:
    """Numbers of the archives that are there."""
    parsed = [parse_name(path.name) for path in site.archives(target)]
    return sorted(parts.sequence for parts in parsed if parts)
