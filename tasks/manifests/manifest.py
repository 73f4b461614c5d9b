"""Object names on a target, and the JSON of manifests and certificates.

::

    clinic-20261123T020000Z-000417.tar.zst.age                     sealed archive
    clinic-20261123T020000Z-000417.manifest.json                   its manifest
    clinic-20261123T020000Z-000417.manifest.json.sig               the manifest's signature for ssh-keygen
    clinic-20261123T020000Z-000417.drill-20261129T060000Z.json     a drill certificate
    clinic-20261123T020000Z-000417.r1.tar.zst.age                  the same backup, sealed anew

Reading is strict because a manifest decides what is deleted and what is restored, and anyone who can
write to a target can put one there.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

from pydantic import ValidationError as InvalidRecord

from tasks.errors import ManifestError
from tasks.manifests.signing import json_ready
from tasks.options import Json
from tasks.records import Certificate, Manifest

SEALED_SUFFIX = ".tar.zst.age"
MANIFEST_SUFFIX = ".manifest.json"
SIGNATURE_SUFFIX = ".manifest.json.sig"
MAX_BYTES = 16 << 20

_SOURCE = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TIME = r"[0-9]{8}T[0-9]{6}Z"
_STEM = re.compile(rf"{_SOURCE}-{_TIME}-[0-9]{{6,18}}(?:\.r[1-9][0-9]{{0,3}})?")
_NAME = re.compile(
    rf"(?P<stem>(?P<source>{_SOURCE})-(?P<taken>{_TIME})-(?P<sequence>[0-9]{{6,18}})(?:\.r(?P<anew>[1-9][0-9]{{0,3}}))?)"
    rf"(?:(?P<sealed>\.tar\.zst\.age)|(?P<manifest>\.manifest\.json)|\.drill-(?P<drilled>{_TIME})\.json)"
)
_DAMAGED = "It is damaged or was altered: use another backup or another target."

NameKind = Literal["sealed", "manifest", "certificate"]
Kept = TypeVar("Kept", Manifest, Certificate)


class NameParts(NamedTuple):
    """What an object's name says. ``taken`` is in UTC; ``drilled`` is set for certificates only.

    ``anew`` counts how often the backup was sealed for other holders after it was taken.
    """

    stem: str
    source: str
    taken: datetime
    sequence: int
    kind: NameKind
    drilled: datetime | None = None
    anew: int = 0


def stem(source: str, taken: datetime, sequence: int) -> str:
    """The part that the names of a backup's objects share.

    Raises ValueError for a source that cannot stand in a file name everywhere (letters, digits,
    dot, hyphen and underscore can), a time without zone, or a sequence number below 0.
    """
    if not re.fullmatch(_SOURCE, source):
        raise ValueError(f"{_quoted(source)} is not a source name")
    if sequence < 0:
        raise ValueError(f"{sequence} is not a sequence number")
    return f"{source}-{_time_text(taken)}-{sequence:06d}"


def sealed_name(stem_text: str) -> str:
    """Name of the sealed archive."""
    return stem_text + SEALED_SUFFIX


def manifest_name(stem_text: str) -> str:
    """Name of the manifest."""
    return stem_text + MANIFEST_SUFFIX


def anew_name(sealed: str) -> str:
    """Name of the sealed archive ``sealed`` once it is sealed anew; raises ValueError for a foreign name."""
    parts = parse_name(sealed)
    if parts is None or parts.kind != "sealed":
        raise ValueError(f"{_quoted(sealed)} is not the name of a sealed archive")
    return sealed_name(f"{_first_stem(parts)}.r{parts.anew + 1}")


def _first_stem(parts: NameParts) -> str:
    return parts.stem.removesuffix(f".r{parts.anew}")


def certificate_name(archive: str, drilled: datetime) -> str:
    """Name of the certificate of a drill, begun at ``drilled``, of the sealed archive named ``archive``."""
    return f"{archive.removesuffix(SEALED_SUFFIX)}.drill-{_time_text(drilled)}.json"


@lru_cache(maxsize=16384)
def parse_name(name: str) -> NameParts | None:
    """Parts of an object's name (without its slot's folder), None for any name that is not ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    sequence = int(match["sequence"])
    taken = _parse_time(match["taken"])
    drilled = _parse_time(match["drilled"]) if match["drilled"] else None
    if taken is None or f"{sequence:06d}" != match["sequence"] or (match["drilled"] and drilled is None):
        return None
    kind: NameKind = "sealed" if match["sealed"] else "manifest" if match["manifest"] else "certificate"
    return NameParts(match["stem"], match["source"], taken, sequence, kind, drilled, int(match["anew"] or 0))


