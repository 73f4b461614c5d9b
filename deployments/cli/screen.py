"""What a person sees in the terminal: progress, tables, one clear last line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from deployments.serving.terminal import Terminal
from tasks.errors import DatasaveError
from tasks.keys.machines import words_of
from tasks.manifests.shelf import elsewhere_text
from tasks.notices.pages import Tone
from tasks.notices.wording import count_text, size_text, when_text
from tasks.records import BackupEntry, Finding

# Enough of a machine's words to tell machines apart.
SIGNER_SHOWN = 3
_MARKS: dict[Tone, tuple[str, str]] = {
    "good": ("✓", "green"),
    "warn": ("!", "yellow"),
    "bad": ("✗", "red"),
    "quiet": ("–", "default"),
}

out = Terminal()
err = Terminal(stderr=True)


def say(text: str) -> None:
    """A line for the user, on standard output."""
    out.print(escape(text), soft_wrap=True)


def verbatim(text: str) -> None:
    """Lines to be copied or piped into another program, as they are."""
    out.print(text, soft_wrap=True, markup=False)


def good(text: str) -> None:
    """The last line of a command that did all it should."""
    verdict("good", text)


def verdict(tone: Tone, text: str) -> None:
    """How something stands, where saying so is what the command is for: on standard output in each case."""
    mark, colour = _MARKS[tone]
    out.print(f"[{colour}]{mark}[/{colour}] {escape(text)}", soft_wrap=True)


def bad(error: DatasaveError | str) -> None:
    """The one clear line of a failure, and below it what to do."""
    message = error.message if isinstance(error, DatasaveError) else error
    err.print(f"[red]✗[/red] {escape(_one_block(message))}", soft_wrap=True)
    if isinstance(error, DatasaveError) and error.hint:
        err.print(f"  → {escape(_one_block(error.hint))}", soft_wrap=True)


def warning(text: str) -> None:
    """What a person should know before going on; the command goes on."""
    err.print(f"[yellow]![/yellow] {escape(_one_block(text))}", soft_wrap=True)


def _one_block(text: str) -> str:
    """Foreign text in a message cannot begin a line that would pass for one of ours."""
    return text.rstrip("\n").replace("\n", "\n    ")


def path_line(label: str, path: Path) -> None:
    """A path on a line of its own, never wrapped, so that it can be copied."""
    out.print(f"{label} {escape(str(path))}", soft_wrap=True)


def table(
    title: str,
    columns: Sequence[str],
    *,
    right: Collection[str] = (),
    fold: bool = False,
    header: bool = True,
) -> Table:
    """An empty table; ``right`` names the columns of numbers, ``fold`` breaks long cells into lines."""
    made = Table(title=escape(title), title_justify="left", show_edge=False, show_header=header)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold" if fold else "ellipsis",
        )
    return made


class Steps:
    """A bar for each step under way; also a listener for ``tasks.steps.progress.watched_by``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        if step not in self._bars:
            self._bars[step] = self._progress.add_task(step, total=None)
        self._progress.update(self._bars[step], completed=done, total=total or None)


@contextmanager
def steps() -> Iterator[Steps]:
    """Show the progress of long steps while the block runs; on a terminal only."""
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        yield Steps(progress)


def findings_table(title: str, findings: Sequence[Finding]) -> None:
    """Findings with a word for each outcome."""
    shown = table(title, ("", "check", "what was found"), fold=True)
    for finding in findings:
        mark = "[green]ok[/green]" if finding.passed else "[red]FAILED[/red]"
        mark = "[yellow]not checked[/yellow]" if finding.unchecked else mark
        check = f"{finding.check}: {finding.table}" if finding.table else finding.check
        shown.add_row(mark, escape(check), escape(finding.detail))
    out.print(shown)


def shelf_table(target: str, shelf: Sequence[BackupEntry], held: Mapping[int, str] | None = None) -> None:
    """The backups on one target, newest first. A delivery that was cut off is not a backup.

    ``held``: by number, that it is held and why.
    """
    here = [backup for backup in shelf if not backup.elsewhere]
    backups = [backup for backup in here if not backup.unfinished]
    if backups:
        _backup_table(target, backups)
        _say_held(backups, held or {})
    else:
        say(f"{target}: no backups")
    if told := elsewhere_text(shelf):
        say(f"{target}: {told}")
    if len(backups) < len(here):
        count = count_text(len(here) - len(backups), "delivery was", "deliveries were")
        say(f"{target}: {count} cut off; `datasave prune --unfinished` shows and clears that")


def _say_held(shelf: Sequence[BackupEntry], held: Mapping[int, str]) -> None:
    numbers = {backup.manifest.sequence for backup in shelf if backup.manifest}
    for number in sorted(numbers & held.keys()):
        say(f"#{number} is {held[number]}")


def _backup_table(target: str, shelf: Sequence[BackupEntry]) -> None:
    columns = ("number", "slot", "taken", "size", "drills", "state")
    shown = table(target, columns, right=("number", "size", "drills"))
    for backup in reversed(shelf):
        manifest = backup.manifest
        shown.add_row(
            f"#{manifest.sequence}" if manifest else "?",
            backup.slot or "–",
            when_text(manifest.taken) if manifest else escape(backup.name),
            size_text(backup.bytes),
            str(len(backup.certificates)),
            _state(backup),
        )
    out.print(shown)


def _state(backup: BackupEntry) -> str:
    if not backup.verified:
        return f"[red]{escape(backup.defect)}[/red]"
    if backup.marks:
        return f"[yellow]verified, but marked: {escape(', '.join(backup.marks))}[/yellow]"
    if backup.unchecked:
        return f"[yellow]verified, but not checked: {escape(', '.join(backup.unchecked))}[/yellow]"
    return "[green]verified[/green]"


def rescue_table(title: str, shelf: Sequence[BackupEntry], opened: Collection[str]) -> None:
    """What lies in a place on a bare machine, newest first; ``opened`` are those that the given keys open."""
    columns = ("number", "taken", "size", "data", "your key", "signed by", "state")
    shown = table(title, columns, right=("number", "size", "data"))
    for backup in reversed(shelf):
        manifest = backup.manifest
        shown.add_row(
            f"#{manifest.sequence}" if manifest else "?",
            when_text(manifest.taken) if manifest else escape(backup.name),
            size_text(backup.bytes),
            size_text(manifest.copy_bytes) if manifest else "?",
            "opens it" if backup.full_name in opened else "–",
            escape("-".join(words_of(manifest.machine).split("-")[:SIGNER_SHOWN])) + "…" if manifest else "?",
            _state(backup),
        )
    out.print(shown)
