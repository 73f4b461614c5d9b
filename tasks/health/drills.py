"""What drills proved: their certificates, on the targets and kept on this machine; and whose turn is next.

A certificate lies beside the backup that it is about and goes with it. So each one seen is kept in the state
folder as well, as it is: signed, and verified each time it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tasks.age.keys import Identity
from tasks.context import PlanContext
from tasks.errors import DatasaveError, ManifestError, NoBackup, TargetError, TargetMissing
from tasks.keys.identities import recipients_of
from tasks.manifests.manifest import MAX_BYTES, certificate_name, parse_name, read_certificate, to_json
from tasks.manifests.signing import signature_defect
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.policy.drill_turns import Pair, Place, Proof, next_pair
from tasks.records import Certificate
from tasks.targets.base import Target

FOLDER = "drills"


class Seen(NamedTuple):
    """The drills that count whose certificates lie on a target, oldest first; whether it holds any backup."""

    certificates: tuple[Certificate, ...]
    holds: bool


class Drilled(NamedTuple):
    """Every drill that counts, oldest first; the targets as drills see them; why some are away."""

    certificates: tuple[Certificate, ...]
    places: tuple[Place, ...]
    away: dict[str, str]


def keep(context: PlanContext, certificate: Certificate) -> None:
    """Keep a certificate on this machine. Raises StateError."""
    folder = private_folder(context.state / FOLDER / certificate.target)
    path = folder / certificate_name(certificate.sealed_name, certificate.drilled)
    with kept_in_state(f"keep the certificate of a drill {path}"):
        write_atomic(path, to_json(certificate))


def kept(context: PlanContext) -> tuple[Certificate, ...]:
    """The certificates kept here that are signed by a trusted machine, oldest first."""
    found = [_read(path.read_bytes()) for path in sorted((context.state / FOLDER).glob("*/*.json"))]
    return _counting(context, [certificate for certificate in found if certificate])


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
        places.append(Place(entry.name, cold, entry.name in away))
    return Drilled(kept(context), tuple(places), away)


def proofs_of(certificates: Sequence[Certificate]) -> tuple[Proof, ...]:
    """Certificates as the policy wants them."""
    return tuple(Proof(c.target, c.holder, c.drilled, c.passed, c.seconds, c.in_time) for c in certificates)


def holders_at_hand(context: PlanContext, identities: Sequence[Identity] = ()) -> tuple[str, ...]:
    """Whose keys drills have: those of ``identities``, else those that the plan names."""
    drill = context.plan.drill
    if drill.identities and not identities:
        return tuple(drill.identities)
    mine = recipients_of(identities or context.drill_identities())
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
        # On the user's word: what is wrong there is for the drill itself to tell, and cold is no reason.
        drilled = drilled._replace(places=(Place(only),))
    elif all(place.away for place in drilled.places):
        raise NoBackup(
            "no target can be drilled now: " + "; ".join(drilled.away.values()),
            hint="Make a backup first, or plug in a drive that holds one.",
        )
    proofs = proofs_of(drilled.certificates)
    return next_pair(drilled.places, holders, proofs, datetime.now(UTC), context.plan.drill.cold_days)


def look(context: PlanContext, target: Target) -> Seen:
    """Read the certificates on a target, and keep those that are new here. Raises TargetError, StateError."""
    found, holds = [], False
    for name in [stat.name for stat in target.list()]:
        parsed = parse_name(name.rpartition("/")[2])
        if parsed is None or parsed.source not in context.full_names:
            continue
        holds = holds or parsed.kind == "manifest"
        if parsed.kind == "certificate":
            found.append(_known(context, target, name) or _fetched(context, target, name))
    return Seen(_counting(context, [certificate for certificate in found if certificate]), holds)


def _known(context: PlanContext, target: Target, name: str) -> Certificate | None:
    """A certificate that is kept here already: each one is fetched once, for it never changes."""
    path = context.state / FOLDER / target.name / name.rpartition("/")[2]
    return _read(path.read_bytes()) if path.exists() else None


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
