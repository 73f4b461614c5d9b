"""The office's disaster plan, as Markdown and as a page, from one text (runbook.md).

Its cases are the seven bad days of the advice that practices are given on backing up: a failed update,
theft, a power cut, deleted files, fire, media that cannot be read, ransomware. Where the machine and its plan
still stand the data is restored in place; where they are gone, or cannot be trusted, on another machine with
nothing but a key. Foreign text (names, contacts) is escaped into the Markdown, and the page is made of that
Markdown without letting raw HTML through.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import cache
from hashlib import sha256
from importlib.resources import files
from shlex import quote

from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from tasks.notices.pages import command_html, page_html
from tasks.notices.report_page import markdown_text
from tasks.notices.wording import when_text
from tasks.records import Record

KEY = "holder.key.txt"
RESTORED = "restored"
_EDITION = "Edition "
# Raw HTML in the text stays text.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def _code(_renderer: object, tokens: Sequence[Token], at: int, *_options: object) -> str:
    return f"<code>{command_html(tokens[at].content.rstrip())}</code>"


def _fence(renderer: object, tokens: Sequence[Token], at: int, *_options: object) -> str:
    return f"<pre>{_code(renderer, tokens, at)}</pre>\n"


def _table(*_: object) -> str:
    return '<table><caption class="unseen">Where the backups are</caption>\n'


def _head(*_: object) -> str:
    return '<th scope="col">'


_MARKDOWN.add_render_rule("code_inline", _code)
_MARKDOWN.add_render_rule("fence", _fence)
_MARKDOWN.add_render_rule("table_open", _table)
_MARKDOWN.add_render_rule("th_open", _head)


class TargetAccess(Record):
    """A target as the cases need it.

    ``words``: the arguments of ``datasave rescue`` that lead to it, ready for a shell; none for drives, which
    it finds by itself. ``before``: what a person has to do or have first. ``away``: whether it outlasts a
    fire in the office. ``safe``: whether whoever controls the office's machine cannot overwrite it.
    """

    name: str
    words: tuple[str, ...] = ()
    before: str = ""
    away: bool = False
    safe: bool = False


class Restorable(Record):
    """A source by its full name, and whether it can be restored in place."""

    name: str
    in_place: bool


class Step(Record):
    """A sentence for a person, and what to type, a line each."""

    text: str
    commands: tuple[str, ...] = ()


class Case(Record):
    """One bad day: how to recognise it, where to go first, and what to do, in order."""

    title: str
    when: str
    first: Step
    steps: tuple[Step, ...]


class TargetRow(Record):
    """A target's line in the table. ``newest`` and ``drilled`` change with every run."""

    name: str
    what: str
    due: str
    newest: str
    drilled: str


class Runbook(Record):
    """All that the plan is made of. ``recovery``: how long a recovery took in drills, in words.

    ``folder``: that of the plan file, on the machine that makes the backups.

    ``machines``: the machines that sign the backups, in words. ``dated``: whether it tells what is true today
    only, the newest backups and drills. A copy that lies on a target until what to do changes does not.
    """

    office: str
    plan: str
    contacts: tuple[str, ...]
    holders: tuple[str, ...]
    places: tuple[TargetRow, ...]
    reaches: tuple[TargetAccess, ...]
    sources: tuple[Restorable, ...]
    media: tuple[str, ...]
    recovery: str
    at: datetime
    machines: tuple[str, ...] = ()
    folder: str = ""
    dated: bool = True

    @property
    def cases(self) -> tuple[Case, ...]:
        """What to do on which bad day."""
        return cases_of(self)

    @property
    def edition(self) -> str:
        """Changes when what to do changes: not with each backup, nor from one machine to another."""
        steady = self.model_dump_json(exclude={"at", "recovery", "places", "folder", "dated"})
        places = "".join(f"{place.name}|{place.what}|{place.due}" for place in self.places)
        return sha256(f"{steady}{places}".encode()).hexdigest()[:12]


def runbook_markdown(book: Runbook, timezone: tzinfo | None = None) -> str:
    """The plan as GitHub-flavoured Markdown."""
    facts = {
        **{name: getattr(book, name) for name in type(book).model_fields},
        "cases": book.cases,
        "edition": book.edition,
        "made": when_text(book.at, timezone),
    }
    return _template().render(book=facts)


