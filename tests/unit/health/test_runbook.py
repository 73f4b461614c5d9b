"""The disaster plan: what it tells to type leads where it says, and foreign text does nothing in it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.notices.runbook_page import (
    Case,
    Restorable,
    Runbook,
    TargetAccess,
    TargetRow,
    edition_in,
    runbook_html,
    runbook_markdown,
)
from tasks.options import Options
from tasks.targets.folder.target import FolderOptions
from tasks.targets.registry import open_place
from tasks.targets.s3.options import S3Options
from tasks.targets.sftp.options import SftpOptions
from tasks.targets.sftp.target import SftpRemote
from tasks.targets.shared.addresses import Access, rescue_words
from tasks.targets.shared.unmarked import UnmarkedRemote
from tasks.targets.smb.options import SmbOptions
from tasks.targets.smb.target import SmbRemote
from tests.unit.targets.test_addresses import KEY

WORDS = "academic-acid-acne-acquire-acrobat-activity-actress-adapt-adequate-adjust"
AT = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


def book(**changes: Any) -> Runbook:
    """The plan of an office with a folder, drives and a locked bucket."""
    facts: dict[str, Any] = {
        "office": "front-office",
        "plan": "front-office.yaml",
        "contacts": ("Dana Reyes, manager, +1 555 0100",),
        "holders": ("Owner", "Bank safe"),
        "places": (
            TargetRow(name="nas", what="folder", due="every run", newest="#417", drilled="never"),
            TargetRow(name="drives", what="drive", due="every run", newest="#417", drilled="never"),
            TargetRow(name="vault", what="s3", due="monthly, last fri", newest="#400", drilled="never"),
        ),
        "reaches": (
            TargetAccess(name="nas", words=("/mnt/nas/datasave",)),
            TargetAccess(
                name="drives", before="Plug in the drive that was not in the office.", away=True, safe=True
            ),
            TargetAccess(
                name="vault", words=("s3://office-vault", "--region us-east-1"), away=True, safe=True
            ),
        ),
        "sources": (
            Restorable(name="front-office", in_place=True),
            Restorable(name="front-office.letters", in_place=False),
        ),
        "media": ("mon MON, fri F1 and F2 in turn. The one that was used last is out of the house.",),
        "recovery": "In the newest 3 drills a backup came back in 4 min 10 s at the most (from nas).",
        "at": AT,
        "machines": (WORDS,),
    }
    return Runbook(**{**facts, **changes})


def commands(case: Case) -> list[list[str]]:
    return [shlex.split(command) for step in case.steps for command in step.commands]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (FolderOptions(path=Path("/mnt/the nas/d")), ["/mnt/the nas/d"]),
        (
            S3Options(bucket="office", prefix="front", endpoint="https://s3.example.com", region="eu-1"),
            ["s3://office/front", "--endpoint", "https://s3.example.com", "--region", "eu-1"],
        ),
        (
            SftpOptions(host="nas", port=2222, user="k", path="/vol 1/d", host_key=KEY, password="env:P"),
            ["sftp://k@nas:2222/vol%201/d", "--host-key", KEY],
        ),
        (
            SftpOptions(host="nas", user="k", path="d", host_key=KEY, password="env:P"),
            ["sftp://k@nas/~/d", "--host-key", KEY],
        ),
        (
            SmbOptions(server="nas", share="back ups", path="d", user="k", password="env:P"),
            ["smb://k@nas/back%20ups/d"],
        ),
    ],
)
def test_the_words_of_a_target_lead_to_it(options: Options, words: list[str]) -> None:
    told = [word for part in rescue_words(options) for word in shlex.split(part)]
    assert told == words
    given = dict(zip(told[1::2], told[2::2], strict=True))
    access = Access(
        endpoint=given.get("--endpoint"),
        region=given.get("--region"),
        host_key=given.get("--host-key"),
        password="env:P",
    )
    place = open_place(told[0], access)
    if isinstance(options, SftpOptions | SmbOptions):
        remote = SftpRemote("nas", options) if isinstance(options, SftpOptions) else SmbRemote(options)
        assert isinstance(place, UnmarkedRemote)
        assert place._remote.where == remote.where
    elif isinstance(options, S3Options):
        assert place._options == options  # type: ignore[attr-defined]


def test_every_case_has_something_to_type_and_never_a_secret() -> None:
    for case in book().cases:
        assert all(command[0] == "datasave" for command in commands(case)), case.title
        assert commands(case), case.title
        assert not any("AWS_SECRET" in word for command in commands(case) for word in command)


def test_a_bad_medium_is_repaired_and_a_new_machine_remembers() -> None:
    cases = {case.title: commands(case) for case in book().cases}
    assert [words[1] for words in cases["A backup cannot be read"][-2:]] == ["repair", "repair"]
    for title in ("Everything was stolen", "Fire or flood"):
        assert cases[title][-1][:2] == ["datasave", "journal"]
        assert cases[title][-1][2:4] == ["--recover", "drives"]


def test_what_burned_is_not_asked_for() -> None:
    fire = next(case for case in book().cases if "Fire" in case.title)
    assert not any("/mnt/nas/datasave" in command for command in commands(fire))
    assert not any("--plan" in command for command in commands(fire))


def test_an_office_without_a_copy_elsewhere_is_told() -> None:
    cases = book(reaches=(TargetAccess(name="nas", words=("/mnt/nas",)),)).cases
    fire = next(case for case in cases if "Fire" in case.title)
    assert any("no answer to that" in step.text for step in fire.steps)


def test_ransomware_comes_back_first_from_where_the_machine_could_not_write() -> None:
    case = next(case for case in book().cases if case.title == "Ransomware")
    listing = [command for command in commands(case) if "--list" in command]
    assert [command[2] for command in listing] == ["--signer", "s3://office-vault", "/mnt/nas/datasave"]
    assert all(command[command.index("--signer") + 1] == WORDS for command in listing)


def test_in_place_where_it_can_be_done_and_apart_where_not() -> None:
    first = commands(book().cases[0])
    whole = [command for command in first if "--in-place" in command]
    apart = [command for command in first if "--to" in command]
    assert {command[command.index("--source") + 1] for command in whole} == {"front-office"}
    assert {command[command.index("--source") + 1] for command in apart} == {"front-office.letters"}


def test_the_edition_changes_with_what_to_do_and_not_with_each_backup() -> None:
    one = book()
    places = (one.places[0].model_copy(update={"newest": "#418", "drilled": "today"}), *one.places[1:])
    assert book(places=places, at=AT.replace(year=2027), recovery="").edition == one.edition
    assert book(contacts=()).edition != one.edition
    assert book(reaches=one.reaches[:1]).edition != one.edition
    assert edition_in(runbook_markdown(one)) == one.edition
    assert edition_in("no runbook") == ""


def test_foreign_text_does_nothing() -> None:
    nasty = "<script>alert(1)</script> [x](http://evil) `code`"
    page = runbook_html(book(contacts=(nasty,), holders=(nasty,)))
    assert "<script>" not in page
    assert 'href="http' not in page


def test_what_lies_on_a_target_for_months_tells_nothing_of_tonight() -> None:
    lasting = runbook_markdown(book(dated=False))
    assert "| nas | folder | every run |" in lasting
    assert "#417" not in lasting.replace("\\", "")
    assert edition_in(lasting) == book().edition
    assert "#417" in runbook_markdown(book()).replace("\\", "")