def begun_name(name: str) -> NameParts | None:
    """The same of a name that people changed around its stem (``… (1).tar.zst.age``, ``Copy of …``)."""
    match = _STEM.search(name)
    return parse_name(sealed_name(match[0])) if match else None


def to_json(record: Manifest | Certificate) -> bytes:
    """A record as it lies on a target: indented, fields in their order, UTF-8, one final newline."""
    text = json.dumps(record.model_dump(), default=json_ready, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest; nothing is said of its signature.

    Raises ManifestError: over 16 MiB, empty, not JSON, a key twice, a newer format, an unknown or missing
    field, a time without zone, or a ``sealed_name`` other than source, time and number give.
    """
    record = _read(data, Manifest, ("taken", "sealed_at"))
    try:
        expected = sealed_name(stem(record.source, record.taken, record.sequence))
    except ValueError as error:
        raise _unreadable(Manifest, str(error)) from error
    parts = parse_name(record.sealed_name)
    if parts is None or parts.kind != "sealed" or sealed_name(_first_stem(parts)) != expected:
        named = _quoted(record.sealed_name)
        raise _unreadable(Manifest, f"it names {named} where source, time and number give {expected}")
    return record


def read_certificate(data: bytes) -> Certificate:
    """Read a drill certificate; nothing is said of its signature. Raises ManifestError as `read_manifest`."""
    record = _read(data, Certificate, ("drilled",))
    parts = parse_name(record.sealed_name)
    stated = ("sealed", record.source, record.sequence)
    if parts is None or (parts.kind, parts.source, parts.sequence) != stated:
        named = _quoted(record.sealed_name)
        raise _unreadable(Certificate, f"{named} is not backup {record.sequence} of {_quoted(record.source)}")
    if not 0 <= record.seconds < math.inf:
        raise _unreadable(Certificate, "its recovery time is not a number of seconds")
    return record


def _read(data: bytes, model: type[Kept], times: tuple[str, ...]) -> Kept:
    if len(data) > MAX_BYTES:
        raise _unreadable(model, f"it is over {MAX_BYTES >> 20} MiB")
    # Editors of Windows put it there when they save; it is no part of what is signed.
    data = data.removeprefix(BOM_UTF8)
    if not data:
        raise _unreadable(model, "it is empty")
    try:
        document = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise _unreadable(model, "it is nested too deep") from error
    except ValueError as error:
        raise _unreadable(model, str(error) if isinstance(error, _Refused) else "it is not JSON") from error
    _check_format(document, model)
    try:
        record = model.model_validate_json(data, strict=True)
    except InvalidRecord as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = _quoted(".".join(str(part) for part in first["loc"]))
        raise _unreadable(model, f"{where}: {first['msg']}") from error
    for field in times:
        _check_time(model, field, document[field], getattr(record, field))
    return record


def _unreadable(model: type[Kept], cause: str) -> ManifestError:
    return ManifestError(f"cannot read the {model.__name__.lower()}: {cause}", hint=_DAMAGED)


def _check_format(document: object, model: type[Kept]) -> None:
    number = document.get("format") if isinstance(document, dict) else None
    if type(number) is not int or number < 1:
        raise _unreadable(model, "it states no format version")
    if number > 1:
        raise ManifestError(
            f"cannot read the {model.__name__.lower()}: written by a newer version (format {number})",
            hint="Update Datasave on this machine, or open the archive by hand as RECOVER.md says.",
        )


def _check_time(model: type[Kept], field: str, text: object, time: datetime) -> None:
    # Pydantic also takes "1700000000" for a time, and a time without zone. Only what we write is read.
    try:
        canonical = json_ready(time)
    except (ValueError, OverflowError):
        canonical = ""
    if text != canonical:
        raise _unreadable(model, f"{field} is not a UTC time ending in Z")


class _Refused(ValueError):
    """JSON of a kind that is not read; its text is ours."""


def _unique(pairs: list[tuple[str, object]]) -> Json:
    # Two readers may each believe another one of two equal keys; then the signature proves nothing.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a key stands there twice")
    return found


def _no_constant(text: str) -> object:
    raise _Refused(f"{text} is not a number")


def _quoted(text: str) -> str:
    # The text is a stranger's: short, and without control characters, before it meets a terminal.
    return ascii(text[:100])


def _time_text(time: datetime) -> str:
    if time.utcoffset() is None:
        raise ValueError("a name needs a time with a zone")
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return text.replace("-", "").replace(":", "") + "Z"


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
