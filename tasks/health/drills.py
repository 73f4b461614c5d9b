"""What drills proved: their certificates, on the targets and kept on this machine; and what is due next.

A certificate lies beside the backup that it is about and goes with it. So each one seen is kept in the
journal as well, as it is: signed, and verified each time it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tasks.age.keys import Identity
from tasks.calendars import date_text
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ManifestError, NoBackup, TargetError, TargetMissing
from tasks.journal.kinds import Kind
from tasks.keys.identities import drill_identities, recipients_of
from tasks.manifests.manifest import MAX_BYTES, certificate_name, parse_name, read_certificate, to_json
from tasks.manifests.signing import signature_defect
from tasks.notices.drills_page import DrillBook, DrillLine, drills_html, outcome_of
from tasks.notices.wording import clock_text, duration_text, when_text
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.policy.drill_turns import NEVER, DrillTarget, Pair, Proof, next_pair, proved
from tasks.records import Certificate
from tasks.targets.base import Target


class Seen(NamedTuple):
    """The drills that count whose certificates lie on a target, oldest first; whether it holds any backup."""

    certificates: tuple[Certificate, ...]
    holds: bool


class Drilled(NamedTuple):
    """Every drill that counts, oldest first; the targets as drills see them; why some are away."""

    certificates: tuple[Certificate, ...]
    places: tuple[DrillTarget, ...]
    away: dict[str, str]


def keep(context: PlanContext, certificate: Certificate) -> None:
    """Keep a certificate on this machine. Raises StateError."""
    name = certificate_name(certificate.sealed_name, certificate.drilled)
    text = to_json(certificate).decode()
    context.journal.append(Kind.DRILL, target=certificate.target, name=name, certificate=text)


def kept(context: PlanContext) -> tuple[Certificate, ...]:
    """The certificates kept here that are signed by a trusted machine, oldest first."""
    found = map(_read, _texts(context).values())
    return _counting(context, [certificate for certificate in found if certificate])


def _texts(context: PlanContext) -> dict[tuple[str, str], bytes]:
    """The certificates kept here as they lie on their targets, by target and name."""
    found = (entry.facts for entry in context.journal.entries(Kind.DRILL))
    return {(facts["target"], facts["name"]): facts["certificate"].encode() for facts in found}


def gather(context: PlanContext, names: Sequence[str] = ()) -> Drilled:
    """Look at the targets (all where none is named) and keep what certificates they show."""
    away: dict[str, str] = {}
    places = []
    for entry in context.plan.targets:
        if names and entry.name not in names:
            continue
        cold = False
        try:
            with context.target(entry.name) as target:
                cold = bool(target.properties.thaw_seconds)
                holds = look(context, target).holds
            if not holds:
                away[entry.name] = f"{entry.name} holds no backup yet"
        except DatasaveError as error:
            away[entry.name] = error.message
        places.append(DrillTarget(entry.name, cold, entry.name in away))
    return Drilled(kept(context), tuple(places), away)


def proofs_of(certificates: Sequence[Certificate]) -> tuple[Proof, ...]:
    """Certificates as the policy wants them."""
    return tuple(Proof(c.target, c.holder, c.drilled, c.passed, c.seconds, c.in_time) for c in certificates)


def holders_at_hand(context: PlanContext, identities: Sequence[Identity] = ()) -> tuple[str, ...]:
    """Whose keys drills have: those of ``identities``, else those that the plan names."""
    drill = context.plan.drill
    if drill.identities and not identities:
        return tuple(drill.identities)
    mine = recipients_of(identities or drill_identities(context))
    return tuple(holder.name for holder in context.plan.holders if holder.recipient in mine)


def next_drill(context: PlanContext, target: str | None, identities: Sequence[Identity] = ()) -> Pair | None:
    """What to drill next, of one target where it or the plan names one; None where nothing is due.

    Raises NoBackup where no target can be drilled now.
    """
    only = target or context.plan.drill.target
    if only and identities:
        return Pair(context.entry(only).name, "")
    holders = holders_at_hand(context, identities) or ("",)
    drilled = gather(context, [context.entry(only).name] if only else ())
    if only:
        # The user asked for it: what is wrong there is for the drill itself to tell, and cold is no reason.
        drilled = drilled._replace(places=(DrillTarget(only),))
    elif all(place.away for place in drilled.places):
        raise NoBackup(
            "no target can be drilled now: " + "; ".join(drilled.away.values()),
            hint="Make a backup first, or plug in a drive that holds one.",
        )
    proofs = proofs_of(drilled.certificates)
    return next_pair(drilled.places, holders, proofs, datetime.now(UTC), context.plan.drill.cold_days)


def look(context: PlanContext, target: Target) -> Seen:
    """Read the certificates on a target, and keep those that are new here. Raises TargetError, StateError."""
    found, holds, known = [], False, _texts(context)
    for name in [stat.name for stat in target.list()]:
        parsed = parse_name(name.rpartition("/")[2])
        if parsed is None or parsed.source not in context.full_names:
            continue
        holds = holds or parsed.kind == "manifest"
        if parsed.kind == "certificate":
            # Each one is fetched once, for it never changes.
            text = known.get((target.name, name.rpartition("/")[2]))
            found.append((_read(text) if text else None) or _fetched(context, target, name))
    return Seen(_counting(context, [certificate for certificate in found if certificate]), holds)


def drillbook(
    context: PlanContext, places: Sequence[DrillTarget] = (), now: datetime | None = None
) -> DrillBook:
    """The history as kept on this machine; ``places`` say which targets are cold."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    certificates = kept(context)
    drill = context.plan.drill
    cold = {place.target for place in places if place.cold}
    days = {e.name: drill.cold_days if e.name in cold else drill.within_days for e in context.plan.targets}
    holders = {holder.name: drill.within_days for holder in context.plan.holders}

    def line(target: str, holder: str, limit: int = 0) -> DrillLine:
        mine = [c for c in certificates if target in ("", c.target) and holder in ("", c.holder)]
        return _line(context, (target, holder), mine, at, limit)

    hours = drill.objective_hours
    return DrillBook(
        office=context.plan.name,
        at=when_text(at, context.timezone),
        objective=duration_text(hours * 3600) if hours else "",
        pairs=tuple(line(target, holder) for target in days for holder in holders),
        covered=(
            *(line(name, "", limit) for name, limit in days.items()),
            *(line("", name, limit) for name, limit in holders.items()),
        ),
        certificates=certificates,
    )


