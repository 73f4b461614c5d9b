"""What ``datasave init`` needs to know beyond source and target, as options or asked on a terminal.

What is asked comes back as the options would give it: one way leads from there to the plan.
"""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import tzlocal
from cyclopts import Parameter

from deployments.cli.screen import out, say, warning
from tasks.age.keys import X25519Identity
from tasks.context import KINDS
from tasks.errors import PlanError
from tasks.keys.escrow import file_stem, key_text, write_key
from tasks.plan.notice_options import ADDRESS
from tasks.plan.problems import option_names

USUAL_TIME = "02:00"
AUDIT = "0 8 * * *"
SQLITE = b"SQLite format 3\0"
MAIL_PASSWORD = "mail.password"  # noqa: S105 - the name of a file
Fits = Callable[[str], str]
"""Why an answer does not fit, "" if it does."""
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@Parameter(name="*")
@dataclass(frozen=True)
class Wishes:
    """When, who is told, and keys that are made on the way; its fields are options of ``init``."""

    schedule: Annotated[
        str | None,
        Parameter(help='When to back up by itself: a time such as 02:00, or cron such as "0 2 * * mon-fri".'),
    ] = None
    timezone: Annotated[
        str | None, Parameter(help="The office's time zone; without it, the one of this machine.")
    ] = None
    told: Annotated[
        list[str] | None,
        Parameter(negative=(), help="A mail address that hears how runs go; may be given several times."),
    ] = None
    mail_server: Annotated[str | None, Parameter(help="With --told: the server that takes the mail.")] = None
    mail_user: Annotated[
        str | None, Parameter(help="With --told: the account to log in with; default: the first address.")
    ] = None
    mail_password: Annotated[
        str | None, Parameter(help="With --told: where its password is found, env:NAME or file:PATH.")
    ] = None
    new_key: Annotated[
        list[str] | None,
        Parameter(negative=(), help="NAME=FOLDER: make a holder's key, and put its file into that folder."),
    ] = None
    yes: Annotated[
        bool,
        Parameter(negative=(), help="Ask nothing, and back up every night at 2:00 if nothing else is said."),
    ] = False


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Given:
    """The options of ``init`` that questions can answer, as they are typed.

    ``password``: that of the mail account, which no option takes; it is kept beside the plan.
    """

    source: str
    path: Path | None
    option: Sequence[str]
    holder: Sequence[str]
    target: Sequence[str]
    wishes: Wishes
    password: str = ""


@dataclass(frozen=True)
class NewKey:
    """A key that was made for a holder and is not written yet."""

    holder: str
    path: Path
    identity: X25519Identity

    def write(self) -> None:
        """Write its private file. Raises StateError."""
        write_key(self.path, key_text(self.identity, self.holder), None)


