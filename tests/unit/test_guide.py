"""README and the topics of `datasave help`: what they name is there, and they name what there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cyclopts import App, MissingArgumentError

from deployments.cli import help as guide
from deployments.cli.app import main, make_app
from deployments.serving.environment import SETTINGS
from tasks.age.keys import X25519Identity
from tasks.context import KINDS
from tasks.plan.load import check_plan
from tasks.plan.model import Plan
from tests.house import ROOT

README = ROOT / "README.md"
TABLE = README.read_text("utf-8").partition("| command |")[2].partition("\n\n")[0]
PAGES = [README, *sorted(guide.FOLDER.glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = 80


def parts_of(command: App) -> dict[str, App]:
    """The commands beneath one by their names, without old names that no help shows."""
    return {name: command[name] for name in command if not name.startswith("-") and command[name].show}


COMMANDS = parts_of(make_app())
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def test_the_table_has_a_row_for_each_command() -> None:
    assert sorted(re.findall(r"^\| `datasave ([a-z-]+)", TABLE, re.MULTILINE)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if parts_of(command)])
def test_a_row_lists_the_commands_beneath(name: str) -> None:
    (row,) = [line for line in TABLE.splitlines() if line.startswith(f"| `datasave {name}`")]
    assert set(re.findall(r"`([a-z]+)`", row)) == set(parts_of(COMMANDS[name]))


def typed(text: str) -> Iterator[str]:
    """Each command in a page's blocks, its lines joined."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from (
                line for line in block.replace("\\\n", " ").splitlines() if line.startswith("datasave ")
            )


def mentioned(text: str) -> Iterator[str]:
    """Each command in a page's sentences."""
    yield from (" ".join(code.split()) for code in re.findall(r"`(datasave [^`]*)`", FENCE.sub("", text)))


def parse(command: str) -> None:
    """Raises cyclopts' error for what the program would not understand."""
    words = shlex.split(command, comments=True)[1:]
    make_app().parse_args(words, exit_on_error=False, print_error=False)


@page
def test_commands_in_blocks_can_be_typed(page: Path) -> None:
    for command in typed(page.read_text("utf-8")):
        parse(command)


@page
def test_commands_in_sentences_are_there(page: Path) -> None:
    """A sentence names a command and what it is about; what else it needs stands in its help."""
    for command in mentioned(page.read_text("utf-8")):
        try:
            parse(command.replace("NUMBER", "417"))
        except MissingArgumentError:
            continue


def helps(command: App) -> Iterator[str]:
    """The help of a command and of all beneath it."""
    yield command.help
    for part in parts_of(command).values():
        yield from helps(part)


def test_examples_in_helps_can_be_typed() -> None:
    examples = [
        " ".join(example.split())
        for text in helps(make_app())
        for example in re.findall(r"^    (datasave (?:.+\n?(?:    \S)?)+)", text, re.MULTILINE)
    ]
    assert len(examples) > 80
    for example in examples:
        parse(example)


def test_the_pages_are_full_of_commands() -> None:
    """Else the tests above would hold nothing."""
    texts = [page.read_text("utf-8") for page in PAGES]
    assert sum(len([*typed(text)]) for text in texts) > 60
    assert sum(len([*mentioned(text)]) for text in texts) > 60


@pytest.mark.parametrize("name", guide.NAMES)
def test_no_command_is_broken_over_two_lines(name: str) -> None:
    text = FENCE.sub("", guide.text_of(name))
    assert [code for code in re.findall(r"`([^`]*)`", text) if "\n" in code] == []


def plans() -> Iterator[tuple[str, str]]:
    """Each page's blocks of a plan, with its name."""
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text("utf-8")):
            if language == "yaml":
                yield page.stem, block


@pytest.mark.parametrize(("name", "block"), list(plans()), ids=[name for name, _ in plans()])
def test_options_of_plans_are_there(name: str, block: str, tmp_path: Path) -> None:
    """What a block leaves out of a plan is put in; keys that stand for anybody's are real ones."""
    for _ in range(block.count("age1…")):
        block = block.replace("age1…", str(X25519Identity.generate().recipient()), 1)
    signer = Plan.model_fields["signers"].examples or []
    given = yaml.safe_load(block.replace("ed25519:…", signer[0][0]))
    names = given.get("drill", {}).get("identities", {"Owner": ""})
    rest = {
        "name": "front-office",
        "source": {"kind": "sqlite", "path": "/srv/office/clinic.db"},
        "holders": [{"name": n, "recipient": str(X25519Identity.generate().recipient())} for n in names],
        "targets": [{"name": "nas", "kind": "folder", "path": "/mnt/nas/datasave"}],
    }
    check_plan(yaml.safe_dump({**rest, **given}), name, tmp_path, KINDS)


@page
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@page
def test_files_of_the_repository_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|tasks|deployments)/[\w./]+)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_make_does_is_in_the_makefile() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = {name for page in PAGES for name in re.findall(r"make ([a-z-]+)[` ]", page.read_text("utf-8"))}
    assert {"demo", "test", "release"} <= named & {*targets.split()}


def test_readme_is_short_and_lists_every_topic_as_the_program_does() -> None:
    text = README.read_text("utf-8")
    assert text.count("\n") <= 250
    listed = text.partition("## The guide")[2].partition("\n## ")[0]
    told = [f"- [{name}](deployments/help/{name}.md): {guide.about(name)}" for name in guide.NAMES]
    assert re.findall(r"^- .*", listed, re.MULTILINE) == told
    assert re.findall(r"^\*\*(.*)\*\*$", listed, re.MULTILINE) == [*guide.TOPICS]


def test_every_topic_is_listed_once() -> None:
    assert sorted(guide.NAMES) == sorted(path.stem for path in guide.FOLDER.iterdir())


def test_the_list_of_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in guide.NAMES)
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("name", guide.NAMES)
def test_a_topic_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In 80 columns, but for a single word that is longer; nothing that only a browser can follow."""
    assert main(["help", name]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# ") and guide.about(name) in shown
    assert [line for line in shown.splitlines() if len(line) > COLUMNS and " " in line] == []
    assert "](" not in shown and shown.count("\n") > 10


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("postgres", "`postgresql`"), ("restoring", "`restore`"), ("samba", "`targets`"), ("xyzzy", "guide")],
)
def test_an_unknown_topic(word: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", word]) == 1
    told, hint = capsys.readouterr().err.splitlines()
    assert f"`{word}` is no topic of the guide" in told and nearest in told
    assert "`datasave help`" in hint


def test_the_unit_of_a_fleet_s_server_has_our_settings() -> None:
    """It is started by Prefect's own command, which knows nothing of them."""
    unit = guide.text_of("fleet").partition("ExecStart=")[0]
    given = dict(re.findall(r"\b([A-Z][A-Z0-9_]+)=(\S+)", unit))
    # A server that is always there is never a temporary one.
    wanted = {
        name: value
        for name, value in SETTINGS.items()
        if name.startswith(("PREFECT_SERVER_", "DO_NOT_TRACK")) and "EPHEMERAL" not in name
    }
    assert {name: given.get(name) for name in wanted} == wanted