def write_drills(context: PlanContext, places: Sequence[DrillTarget] = ()) -> Path:
    """Write the page into the reports folder. Raises StateError."""
    path = private_folder(context.reports) / f"{context.plan.name}-drills.html"
    with kept_in_state(f"write {path}"):
        write_atomic(path, drills_html(drillbook(context, places), context.timezone).encode("utf-8"))
    return path


def _fetched(context: PlanContext, target: Target, name: str) -> Certificate | None:
    """A certificate off its target, kept where it counts. One that cannot be read is passed over.

    It may be frozen, and the audit says what is wrong with the backup itself.
    """
    try:
        with target.open(name) as stream:
            certificate = _read(stream.read(MAX_BYTES + 1))
    except TargetMissing:
        raise  # the medium itself is gone
    except TargetError:
        return None
    # One of another target was brought here with a copied folder: this target was not drilled.
    if certificate is None or certificate.target != target.name:
        return None
    if signature_defect(certificate, context.trusted()):
        return None
    keep(context, certificate)
    return certificate


def _read(data: bytes) -> Certificate | None:
    try:
        return read_certificate(data)
    except ManifestError:
        return None  # a stranger's, or damaged: it proves nothing


def _counting(context: PlanContext, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    trusted = context.trusted()
    mine = (c for c in certificates if c.source in context.full_names and not signature_defect(c, trusted))
    return tuple(sorted(mine, key=lambda certificate: certificate.drilled))


def _line(
    context: PlanContext, what: tuple[str, str], mine: Sequence[Certificate], at: datetime, limit: int
) -> DrillLine:
    """One line; with a ``limit`` in days it is due by then, without one it is only told."""
    last = mine[-1] if mine else None
    word, tone = outcome_of(last) if last else ("Never", "quiet")
    due = "–"
    if limit:
        good = proved(proofs_of(mine))
        deadline = good + timedelta(days=limit) if good != NEVER else at
        late = deadline <= at
        due = "now" if late else date_text(deadline.astimezone(context.timezone).date())
        if late:
            word, tone = ("Overdue" if last and last.passed else word), "bad"
        elif last and last.passed:
            # A slow drill is a proof; that it was slow stands in the pair's own line.
            tone = "warn" if last.unchecked else "good"
    return DrillLine(
        target=what[0],
        holder=what[1],
        word=word,
        tone=tone,
        last=clock_text(last.drilled, context.timezone) if last else "never",
        took=duration_text(last.seconds) if last else "",
        due=due,
    )
