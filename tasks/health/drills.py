"""What drills proved: their certificates, on the targets and kept on this machine; and whose turn is next.

A certificate lies beside the backup that it is about and goes with it. So each one seen is kept in the state
folder as well, as it is: signed, and verified each time it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tasks.age.keys import Identity
from tasks.context import Office
from tasks.errors import DatasaveError, ManifestError, NoBackup, TargetError, TargetMissing
from tasks.keys.identities import recipients_of
from tasks.manifests.manifest import MAX_BYTES, certificate_name, parse_name, read_certificate, to_json
from tasks.manifests.signing import signature_trouble
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


def keep(office: Office, certificate: Certificate) -> None:
    """Keep a certificate on this machine. Raises StateError."""
    folder = private_folder(office.state / FOLDER / certificate.target)
    path = folder / certificate_name(certificate.sealed_name, certificate.drilled)
    with kept_in_state(f"keep the certificate of a drill {path}"):
        write_atomic(path, to_json(certificate))


def kept(office: Office) -> tuple[Certificate, ...]:
    """The certificates kept here that are signed by a trusted machine, oldest first."""
    found = [_read(path.read_bytes()) for path in sorted((office.state / FOLDER).glob("*/*.json"))]
    return _counting(office, [certificate for certificate in found if certificate])


def gather(office: Office, names: Sequence[str] = ()) -> Drilled:
    """Look at the targets (all where none is named) and keep what certificates they show."""
    away: dict[str, str] = {}
    places = []
    for entry in office.plan.targets:
        if names and entry.name not in names:
            continue
        cold = False
        try:
            with office.target(entry.name) as target:
                cold = bool(target.properties.thaw_seconds)
                holds = look(office, target).holds
            if not holds:
                away[entry.name] = f"{entry.name} holds no backup yet"
        except DatasaveError as error:
            away[entry.name] = error.message
        places.append(Place(entry.name, cold, entry.name in away))
    return Drilled(kept(office), tuple(places), away)


def proofs_of(certificates: Sequence[Certificate]) -> tuple[Proof, ...]:
    """Certificates as the policy wants them."""
    return tuple(Proof(c.target, c.holder, c.drilled, c.passed, c.seconds, c.in_time) for c in certificates)


def holders_at_hand(office: Office, identities: Sequence[Identity] = ()) -> tuple[str, ...]:
    """Whose keys drills have: those of ``identities``, else those that the plan names."""
    drill = office.plan.drill
    if drill.identities and not identities:
        return tuple(drill.identities)
    mine = recipients_of(identities or office.drill_identities())
    return tuple(holder.name for holder in office.plan.holders if holder.recipient in mine)


def next_drill(office: Office, target: str | None, identities: Sequence[Identity] = ()) -> Pair | None:
    """What to drill next, of one target where it or the plan names one; None where nothing is due.

    Raises NoBackup where no target can be drilled now.
    """
    only = target or office.plan.drill.target
    if only and identities:
        return Pair(office.entry(only).name, "")
    holders = holders_at_hand(office, identities) or ("",)
    drilled = gather(office, [office.entry(only).name] if only else ())
    if only:
        # On the user's word: what is wrong there is for the drill itself to tell, and cold is no reason.
        drilled = drilled._replace(places=(Place(only),))
    elif all(place.away for place in drilled.places):
        raise NoBackup(
            "no target can be drilled now: " + "; ".join(drilled.away.values()),
            hint="Make a backup first, or plug in a drive that holds one.",
        )
    proofs = proofs_of(drilled.certificates)
    return next_pair(drilled.places, holders, proofs, datetime.now(UTC), office.plan.drill.cold_days)


def look(office: Office, target: Target) -> Seen:
    """Read the certificates on a target, and keep those that are new here. Raises TargetError, StateError."""
    found, holds = [], False
    for name in [stat.name for stat in target.list()]:
        parts = parse_name(name.rpartition("/")[2])
        if parts is None or parts.source not in office.source_names:
            continue
        holds = holds or parts.kind == "manifest"
        if parts.kind == "certificate":
            found.append(_known(office, target, name) or _fetched(office, target, name))
    return Seen(_counting(office, [certificate for certificate in found if certificate]), holds)


def _known(office: Office, target: Target, name: str) -> Certificate | None:
    """A certificate that is kept here already: each one is fetched once, for it never changes."""
    path = office.state / FOLDER / target.name / name.rpartition("/")[2]
    return _read(path.read_bytes()) if path.exists() else None


def _fetched(office: Office, target: Target, name: str) -> Certificate | None:
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
    if signature_trouble(certificate, office.trusted()):
        return None
    keep(office, certificate)
    return certificate


def _read(data: bytes) -> Certificate | None:
    try:
        return read_certificate(data)
    except ManifestError:
        return None  # a stranger's, or damaged: it proves nothing


def _counting(office: Office, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    trusted = office.trusted()
    mine = (c for c in certificates if c.source in office.source_names and not signature_trouble(c, trusted))
    return tuple(sorted(mine, key=lambda certificate: certificate.drilled))
