"""``datasave journal``: what this office did and saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PassphraseOption, PlanOption
from deployments.cli.passphrases import unlock
from deployments.cli.screen import bad, good, out, path_line, say, table
from tasks.backup.memory import WAY_OUT, accept, doubts, recover
from tasks.context import PlanContext
from tasks.errors import PlanError
from tasks.journal.export import export, pack_defect
from tasks.journal.kinds import Kind
from tasks.journal.lines import Entry
from tasks.keys.machines import words_of
from tasks.notices.journal_words import entry_words
from tasks.notices.wording import count_text, when_text
from tasks.platform.files import kept_in_state, write_atomic


@Parameter(name="*")
@dataclass(frozen=True)
class Shown:
    """Which entries are shown."""

    kind: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Only entries of this kind, such as removed; repeatable."),
    ] = None
    since: Annotated[str | None, Parameter(help="Only from this day on, such as 2026-11-23.")] = None
    until: Annotated[str | None, Parameter(help="Only up to this day.")] = None
    backup: Annotated[
        int | None, Parameter(name=["--backup", "-b"], help="Only what is about this number.")
    ] = None
    target: Annotated[
        str | None, Parameter(name=["--target", "-t"], help="Only what is about this target.")
    ] = None
    last: Annotated[int, Parameter(help="At most so many, the newest; 0 for all.")] = 50


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """What to do instead of showing entries."""

    verify: Annotated[bool, Parameter(negative=(), help="Verify every line and every signature again.")] = (
        False
    )
    export: Annotated[
        tuple[str, str] | None,
        Parameter(negative=(), help="FROM TO, two days: an auditor's pack of that period, both days in it."),
    ] = None
    out: Annotated[
        Path | None, Parameter(help="With --export: the folder for the pack; without it, this one.")
    ] = None
    recover: Annotated[
        str | None, Parameter(help="Bring the journal back from its copy on this target; needs --identity.")
    ] = None
    identity: Annotated[
        list[Path] | None,
        Parameter(name=["--identity", "-i"], negative=(), help="With --recover: a holder's identity file."),
    ] = None
    signer: Annotated[
        list[str] | None,
        Parameter(negative=(), help="With --recover: the machine that wrote it (ed25519:…), as on paper."),
    ] = None
    passphrase_from: PassphraseOption = None
    accept: Annotated[
        bool, Parameter(negative=(), help="Say that what is doubted of the journal is known, and go on.")
    ] = False


ALL = Shown()
NOTHING_ELSE = Asked()


def journal(
    pack: Path | None = None,
    /,
    *,
    plan: PlanOption = DEFAULT_PLAN,
    shown: Shown = ALL,
    asked: Asked = NOTHING_ELSE,
) -> int:
    """Show what was done and seen: backups, removals, proofs, restores, changes, each line signed.

    The journal is all that this machine remembers. Every line holds the digest of the one before, so that
    nothing can be changed or taken out unseen; a copy, sealed for the holders, lies on every target.

    Exit status 1 where the journal is damaged, or a target knows more than it does.

    **Examples:**

        datasave journal --kind removed --since 2026-11-01

        datasave journal --backup 417

        datasave journal --verify

        datasave journal --export 2026-01-01 2026-12-31 --out audit-2026

        datasave journal --verify audit-2026/clinic-journal-2026-01-01-to-2026-12-31.json

        datasave journal --recover nas --identity owner.key.txt

    Args:
        pack: With --verify: the signed facts of an exported pack, instead of the journal. Needs no plan.
    """
    if pack is not None:
        return _verify_pack(pack, asked)
    context = PlanContext(plan)
    if asked.recover:
        return _recover(context, asked.recover, asked)
    if asked.accept:
        return _accept(context)
    if asked.verify:
        return _verify(context)
    if asked.export:
        return _export(context, *asked.export, asked.out or Path())
    _show(context, shown)
    return _tell_doubts(context)


def _show(context: PlanContext, shown: Shown) -> None:
    kinds = _kinds(context, shown.kind or ())
    chosen = [entry for entry in context.journal.entries(*kinds) if _fits(context, entry, shown)]
    listed = chosen[-shown.last :] if shown.last > 0 else chosen
    lines = table(f"journal of {context.plan.name}", ("", "when", "what"), fold=True)
    for entry in listed:
        what = escape(entry_words(entry.kind, entry.facts))
        lines.add_row(str(entry.number), when_text(entry.time, context.timezone), what)
    out.print(lines)
    if len(listed) < len(chosen):
        say(f"and {count_text(len(chosen) - len(listed), 'older one')}: --last 0 shows all")


def _kinds(context: PlanContext, named: Sequence[str]) -> Sequence[str]:
    """The kinds that were named. One that is misspelled would show an empty journal. Raises PlanError."""
    known = {*Kind, *(entry.kind for entry in context.journal.entries())}
    for name in named:
        if name not in known:
            near = ", ".join(get_close_matches(name, known)) or ", ".join(sorted(known))
            raise PlanError(f"{name!r} is no kind of entry", hint=f"There are: {near}.")
    return named


def _fits(context: PlanContext, entry: Entry, shown: Shown) -> bool:
    day = entry.time.astimezone(context.timezone).date()
    return (
        (shown.since is None or day >= _day(shown.since))
        and (shown.until is None or day <= _day(shown.until))
        and (shown.backup is None or entry.facts.get("sequence") == shown.backup)
        and (shown.target is None or entry.facts.get("target") == shown.target)
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PlanError(f"{text!r} is not a day", hint="Write it as 2026-11-23.") from None


def _verify_pack(path: Path, asked: Asked) -> int:
    if not asked.verify:
        raise PlanError(
            f"what is to be done with {path}?", hint="`datasave journal --verify FILE` verifies a pack."
        )
    with kept_in_state(f"read {path}"):
        data = path.read_bytes()
    if defect := pack_defect(data):
        bad(f"{path} is not what was exported: {defect}")
        return 1
    facts = json.loads(data)
    good(f"{path} is as the machine below signed it: {facts['plan']}, {facts['from']} to {facts['to']}")
    machine = facts["machine"]
    say(f"Compare that machine with the one on paper: {words_of(machine)} ({machine})")
    defects = facts["journal"]["defects"]
    for defect in defects:
        bad(f"the journal was damaged then: {defect}")
    return 1 if defects else 0


def _verify(context: PlanContext) -> int:
    context.journal.verify()
    status = _tell_doubts(context)
    head = context.journal.head()
    if not status:
        good(f"{count_text(head.length, 'entry', 'entries')}, each signed and following the one before")
    say(f"The last line is number {head.length}, sha256 {head.sha256}.")
    return status


def _tell_doubts(context: PlanContext) -> int:
    found = doubts(context)
    for doubt in found:
        bad(doubt.detail)
    if found:
        say(WAY_OUT)
    return 1 if found else 0


def _accept(context: PlanContext) -> int:
    accepted = accept(context)
    for doubt in accepted:
        say(f"accepted: {doubt.detail}")
    if _tell_doubts(context):
        return 1
    good("nothing of the journal is doubted" if not accepted else "it is entered, and pruning goes on")
    return 0


def _export(context: PlanContext, first: str, last: str, folder: Path) -> int:
    begin, end = _day(first), _day(last)
    if end < begin:
        raise PlanError(f"{last} is before {first}", hint="Give the first day, then the last.")
    name = f"{context.plan.name}-journal-{begin}-to-{end}"
    key = context.machine_key()
    pack = export(context.journal, key, context.plan.name, begin, end, context.timezone, f"{name}.json")
    with kept_in_state(f"write the pack into {folder.absolute()}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{name}.json", pack.document)
        write_atomic(folder / f"{name}.html", pack.page.encode("utf-8"))
    path_line("Signed facts:", folder / f"{name}.json")
    path_line("Page:", folder / f"{name}.html")
    return _tell_doubts(context)


def _recover(context: PlanContext, target: str, asked: Asked) -> int:
    if not asked.identity:
        raise PlanError("the copy of the journal is sealed", hint="Give a holder's key: --identity FILE.")
    identities = unlock(asked.identity, asked.passphrase_from)
    back = recover(context, target, identities, asked.signer or ())
    good(f"the journal is back from {target}: {count_text(back.length, 'entry', 'entries')}")
    if back.carried:
        say(f"{count_text(back.carried, 'entry', 'entries')} made here since then were carried over")
    return _tell_doubts(context)
