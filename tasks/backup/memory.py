"""Whether this machine's memory can be believed: its journal, held to what places know of it.

A state folder can be put back to an older day, lost, or copied to a second machine. Targets show it: by
numbers above all that the journal tells of, and by copies and manifests that name entries it does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from tasks.age.keys import Identity
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ManifestError, NoBackup, TargetError
from tasks.journal.copies import copies_in, fetch_copy, machine_id
from tasks.journal.journal import Head, Journal
from tasks.journal.kinds import Kind
from tasks.journal.recovery import BroughtBack, bring_back
from tasks.manifests.manifest import MANIFEST_SUFFIX, MAX_BYTES, SIGNATURE_SUFFIX, parse_name, read_manifest
from tasks.platform.accounts import account_name
from tasks.records import BackupEntry, key_of
from tasks.targets.base import Target

SUSPENDED = "pruning suspended"
SIGNATURE_END = SIGNATURE_SUFFIX.removeprefix(MANIFEST_SUFFIX)
# What stands in the place of a line's sha256 where only a number tells.
_NUMBER = "number"
_FORGOTTEN = "forgotten"
FORGOTTEN = (
    "what people said since this old memory was saved is forgotten here: nothing is removed until those "
    "backups are held again that must stay (`datasave hold`), and `datasave journal --accept` is given again"
)
WAY_OUT = (
    "`datasave journal --recover TARGET`, with a holder's key, brings back what was forgotten. If another "
    "machine works with this plan, stop one of the two. If all this is known, say so with "
    "`datasave journal --accept`."
)


class Seen(NamedTuple):
    """What a target's names show: the highest number of a backup, and where journals of ours stood.

    ``ours``: whether no other machine signed the backup of that number.
    """

    target: str
    number: int
    heads: tuple[Head, ...]
    ours: bool = True


class Doubt(NamedTuple):
    """Why the memory is not to be believed, in words; whether nothing may be removed because of it, and
    whether holds and other words of people may be forgotten with what it is about."""

    detail: str
    stops: bool
    forgets: bool = False


def look_around(context: PlanContext) -> list[Seen]:
    """What the targets that can be reached show; all are asked at once. Only names are looked at."""
    names = [entry.name for entry in context.plan.targets]
    with ThreadPoolExecutor(len(names)) as pool:
        return [seen for seen in pool.map(lambda name: _seen(context, name), names) if seen]


def note_doubts(context: PlanContext, seen: Iterable[Seen]) -> None:
    """Enter what places know and the journal doesn't, each once."""
    last = last_number(context.journal)
    for place in seen:
        if _note_heads(context, place.target, place.heads) or place.number <= last:
            continue
        # A second machine that the plan knows takes numbers of its own.
        if place.ours or not last:
            above = f" above {last}: its memory is old" if last else ": its memory is lost"
            detail = (
                f"{place.target} shows backup {place.number}, and this machine remembers none{above}, "
                "or another machine writes there"
            )
            _note(context, place.target, detail, Head(0, f"{_NUMBER} {place.number}"))


def doubts(context: PlanContext) -> list[Doubt]:
    """Why the memory is not to be believed; empty where it is. What was accepted is left out."""
    open_ones: dict[str, str] = {}
    for entry in context.journal.entries(Kind.DOUBT, Kind.JOURNAL_ACCEPTED, Kind.RECOVERED):
        if entry.kind == Kind.DOUBT:
            open_ones[entry.facts["sha256"]] = entry.facts["detail"]
        else:
            open_ones = {_FORGOTTEN: FORGOTTEN} if entry.facts.get("forgets") else {}
    damage = [Doubt(f"the journal is damaged ({defect})", True) for defect in context.journal.defects()]
    return [*damage, *(_doubt(key, told) for key, told in open_ones.items())]


def _doubt(key: str, told: str) -> Doubt:
    stops = not key.startswith(_NUMBER)
    return Doubt(told, stops, forgets=stops and key != _FORGOTTEN)


def learn_of(context: PlanContext, target: str, shelf: Sequence[BackupEntry]) -> None:
    """Enter what the manifests of a shelf know of our journal and it doesn't."""
    ours = own_machines(context)
    told = (backup.manifest for backup in shelf if backup.verified and backup.manifest)
    heads = [Head(m.journal.length, m.journal.sha256) for m in told if m.journal and m.machine in ours]
    _note_heads(context, target, heads)


def look_at(context: PlanContext, target: Target, shelf: Sequence[BackupEntry]) -> None:
    """Enter what an open target knows of our journal, by its copies and manifests, and it doesn't."""
    learn_of(context, target.name, shelf)
    copies = copies_in((stat.name for stat in target.list()), context.plan.name, own_machines(context))
    _note_heads(context, target.name, (copy.head for copy in copies))


