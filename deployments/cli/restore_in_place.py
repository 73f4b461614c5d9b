"""Restore in place: the part of ``datasave restore`` that replaces the live data, and what takes it back."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.cli.options import InPlace
from deployments.cli.recovery import Wanted, caution, chosen, origin_in, recovered, thawed, title_of
from deployments.cli.screen import findings_table, good, path_line, say
from tasks.backup.workspace import exclusively
from tasks.context import PlanContext
from tasks.errors import PlanError, StateError
from tasks.records import Manifest
from tasks.recovery.in_place import replace
from tasks.recovery.in_place.record import RecordFile, refuse_unfinished
from tasks.recovery.in_place.replace import Replacement
from tasks.recovery.recover import open_backup
from tasks.recovery.told import note_restored
from tasks.sources.capabilities import SupportsInPlace, in_place
from tasks.sources.shared.live_data import LiveData


def run(options: InPlace, wanted: Wanted) -> int:
    """Do what ``options`` ask for. Raises DatasaveError."""
    if sum((options.in_place, options.resume, options.undo)) > 1:
        raise PlanError("--in-place, --resume and --undo cannot be combined", hint="Give one of them.")
    context = wanted.context(
        "A restore in place needs the plan, which says where the live data is: name it with --plan."
    )
    source_name = context.source_name(wanted.source)
    file = RecordFile(context.state, context.full_name(source_name))
    if options.dry_run:
        return _show(context, source_name, wanted)
    with exclusively(context.staging):
        if options.in_place:
            return _replace(context, source_name, file, wanted, options)
        record = file.read()
        if record is None:
            raise StateError(
                f"no restore in place of {context.full_name(source_name)} is under way or to be undone",
                hint="`datasave restore --in-place` begins one.",
            )
        return _go_on(Replacement(in_place(context.source(source_name)), file, record, say), options)


def _show(context: PlanContext, source_name: str, wanted: Wanted) -> int:
    source = in_place(context.source(source_name))
    place = source.live_data()
    refuse_unfinished(context.state, context.full_name(source_name))
    with origin_in(context, source_name, wanted) as origin:
        manifest = chosen(origin, wanted.backup).manifest
    replace.refuse_hopeless(source, place, manifest, _ours(context, wanted))
    _tell_steps(manifest, source, place)
    say("This was a dry run: nothing was changed.")
    return 0


def _replace(
    context: PlanContext, source_name: str, file: RecordFile, wanted: Wanted, options: InPlace
) -> int:
    identities = wanted.identities()
    refuse_unfinished(context.state, context.full_name(source_name))
    source = in_place(context.source(source_name))
    place = source.live_data()
    with origin_in(context, source_name, wanted) as origin:
        opened = open_backup(chosen(origin, wanted.backup), identities)
        manifest = opened.choice.manifest
        replace.refuse_hopeless(source, place, manifest, _ours(context, wanted))
        _tell_steps(manifest, source, place)
        if not options.yes:
            _confirm(context.plan.name)
        opened = thawed(opened, wanted.wait)
        replacement = Replacement(source, file, replace.begin(file, manifest, place), say)
        with replace.cleared_up(replacement):
            restored = recovered(opened, replacement.record.room)
            restored.require(
                f"{manifest.sealed_name} did not pass its checks",
                "Nothing was stopped or changed. Take another backup (--backup) or another target.",
            )
            replacement.build(restored)
    findings = replacement.forward()
    note_restored(context.path, opened.choice, place.path, "in place")
    findings_table(f"{manifest.source} #{manifest.sequence} in {place.path}", findings)
    status = _done(replacement, options)
    caution(opened.choice)
    return status


def _tell_steps(manifest: Manifest, source: SupportsInPlace, place: LiveData) -> None:
    say(f"{title_of(manifest)} in place of {place.path}:")
    for line in replace.steps_of(source, place):
        say(f"  {line}")


def _go_on(replacement: Replacement, options: InPlace) -> int:
    record = replacement.record
    unfinished = replacement.file.unfinished() is not None
    if record.has("discarding"):
        replacement.discard()
        good(f"{record.aside} is removed")
        return 0
    if options.undo or record.has("undoing"):
        return _undone(replacement, options)
    if options.resume and not record.has("built"):
        replacement.undo()
        say(f"It was cut off before anything was changed: {record.live} is unchanged.")
        say("It left nothing behind. To restore, run `datasave restore --in-place` again.")
        return 1
    if options.resume and unfinished:
        findings_table(f"{record.source} in {record.live}", replacement.forward(again=True))
        return _done(replacement, options)
    if options.discard_old and not unfinished:
        return _done(replacement, options)
    raise StateError(
        f"the last restore in place of {record.source} is {'not finished' if unfinished else 'finished'}",
        hint=_way_on(unfinished=unfinished),
    )


def _way_on(*, unfinished: bool) -> str:
    if unfinished:
        return "Run `datasave restore --resume` or `datasave restore --undo` first."
    return "`datasave restore --undo` takes it back, `datasave restore --discard-old` removes the old data."


def _undone(replacement: Replacement, options: InPlace) -> int:
    record = replacement.record
    if record.has("done") and not record.has("undoing") and not options.yes:
        say(f"The restore was finished. {record.aside} takes the place of {record.live} again.")
        say("What was entered since then is not lost: today's data is kept beside it.")
        _confirm(record.source)
    kept = replacement.undo()
    if kept is not None:
        path_line("What had been restored is kept in", kept)
    good(f"the old data is in {record.live} again, as it was")
    return 0


def _done(replacement: Replacement, options: InPlace) -> int:
    """Say what is where, and let the old data go if that is wanted."""
    record = replacement.record
    if not record.old:
        good(f"{record.live} is restored; there was no old data to put aside")
        replacement.file.remove()
        return 0
    strays = replace.strays(record)
    if strays:
        more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
        say(f"Only in {record.aside}, because no backup holds it: {', '.join(strays[:5])}{more}")
    good(f"{record.live} is restored, opened and compared with the manifest")
    if options.discard_old and (options.yes or _is_told(f"Remove {record.aside} for good?", "yes")):
        replacement.discard()
        good(f"{record.aside} is removed")
        return 0
    path_line("The old data:", record.aside)
    say("Look whether everything is there. Then remove it with `datasave restore --discard-old`,")
    say("or take the restore back with `datasave restore --undo`.")
    return 0


def _confirm(name: str) -> None:
    if not _is_told(f"To go ahead type the name {name}:", name):
        raise StateError(
            "not confirmed: nothing was changed",
            hint=f"Type {name} when asked, or give --yes where there is no terminal.",
        )


def _is_told(question: str, answer: str) -> bool:
    """Whether a person at a terminal types just that."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question} ").strip() == answer


def _ours(context: PlanContext, wanted: Wanted) -> list[Path]:
    folders = [wanted.folder] if wanted.folder else []
    places = [
        path for entry in context.plan.targets if isinstance(path := getattr(entry, "path", None), Path)
    ]
    return [context.path, context.state, *(wanted.identity or ()), *folders, *places]
