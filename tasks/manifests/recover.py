"""RECOVER.md: the page in each target's root that leads back to the data without this program.

It is written for whoever finds the medium years from now, so it names no path, address or secret of
the office: only what the source is called and who holds a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from types import MappingProxyType

from tasks.manifests.manifest import stem

EXAMPLE_TAKEN = datetime(2026, 11, 23, 2, tzinfo=UTC)
EXAMPLE_SEQUENCE = 417
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
ANY_ENGINE = (
    "The folder holds the files as the program that uses them knows them. Put a copy of them where that\n"
    "program expects its data, and start it. Whoever looks after that program knows the place."
)


def recover_text(
    source: str, kind: str, holders: Sequence[str], afterwards: Mapping[str, str] = NO_TEXTS
) -> str:
    """The page for a target that holds backups of ``source`` of engine ``kind``.

    ``holders`` are the names of those who have a key. ``afterwards`` says for each kind of engine, as
    Markdown, what to do with the restored files; a kind that isn't in it gets a general text. Raises
    ValueError without a holder: a page that names nobody to ask is of no use.
    """
    if not holders:
        raise ValueError("RECOVER.md needs the names of those who hold a key")
    template = files("tasks.manifests").joinpath("recover.md").read_text(encoding="utf-8")
    return template.format(
        source=source,
        kind=kind,
        holders="\n".join(f"- **{' '.join(name.split())}**" for name in holders),
        example=stem(source, EXAMPLE_TAKEN, EXAMPLE_SEQUENCE),
        afterwards=afterwards.get(kind, ANY_ENGINE).strip(),
    )