def memory_doubt(context: PlanContext) -> str:
    """Why nothing may be removed by this memory, "" where it can be believed."""
    stops = [doubt.detail for doubt in doubts(context) if doubt.stops]
    return f"{SUSPENDED}: {stops[0]}" if stops else ""


def accept(context: PlanContext) -> list[Doubt]:
    """Enter that someone looked at all that is doubted now, and go on; what it was.

    After an old memory was accepted it stays doubted what it forgot, until that is accepted as well.
    """
    found = doubts(context)
    if found:
        length = max((entry.facts["length"] for entry in context.journal.entries(Kind.DOUBT)), default=0)
        defects = context.journal.defects()
        forgets = any(doubt.forgets for doubt in found)
        told = {"defects": defects, "length": length, "who": account_name()}
        context.journal.append(Kind.JOURNAL_ACCEPTED, **told, **({"forgets": True} if forgets else {}))
    return found


def recover(
    context: PlanContext, target_name: str, identities: Sequence[Identity], signers: Sequence[str] = ()
) -> BroughtBack:
    """Bring the journal back from the furthest copy on a target that the keys open.

    ``signers``: public keys of machines that are believed beside those of the plan. Raises NoBackup where
    there is no copy; AgeError, TargetError; StateError for a copy that is not believed or tells nothing new.
    """
    trusted = {key_of(signer) for signer in (*context.trusted(), *signers)}
    with context.target(target_name) as target:
        copies = copies_in([stat.name for stat in target.list()], context.plan.name)
        if not copies:
            raise NoBackup(
                f"{target_name} holds no copy of the journal of {context.plan.name}",
                hint="A copy is put there with each delivery. Another target may hold one.",
            )
        known = [copy for copy in copies if copy.machine in {machine_id(one) for one in trusted}]
        data = fetch_copy(target, (known or copies)[-1], identities)
    return bring_back(
        context.journal, data, context.machine_key(), trusted, target=target_name, who=account_name()
    )


def last_number(journal: Journal) -> int:
    """The highest number that the journal tells of, 0 where there is none."""
    numbered = journal.entries(Kind.NUMBER, Kind.DELIVERED)
    return max((entry.facts["sequence"] for entry in numbered), default=0)


def _seen(context: PlanContext, name: str) -> Seen | None:
    # One that cannot be asked, for want of a password too, must not keep the others from their backup.
    with suppress(DatasaveError), context.target(name) as target:
        names = [stat.name for stat in target.list()]
        # A manifest's signature is of its number as well: it may be all that is left of a backup.
        parsed = [parse_name(one.rpartition("/")[2].removesuffix(SIGNATURE_END)) for one in names]
        number = max((p.sequence for p in parsed if p and p.source in context.full_names), default=0)
        machines = own_machines(context)
        copies = copies_in(names, context.plan.name, machines)
        shown = [one for one, p in zip(names, parsed, strict=True) if p and p.sequence == number]
        ours = number <= last_number(context.journal) or not _signed_elsewhere(target, shown, machines)
        return Seen(name, number, tuple(copy.head for copy in copies), ours)
    return None


def _signed_elsewhere(target: Target, names: Iterable[str], machines: frozenset[str]) -> bool:
    """Whether another machine's manifest is among the objects of those names."""
    for name in names:
        parsed = parse_name(name.rpartition("/")[2])
        if parsed and parsed.kind == "manifest":
            with suppress(TargetError, ManifestError), target.open(name) as stream:
                return read_manifest(stream.read(MAX_BYTES + 1)).machine not in machines
    return False


def _note_heads(context: PlanContext, target: str, heads: Iterable[Head]) -> bool:
    """Enter the furthest of those heads that this journal doesn't have; whether there is any.

    What is no further than where someone settled it, by accepting or recovering, is left out.
    """
    settled = context.journal.entries(Kind.JOURNAL_ACCEPTED, Kind.RECOVERED)
    through = max((entry.facts["length"] for entry in settled), default=0)
    unknown = [head for head in heads if head.length > through and not context.journal.knows(head)]
    if not unknown:
        return False
    furthest, own = max(unknown), context.journal.head().length
    knows = "a longer journal than this machine has" if furthest.length > own else "another journal than ours"
    detail = (
        f"{target} knows {knows} (entry {furthest.length} there, {own} here): the memory of this machine is "
        "old, or another machine writes there"
    )
    _note(context, target, detail, Head(furthest.length, furthest.sha256[:16]))
    return True


def _note(context: PlanContext, target: str, detail: str, head: Head) -> None:
    told = {(entry.facts["target"], entry.facts["sha256"]) for entry in context.journal.entries(Kind.DOUBT)}
    if (target, head.sha256) not in told:
        context.journal.append(
            Kind.DOUBT, target=target, detail=detail, length=head.length, sha256=head.sha256
        )


def own_machines(context: PlanContext) -> frozenset[str]:
    """Public keys of this machine and of those whose journal was brought here."""
    return frozenset({context.journal.machine, *context.journal.machines()})
