"""Whether data and backups lie apart: a target inside the live data is refused, one on its disk is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.context import PlanContext
from tasks.errors import PlanError, TargetError
from tasks.options import Place
from tasks.plan.model import Plan
from tasks.plan.places import APART, overlap
from tasks.platform.places import Located
from tasks.records import Engine
from tasks.targets.base import Target
from tasks.targets.capabilities import SupportsDisk

ON_THE_SAME_DISK = "on the same disk as the data: what destroys that disk destroys both"


def refuse_overlap(context: PlanContext, engine: Engine) -> None:
    """Raise PlanError for a target that lies in the live data, or around it, by what its engine says.

    What the plan itself says of places was compared when it was read.
    """
    data = _data([engine])
    for entry in context.plan.targets if data else ():
        if entry.place and (cause := overlap(entry.place, f"the live data of {engine.kind}", data)):
            raise PlanError(f"the target {entry.name} {cause} ({engine.data})", hint=APART)


def shares_disk(context: PlanContext, target: Target, engines: Iterable[Engine] = ()) -> bool:
    """Whether a target lies on a disk of this machine that holds live data.

    As far as that is known: by the plan, and by what engines said. False too where the target is not there.
    """
    if not isinstance(target, SupportsDisk):
        return False
    try:
        return target.disk() in _disks([*_named(context.plan), *_data(engines)])
    except TargetError:
        return False


def planned_beside(plan: Plan) -> list[str]:
    """The targets of a new plan that would lie on a disk that holds live data, as things are mounted now."""
    disks = _disks(_named(plan))
    return [entry.name for entry in plan.targets if entry.place and Located(entry.place).disk in disks]


def _disks(places: Iterable[Place]) -> set[int]:
    return {disk for place in places if (disk := Located(place).disk) is not None}


def _named(plan: Plan) -> list[Place]:
    return [entry.place for entry in (plan.source, *plan.also) if entry.place]


def _data(engines: Iterable[Engine]) -> list[Place]:
    # What a server in a container says of itself is no path of this machine.
    return [Place("", engine.data) for engine in engines if engine.data and Path(engine.data).exists()]