def pair(text: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE. Raises PlanError."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise PlanError(f"{text!r} is not of the form NAME=VALUE", hint='For example "Owner=age1…".')
    return key, value


def new_keys(wishes: Wishes) -> list[NewKey]:
    """A key for each holder that one was wished for. Raises PlanError where its file is there already."""
    made = []
    for holder, folder in map(pair, wishes.new_key or ()):
        path = Path(folder) / f"{file_stem(holder)}.key.txt"
        if path.exists() or not path.parent.is_dir():
            why = "exists already" if path.exists() else "has no folder to lie in"
            raise PlanError(f"the key file {path} {why}", hint="Name another folder, one that is there.")
        made.append(NewKey(holder, path, X25519Identity.generate()))
    return made


def schedule_of(wishes: Wishes) -> dict[str, Any]:
    """The plan's ``schedule`` and ``notices``, as far as they were given."""
    found: dict[str, Any] = {}
    when = wishes.schedule or (USUAL_TIME if wishes.yes else None)
    if when:
        at = _TIME.fullmatch(when)
        cron = f"{int(at[2])} {int(at[1])} * * *" if at else when
        zone = wishes.timezone or local_timezone()
        found["schedule"] = {"backup": cron, "audit": AUDIT, "timezone": zone}
    elif wishes.timezone:
        found["schedule"] = {"timezone": wishes.timezone}
    if wishes.told:
        found["notices"] = {"mail": _mail(wishes, wishes.told)}
    return found


def local_timezone() -> str:
    """This machine's time zone by its name, such as America/New_York."""
    name = tzlocal.get_localzone_name() or "UTC"
    return name.removeprefix("Etc/")


def _mail(wishes: Wishes, told: list[str]) -> dict[str, Any]:
    if not wishes.mail_server:
        raise PlanError(
            "mail needs a server that takes it", hint="Give --mail-server, as in your mail program."
        )
    mail: dict[str, Any] = {"to": told, "server": wishes.mail_server}
    if not wishes.mail_password:
        return {**mail, "sender": wishes.mail_user or told[0]}
    return {**mail, "user": wishes.mail_user or told[0], "password": wishes.mail_password}


def to_be_asked(given: Given) -> bool:
    """Whether somebody sits there who can say what is still missing."""
    lacking = not (given.target and (given.holder or given.wishes.new_key))
    return lacking and not given.wishes.yes and sys.stdin.isatty() and out.is_terminal


def ask(given: Given) -> Given:
    """What was given, and the rest by questions. Raises PlanError at the end of input."""
    say("Enter alone takes what stands in [brackets]. Ctrl-C ends this, and nothing is written.")
    if given.path is None and not given.option:
        given = _ask_source(given)
    if not given.target:
        given = replace(given, target=list(_ask_targets()))
    if not (given.holder or given.wishes.new_key):
        given = _ask_holders(given)
    if given.wishes.schedule is None:
        given = replace(given, wishes=_ask_schedule(given.wishes))
    return given if given.wishes.told else _ask_told(given)


def _ask(question: str, usual: str = "", fits: Fits | None = None) -> str:
    """An answer that fits; ``fits`` says why one doesn't, "" if it does. Raises PlanError."""
    shown = f"{question} [{usual}]: " if usual else f"{question}: "
    while True:
        try:
            answer = input(shown).strip() or usual
        except EOFError:
            raise PlanError(
                "the questions were not answered", hint="Give options: `datasave init --help`."
            ) from None
        if not (problem := fits(answer) if fits else ""):
            return answer
        say(f"  {problem}")


def _ask_source(given: Given) -> Given:
    servers = [kind for kind, model in KINDS.sources.items() if "path" not in option_names(model)]

    def fits(answer: str) -> str:
        there = answer in servers or (answer != "" and Path(answer).exists())
        return "" if there else "There is no such file or folder here."

    usual = "clinic.db" if Path("clinic.db").exists() else ""
    answer = _ask(f"What to back up: a database file, a folder, or {', '.join(servers)}", usual, fits)
    if answer in servers:
        return replace(given, source=answer, option=list(_ask_options(answer)))
    return replace(given, source=_kind_of(Path(answer)), path=Path(answer))


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return "files"
    with path.open("rb") as stream:
        begins = stream.read(len(SQLITE))
    if begins != SQLITE:
        raise PlanError(
            f"{path} is no SQLite database", hint="Name its folder, or the kind of server that it belongs to."
        )
    return "sqlite"


def _ask_options(kind: str) -> Iterator[str]:
    """What a server cannot be reached without; the plan explains the rest."""
    for name, field in option_names(KINDS.sources[kind]).items():
        if field.is_required() and name != "kind":
            say(f"  {field.description}")
            yield f"{name}={_ask(name, fits=_needed)}"


def _needed(answer: str) -> str:
    return "" if answer else "This is needed."


def _ask_targets() -> Iterator[str]:
    taken: set[str] = set()
    fits: Fits = _needed
    question = "Where do the backups go? Best another disk, or another machine"
    while place := _ask(question, fits=fits):
        usual = next(name for name in _names() if name not in taken)
        name = _ask(
            "  What is this place called", usual, lambda n: "That name is taken." if n in taken else ""
        )
        taken.add(name)
        yield f"{name}={place}"
        question, fits = "Another place (Enter: no more)", _anything


def _names() -> Iterator[str]:
    yield "nas"
    yield from (f"place-{number}" for number in range(2, 1000))


def _ask_schedule(wishes: Wishes) -> Wishes:
    def fits(answer: str) -> str:
        return "" if _TIME.fullmatch(answer) or answer == "never" else "A time such as 02:00, or never."

    when = _ask("When shall it back up every night? A time, or never", USUAL_TIME, fits)
    if when == "never":
        return wishes
    zone = wishes.timezone or _ask("In which time zone", local_timezone(), _no_timezone)
    return replace(wishes, schedule=when, timezone=zone)


def _no_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return "There is no such time zone; one is America/New_York."
    return ""


def _ask_told(given: Given) -> Given:
    told = []
    while address := _ask("Who is told how it went? A mail address (Enter: nobody else)", fits=_no_address):
        told.append(address)
    if not told:
        return given
    wishes = given.wishes
    server = wishes.mail_server or _ask("  Which server takes the mail", f"smtp.{told[0].partition('@')[2]}")
    user = wishes.mail_user or _ask("  Which account logs in there", told[0])
    password = getpass.getpass(f"  Its password (kept in {MAIL_PASSWORD}; Enter: none is asked for): ")
    kept = f"file:{MAIL_PASSWORD}" if password else None
    wishes = replace(wishes, told=told, mail_server=server, mail_user=user, mail_password=kept)
    return replace(given, wishes=wishes, password=password)


def _no_address(answer: str) -> str:
    return (
        "" if not answer or re.fullmatch(ADDRESS, answer) else "A mail address, such as owner@office.example."
    )


def _ask_holders(given: Given) -> Given:
    """Each with a public key that is there, or the folder for a new one's file."""
    say("Each holder can open the backups with their own key. Two at least: a lost key opens nothing.")
    known, new = [], []
    fits: Fits = _needed
    question = "Who can open them? A person or a safe"
    while name := _ask(question, fits=fits):
        if key := _ask("  Their public key (age1…; Enter: make one now)"):
            known.append(f"{name}={key}")
        else:
            place = _ask("  Folder for the key file; best a stick that goes into a safe", ".", _no_folder)
            new.append(f"{name}={place}")
        question, fits = "Who else (Enter: nobody)", _anything
    return replace(given, holder=known, wishes=replace(given.wishes, new_key=new))


def _anything(_: str) -> str:
    return ""


def _no_folder(answer: str) -> str:
    return "" if Path(answer).is_dir() else "There is no such folder."


def warn_of_gaps(gaps: Sequence[tuple[str, str]], others: int) -> None:
    """Say what the posture will miss: what rules that must hold demand, and how each is met."""
    for demands, how in gaps:
        warning(f"Not met: {demands} {how}")
    if others:
        say(f"{others} more would make it better: `datasave posture` lists them.")