def runbook_html(book: Runbook, timezone: tzinfo | None = None) -> str:
    """The plan as one self-contained page, made for paper too."""
    text = _MARKDOWN.render(runbook_markdown(book, timezone))
    # Each bad day has a sheet of paper of its own, and so has what comes after it.
    for heading in ("Case ", "Afterwards"):
        text = text.replace(f"<h2>{heading}", f'<h2 class="sheet">{heading}')
    return page_html("runbook.html", title=f"If the worst happens: {book.office}", text=Markup(text))  # noqa: S704


def edition_in(text: str) -> str:
    """The edition that a runbook says it is, "" where it says none."""
    found = [line.removeprefix(_EDITION) for line in text.splitlines() if line.startswith(_EDITION)]
    return found[0].strip() if found else ""


def cases_of(runbook: Runbook) -> tuple[Case, ...]:
    """All seven, in the order of the advice."""
    book = _Book(quote(runbook.plan), runbook.sources, runbook.reaches, runbook.machines)
    go = (f"cd {quote(runbook.folder)}",) if runbook.folder else ()
    here = Step(
        text=f"All of this is typed in the folder of the plan, with the key there as `{KEY}`. Go there:",
        commands=go,
    )
    return (
        Case(
            title="An update went wrong",
            when="After an update of Windows or of the program the data cannot be opened any more.",
            first=here,
            steps=(*book.in_place("Undo the update, or finish it, so that the program itself is whole."),),
        ),
        Case(
            title="Everything was stolen",
            when="The machines are gone, and every medium that lay in the office with them.",
            first=_APART,
            steps=(_CALL, *book.elsewhere(book.away)),
        ),
        Case(
            title="The power went out",
            when="The machine went down during work, and the data is damaged or cannot be opened.",
            first=here,
            steps=(*book.in_place("Let the machine start, and check its disk before anything else."),),
        ),
        Case(
            title="Files were deleted",
            when="The data folder, or some of it, was deleted or overwritten by mistake.",
            first=here,
            steps=(*book.in_place("Close the program on all machines."),),
        ),
        Case(
            title="Fire or flood",
            when="Machines and media in the office are destroyed.",
            first=_APART,
            steps=book.elsewhere(book.away),
        ),
        Case(
            title="A backup cannot be read",
            when="The data is needed from a backup, and that medium does not answer or is damaged.",
            first=here,
            steps=book.another(),
        ),
        Case(
            title="Ransomware",
            when="Files cannot be opened and have strange names, or a message asks for money.",
            first=_APART,
            steps=book.clean(),
        ),
    )


_APART = Step(
    text=f"All of this is typed on a clean machine, in an empty folder with the key in it as `{KEY}`."
)
_CALL = Step(text="Report it: the police, the insurer, and whoever must be told that patients' data is gone.")


