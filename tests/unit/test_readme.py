"""The README names every command once, and no option that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cyclopts import App

from deployments.cli.app import make_app
from deployments.serving.environment import SETTINGS

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
TABLE = README[README.index("| command |") :].partition("\n\n")[0]


def parts_of(command: App) -> dict[str, App]:
    """The commands beneath one by their names, without old names that no help shows."""
    return {name: command[name] for name in command if not name.startswith("-") and command[name].show}


def options_of(command: App) -> set[str]:
    """The options of a command and of all commands beneath it."""
    parts = parts_of(command)
    if parts:
        return set.union(*map(options_of, parts.values()))
    return {name for argument in command.assemble_argument_collection() for name in argument.names}


COMMANDS = parts_of(make_app())


def test_the_table_has_a_row_for_each_command() -> None:
    assert sorted(re.findall(r"^\| `datasave ([a-z-]+)", TABLE, re.MULTILINE)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if parts_of(command)])
def test_a_row_lists_the_commands_beneath(name: str) -> None:
    (row,) = [line for line in TABLE.splitlines() if line.startswith(f"| `datasave {name}`")]
    assert set(re.findall(r"`([a-z]+)`", row)) == set(parts_of(COMMANDS[name]))


def test_options_in_examples_are_there() -> None:
    used = re.findall(r"datasave ([a-z-]+)((?:[^`|#\n]|\\\n)*)", README)
    found = [(name, option) for name, rest in used for option in re.findall(r"--[a-z][a-z-]*", rest)]
    assert len(found) > 30
    assert [one for one in found if one[1] not in options_of(COMMANDS[one[0]])] == []


def test_the_unit_of_a_fleet_s_server_has_our_settings() -> None:
    """It is started by Prefect's own command, which knows nothing of them."""
    unit = README[README.index("## Many offices") :].partition("ExecStart=")[0]
    given = dict(re.findall(r"\b([A-Z][A-Z0-9_]+)=(\S+)", unit))
    # A server that is always there is never a temporary one.
    wanted = {
        name: value
        for name, value in SETTINGS.items()
        if name.startswith(("PREFECT_SERVER_", "DO_NOT_TRACK")) and "EPHEMERAL" not in name
    }
    assert {name: given.get(name) for name in wanted} == wanted
