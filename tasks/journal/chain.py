"""Whether lines follow one another as they were written; what is wrong with them, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.journal.lines import UNREADABLE, Line


def chain_defects(lines: Sequence[Line], refused: Mapping[int, str]) -> list[str]:
    """What is wrong with the lines of a journal, in their order; empty where nothing is.

    ``refused`` says, by index, which lines are not believed, as lines.py `line_defect` words it.
    """
    return [*_unreadable(refused), *_links(lines, refused)]


def _unreadable(refused: Mapping[int, str]) -> Iterator[str]:
    """Runs of lines that are no entries: one sentence each, however many lines an editor spoiled."""
    bad = sorted(at + 1 for at, why in refused.items() if why == UNREADABLE)
    first = 0
    for index, at in enumerate(bad):
        if index + 1 == len(bad) or bad[index + 1] != at + 1:
            start = bad[first]
            what = f"line {at} is" if start == at else f"lines {start} to {at} are"
            yield f"{what} no entry: what stood there cannot be read"
            first = index + 1


def _links(lines: Sequence[Line], refused: Mapping[int, str]) -> Iterator[str]:
    seen: set[str] = set()
    before: Line | None = None
    for index, line in enumerate(lines):
        why = refused.get(index)
        if why != UNREADABLE:
            if why:
                yield f"entry {line.number} (line {index + 1}) {why}"
            if wrong := _out_of_place(line, before, line.sha256 in seen):
                yield f"entry {line.number} (line {index + 1}) {wrong}"
        seen.add(line.sha256)
        before = line


def _out_of_place(line: Line, before: Line | None, again: bool) -> str:
    """Why a line is not the one that followed the line ``before``, "" if it is."""
    if again:
        return "stands there a second time: it was put in again"
    if before is None:
        return "" if not line.previous else "is the first one left: the beginning of the journal is missing"
    if line.previous == before.sha256:
        return ""
    if not before.parts or line.number == before.number + 1:
        return "does not follow the line before it: that line was changed or put there"
    if line.number <= before.number:
        return f"stands behind entry {before.number}: lines were put in another order, or put in"
    return f"follows entry {before.number}: the entries between them are missing"
