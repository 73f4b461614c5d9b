"""RECOVER.md: the page in each target's root that leads back to the data without this program.

It is written for whoever finds the medium years from now, so it names no path, address or secret of
the office: only what the source is called and who holds a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import NamedTuple

from tasks.manifests.manifest import stem
from tasks.manifests.signing import SSH_NAME

EXAMPLE_TAKEN = datetime(2026, 11, 23, 2, tzinfo=UTC)
EXAMPLE_SEQUENCE = 417
SEVERAL = (
    "\nBackups of several sources lie here; their names begin alike, and those of one night bear the same\n"
    "number. Do steps 2 to 6 once for each source, each time in a folder of its own.\n"
)
ANY_ENGINE = (
    "The folder holds the files as the program that uses them knows them. Put a copy of them where that\n"
    "program expects its data, and start it. Whoever looks after that program knows the place."
)


class RestoreText(NamedTuple):
    """What is backed up of one source: its engine's kind, and as Markdown what to do with restored files."""

    kind: str
    afterwards: str = ANY_ENGINE


def recover_text(
    sources: Mapping[str, RestoreText], holders: Sequence[str], signers: Sequence[str] = ()
) -> str:
    """The page for a target that holds backups of these sources, by name, the main one first.

    ``holders`` are the names of those who have a key, ``signers`` the lines of an allowed-signers file for
    the machines that sign what lies there. Raises ValueError without a holder: a page that
    names nobody to ask is of no use.
    """
    if not holders:
        raise ValueError("RECOVER.md needs the names of those who hold a key")
    template = files("tasks.manifests").joinpath("recover.md").read_text(encoding="utf-8")
    return template.format(
        source="** and **".join(sources),
        title='" and "'.join(sources),
        kind=", ".join(dict.fromkeys(source.kind for source in sources.values())),
        several=SEVERAL if len(sources) > 1 else "",
        holders="\n".join(f"- **{' '.join(name.split())}**" for name in holders),
        name=SSH_NAME,
        signers="\n".join(f"    {line}" for line in signers),
        example=stem(next(iter(sources)), EXAMPLE_TAKEN, EXAMPLE_SEQUENCE),
        afterwards=_afterwards(sources),
    )


def _afterwards(sources: Mapping[str, RestoreText]) -> str:
    if len(sources) == 1:
        return next(iter(sources.values())).afterwards.strip()
    return "\n\n".join(f"### {name}\n\n{source.afterwards.strip()}" for name, source in sources.items())
