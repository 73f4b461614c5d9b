"""What a person sees in the terminal: progress, tables, one clear last line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from deployments.serving.fleet_status import Site
from tasks.backup.media import MediumLine
from tasks.errors import DatasaveError
from tasks.notices.wording import count_text, size_text, when_text
from tasks.policy.due_rules import day_text
from tasks.records import BackupEntry, Finding, Verdict

# Enough of a machine's public key to tell machines apart.
SIGNER_SHOWN = 16

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line for the user, on standard output."""
    out.print(escape(text), soft_wrap=True)


def good(text: str) -> None:
    """The last line of a command that did all it should."""
    out.print(f"[green]✓[/green] {escape(text)}", soft_wrap=True)


def bad(error: DatasaveError | str) -> None:
    """The one clear line of a failure, and below it what to do."""
    message = error.message if isinstance(error, DatasaveError) else error
    err.print(f"[red]✗[/red] {escape(message)}", soft_wrap=True)
    if isinstance(error, DatasaveError) and error.hint:
        err.print(f"  → {escape(error.hint)}", soft_wrap=True)


def warning(text: str) -> None:
    """What a person should know before going on; the command goes on."""
    err.print(f"[yellow]![/yellow] {escape(text)}", soft_wrap=True)


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
    table = Table(title=escape(title), title_justify="left", show_edge=False)
    for column in ("", "check", "what was found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.passed else "[red]FAILED[/red]"
        check = f"{finding.check}: {finding.table}" if finding.table else finding.check
        table.add_row(mark, escape(check), escape(finding.detail))
    out.print(table)


def shelf_table(target: str, shelf: Sequence[BackupEntry]) -> None:
    """The backups on one target, newest first. A delivery that was cut off is not a backup."""
    backups = [backup for backup in shelf if not backup.unfinished]
    if backups:
        _backup_table(target, backups)
    else:
        say(f"{target}: no backups")
    if len(backups) < len(shelf):
        count = count_text(len(shelf) - len(backups), "delivery was", "deliveries were")
        say(f"{target}: {count} cut off; `datasave prune --unfinished` shows and clears that")


def _backup_table(target: str, shelf: Sequence[BackupEntry]) -> None:
    table = Table(title=target, title_justify="left", show_edge=False)
    for column in ("number", "slot", "taken", "size", "drills", "state"):
        table.add_column(column, justify="right" if column in ("number", "size", "drills") else "left")
    for backup in reversed(shelf):
        manifest = backup.manifest
        table.add_row(
            f"#{manifest.sequence}" if manifest else "?",
            backup.slot or "–",
            when_text(manifest.taken) if manifest else escape(backup.name),
            size_text(backup.bytes),
            str(len(backup.certificates)),
            _state(backup),
        )
    out.print(table)


def _state(backup: BackupEntry) -> str:
    if not backup.verified:
        return f"[red]{escape(backup.defect)}[/red]"
    if backup.marks:
        return f"[yellow]verified, but marked: {escape(', '.join(backup.marks))}[/yellow]"
    return "[green]verified[/green]"


def rescue_table(title: str, shelf: Sequence[BackupEntry], opened: Collection[str]) -> None:
    """What lies in a place on a bare machine, newest first; ``opened`` are those that the given keys open."""
    table = Table(title=escape(title), title_justify="left", show_edge=False)
    for column in ("number", "taken", "size", "data", "your key", "signed by", "state"):
        table.add_column(column, justify="right" if column in ("number", "size", "data") else "left")
    for backup in reversed(shelf):
        manifest = backup.manifest
        table.add_row(
            f"#{manifest.sequence}" if manifest else "?",
            when_text(manifest.taken) if manifest else escape(backup.name),
            size_text(backup.bytes),
            size_text(manifest.copy_bytes) if manifest else "?",
            "opens it" if backup.full_name in opened else "–",
            escape(manifest.machine[:SIGNER_SHOWN]) + "…" if manifest else "?",
            _state(backup),
        )
    out.print(table)


def sites_table(sites: Sequence[Site]) -> None:
    """The offices of a fleet, and how their backups stand."""
    table = Table(title="offices", title_justify="left", show_edge=False)
    for column in ("office", "", "last good backup", "newest run", "next"):
        table.add_column(column)
    for site in sites:
        mark = "[red]late[/red]" if site.late else "[green]ok[/green]"
        when = when_text(site.last_good) if site.last_good else "never"
        coming = when_text(site.next) if site.next else "not scheduled"
        table.add_row(escape(site.name), mark, when, escape(site.newest), coming)
    out.print(table)


def media_table(lines: Sequence[MediumLine]) -> None:
    """All media of the calendar, and where each should be."""
    table = Table(title="media", title_justify="left", show_edge=False)
    for column in ("target", "label", "where", "last used", "backups", "next turn"):
        table.add_column(column, justify="right" if column == "backups" else "left")
    for line in lines:
        where = line.at or ("off premises" if line.away else "not plugged in")
        table.add_row(
            escape(line.target),
            escape(line.label),
            escape(where) if line.known else "[yellow]not made yet[/yellow]",
            day_text(line.used) if line.used else "never",
            str(line.held),
            day_text(line.due) if line.due else "–",
        )
    out.print(table)


def verdict_table(target: str, verdicts: Sequence[Verdict], note: str) -> None:
    """What retention would do at one target, and why."""
    table = Table(title=target, title_justify="left", show_edge=False)
    for column in ("", "backup", "why"):
        table.add_column(column, overflow="fold")
    for verdict in reversed(verdicts):
        mark = "keep" if verdict.kept else "[yellow]remove[/yellow]"
        slot = f"{verdict.backup.slot}/" if verdict.backup.slot else ""
        table.add_row(mark, escape(slot + verdict.backup.name), escape("; ".join(verdict.reasons)))
    out.print(table)
    if note:
        bad(note)


def path_line(label: str, path: Path) -> None:
    """A path on a line of its own, never wrapped, so that it can be copied."""
    out.print(f"{label} {escape(str(path))}", soft_wrap=True)
