"""Definitions as pg_dump writes them, a hash for each entry: what a dump says against what its source said.

The same text is written twice for one snapshot: at the source by pg_dump, and by pg_restore out of the dump
that was made of it. So all that it knows is compared, whatever kind of object that is, letter by letter.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_ENTRY = re.compile(rb"-- (?:Data for )?Name: (.*); Type: (.*?); Schema: (.*?); Owner: (.*)")
# Differs from run to run, or stands where it does for the sake of a neighbour.
_NOISE = re.compile(
    rb"--$|-- Dumped |-- (?:Started|Completed) on |-- PostgreSQL database dump|\\(?:un)?restrict |$"
)
_STATE = re.compile(rb"SET (default_tablespace|default_table_access_method) = ")
# Data, of which a text without data may still have the commands.
_DATA = frozenset({b"MATERIALIZED VIEW DATA", b"STATISTICS DATA", b"SEQUENCE SET", b"BLOBS", b"TABLE DATA"})

OPTIONS = ("--schema-only", "--create", "--clean", "--no-subscriptions")
"""Of pg_dump and pg_restore alike, so that they write the same."""


def entry_hashes(script: Path) -> dict[str, str]:
    """A hash for each entry of a script, by what it is about: ``TABLE public.visits``."""
    hashers: dict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    for name, line in _lines(script):
        hashers[name].update(line)
    return {name: hasher.hexdigest()[:16] for name, hasher in sorted(hashers.items())}


def differing(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """The entries that are missing, new, or of other words."""
    return [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]


def _lines(script: Path) -> Iterator[tuple[str, bytes]]:
    entry, kind = "the beginning", b""
    state: dict[bytes, bytes] = {}
    with script.open("rb") as stream:
        for line in stream:
            heading = _ENTRY.match(line)
            setting = _STATE.match(line)
            if heading:
                name, kind, schema, _ = heading.groups()
                entry = b" ".join((kind, schema + b"." + name)).decode("utf-8", "replace")
                yield from ((entry, one) for one in state.values() if kind not in _DATA)
            if setting:
                state[setting[1]] = line
            elif kind not in _DATA and not _NOISE.match(line):
                yield entry, line
