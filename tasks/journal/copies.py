"""Copies of the journal on targets, sealed for the holders: ``age -d`` and ``zstd -d`` open them.

::

    clinic-0f3c81d2-000812-5be3c1a09d7e44f2.journal.zst.age

is the journal of the plan ``clinic``, written by the machine whose public key hashes to ``0f3c81d2…``, up to
entry 812, whose line has the sha256 ``5be3c1a09d7e44f2…``. So a name alone tells a machine that has no key
whether a target knows a longer journal than it does. A copy is removed only by a journal that continues it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from threading import Lock
from typing import NamedTuple

import zstandard

from tasks.age.file import decrypting_reader, encrypt
from tasks.age.keys import Identity
from tasks.age.recipients import Recipient
from tasks.errors import ObjectMissing, ReadBackError, StateError, TargetError
from tasks.journal.journal import Head, Journal
from tasks.targets.base import Target
from tasks.targets.capabilities import verify

SUFFIX = ".journal.zst.age"
_NAME = re.compile(
    r"(?P<plan>[A-Za-z0-9][A-Za-z0-9._-]*)-(?P<machine>[0-9a-f]{8})-(?P<length>[0-9]{6,15})-(?P<head>[0-9a-f]{16})"
    + re.escape(SUFFIX)
)
_LEVEL = 10
_WINDOW = 8 << 20
# Six years of a large office are some 50 MB; a stranger's file must not fill the memory.
_LARGEST = 1 << 30


# Deliveries of several sources end side by side: a copy of the same name, sealed anew, would come between the
# writing of one and its reading back. A lock for each target: one that hangs keeps no other waiting.
_PUTTING: defaultdict[str, Lock] = defaultdict(Lock)


class Copy(NamedTuple):
    """A copy on a target: its name there, whose journal it is, and where that stood (sha256: 16 digits)."""

    name: str
    plan: str
    machine: str
    head: Head


def machine_id(public: str) -> str:
    """How the names of copies tell a machine, by its public key as manifests have it."""
    return hashlib.sha256(public.encode()).hexdigest()[:8]


def copies_in(names: Iterable[str], plan: str, machines: Iterable[str] | None = None) -> list[Copy]:
    """The copies of a plan's journal among a target's names, shortest first.

    With ``machines`` (public keys) only those that they wrote.
    """
    matches = [match for match in map(_NAME.fullmatch, names) if match and match["plan"] == plan]
    ids = None if machines is None else {machine_id(public) for public in machines}
    found = [
        Copy(match[0], plan, match["machine"], Head(int(match["length"]), match["head"]))
        for match in matches
        if ids is None or match["machine"] in ids
    ]
    return sorted(found, key=lambda copy: copy.head)


def put_copy(journal: Journal, target: Target, plan: str, recipients: Sequence[Recipient]) -> str:
    """Put a copy on a target, read it back, remove those that it continues; its name. Raises TargetError."""
    with _PUTTING[target.name]:
        return _put_copy(journal, target, plan, recipients)


def _put_copy(journal: Journal, target: Target, plan: str, recipients: Sequence[Recipient]) -> str:
    head, data = journal.text()
    name = f"{plan}-{machine_id(journal.machine)}-{head.length:06d}-{head.sha256[:16]}{SUFFIX}"
    sealed = BytesIO()
    encrypt(BytesIO(zstandard.compress(data, _LEVEL)), sealed, recipients)
    content = sealed.getvalue()
    target.put(name, BytesIO(content), len(content))
    try:
        same = verify(target, name, len(content), hashlib.sha256(content).hexdigest(), local=BytesIO(content))
    except ObjectMissing:
        return name  # a delivery beside this one has put a longer copy there meanwhile
    if not same:
        raise ReadBackError(f"the copy of the journal read back from {target.name} is not what was written")
    # A place that lets us only write keeps them all, a locked one each until its time.
    with suppress(TargetError):
        for copy in copies_in((stat.name for stat in target.list()), plan, [journal.machine]):
            if copy.name != name and journal.knows(copy.head):
                target.delete(copy.name)
    return name


def fetch_copy(target: Target, copy: Copy, identities: Sequence[Identity]) -> bytes:
    """The lines of a copy, not verified. Raises AgeError, TargetError, or StateError for what is no copy."""
    with target.open(copy.name) as stream:
        packed = decrypting_reader(stream, identities).read()
    try:
        unpack = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        return unpack.decompress(packed, max_output_size=_LARGEST)
    except zstandard.ZstdError as error:
        raise StateError(
            f"{copy.name} on {target.name} holds no journal: {error}", hint="Take the copy on another target."
        ) from error