class _Book:
    def __init__(
        self,
        plan: str,
        sources: Sequence[Restorable],
        places: Sequence[TargetAccess],
        machines: Sequence[str],
    ) -> None:
        self._plan = plan
        self._machines = machines
        self._sources = sources
        self._places = places
        self.away = [place for place in places if place.away]

    def in_place(self, first: str) -> tuple[Step, ...]:
        """The machine and its plan still stand: the old data is put aside, never written over."""
        target = self._places[0]
        show = [self._restore(source, target, "--in-place --dry-run") for source in self._whole]
        restore = [self._restore(source, target, "--in-place") for source in self._whole]
        others = " or ".join(place.name for place in self._places[1:])
        steps = [Step(text=first)]
        if target.before:
            steps.append(Step(text=target.before))
        if restore:
            steps += [
                Step(text="See what would be done. Nothing is changed by this:", commands=tuple(show)),
                Step(
                    text="Restore. What is there now is renamed to DATASAVE and kept; if anything fails "
                    "it is put back:",
                    commands=tuple(restore),
                ),
            ]
        if self._apart:
            steps.append(
                Step(
                    text="This cannot be put in place by itself. It is restored into a folder, and the last "
                    "line says what to do with it:",
                    commands=tuple(self._restore(source, target, "") for source in self._apart),
                )
            )
        if others:
            steps.append(Step(text=f"If {target.name} cannot be used, take {others} instead (--target)."))
        return tuple(steps)

    def elsewhere(self, places: Sequence[TargetAccess], listed: bool = False) -> tuple[Step, ...]:
        """Nothing is left but a copy elsewhere: any machine with Datasave will do, with a key."""
        if not places:
            return (
                Step(
                    text="**This plan has no answer to that: every target is in the office.** Add one that "
                    "is not (a drive that goes home, a bucket) and make this plan anew."
                ),
            )
        steps = [
            Step(text="Take a clean machine and install Datasave on it. No plan and no server is needed."),
            Step(text="Ask a holder for a key."),
        ]
        for number, place in enumerate(places):
            first = "From" if number == 0 else "If that is not available, from"
            before = f" {place.before}" if place.before else ""
            look = (self._rescue(place, "--list"),) if listed else ()
            into = f"--identity {KEY} --to {RESTORED}"
            steps.append(
                Step(text=f"{first} {place.name}.{before}", commands=(*look, self._rescue(place, into)))
            )
        steps.append(
            Step(text=f"Put what is in `{RESTORED}` where the program expects its data; the output says how.")
        )
        back = f"datasave journal --recover {quote(places[0].name)} --identity {KEY}"
        steps.append(
            Step(
                text="If that machine takes the backups from now on, give it a plan of that name, and bring "
                "back what the old one remembered (holds, removals, proofs) before its first backup. It "
                "names the machine that wrote it: compare that with what is on paper, then give it as "
                "`--signer`:",
                commands=(back,),
            )
        )
        return tuple(steps)

    def another(self) -> tuple[Step, ...]:
        """One medium failed: the next one."""
        look = (f"datasave list --plan {self._plan}",)
        steps = [
            Step(text="Put the bad medium aside, with a note on it. Neither write to it nor throw it away."),
            Step(text="See what the other targets hold:", commands=look),
        ]
        for place in self._places:
            restore = tuple(
                self._restore(source, place, f"--to {quote(f'{RESTORED}-{place.name}-{source.name}')}")
                for source in self._sources
            )
            before = f" {place.before}" if place.before else ""
            steps.append(
                Step(text=f"From {place.name}.{before} Take the first that works:", commands=restore)
            )
        check = (f"datasave audit --plan {self._plan} --read-all",)
        steps.append(Step(text="Afterwards read every backup of every target once:", commands=check))
        mend = tuple(f"datasave repair --plan {self._plan}{end}" for end in ("", " --apply"))
        steps.append(
            Step(
                text="What is damaged or gone on one target is put right from another's whole copy:",
                commands=mend,
            )
        )
        return tuple(steps)

    def clean(self) -> tuple[Step, ...]:
        """The office's machines cannot be trusted, nor what they could write to."""
        first = [
            Step(text="Pull the network cable and the drives. Do not pay, do not restore onto that machine."),
            _CALL,
        ]
        # What the machine could write to may be encrypted too: last, if at all.
        order = sorted(self._places, key=lambda place: (not place.safe, not place.away))
        last = Step(
            text="Look whether the newest entries make sense. If the damage is older than the backup, take "
            "an earlier one: add `--backup` and its number from the list. Backups that looked suspicious "
            "when they were made are marked in it."
        )
        return (*first, *self.elsewhere(order, listed=True), last)

    @property
    def _whole(self) -> list[Restorable]:
        return [source for source in self._sources if source.in_place]

    @property
    def _apart(self) -> list[Restorable]:
        return [source for source in self._sources if not source.in_place]

    def _restore(self, source: Restorable, place: TargetAccess, how: str) -> str:
        which = f" --source {quote(source.name)}" if len(self._sources) > 1 else ""
        where = how or f"--to {quote(f'{RESTORED}-{source.name}')}"
        target = f"--target {quote(place.name)}{which}"
        return f"datasave restore --plan {self._plan} {target} --identity {KEY} {where}"

    def _rescue(self, place: TargetAccess, what: str) -> str:
        signers = (f"--signer {words}" for words in self._machines)
        return " ".join(("datasave rescue", *place.words, *signers, what))


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701 - Markdown; foreign text goes through `md`
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["md"] = markdown_text
    return environment.from_string(files(__package__).joinpath("runbook.md").read_text("utf-8"))
