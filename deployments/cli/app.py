"""The command line: ``datasave COMMAND``.

Each command's docstring is its help page. A command's module is imported when it is called: importing all
of them takes most of a second. A command raises; ``main`` turns what it raised into one line, a hint and an
exit status: 0 for full success, 1 for a failed or incomplete job, 2 for a command that was not understood,
130 when interrupted.
"""

from __future__ import annotations

import ast
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from io import TextIOWrapper
from pathlib import Path

from cyclopts import App, CycloptsError, Group

from deployments.cli.options import lone_plan
from tasks.errors import DatasaveError

HELP_FLAGS = frozenset({"--help", "-h"})

# Word -> "module:function" in this package, or the commands beneath that word.
Commands = Mapping[str, "str | Commands"]
# In the order in which they are needed; the README's table of commands follows it.
COMMANDS: Mapping[str, Commands] = {
    "To begin with": {
        "help": "help:show_help",
        "init": "init:init",
        "target": {"init": "target:init"},
        "doctor": "doctor:doctor",
        "demo": "demo:demo",
        "keys": {
            "new": "keys:new_key",
            "protect": "keys:protect",
            "sheet": "keys:sheet",
            "split": "keys:split",
            "join": "keys:join",
            "fingerprint": "keys:show_fingerprint",
            "machine": "keys:machine",
            "opens": "keys:opens",
            "rewrap": "keys:rewrap",
            "prove": "keys:prove",
            "status": "keys:key_status",
        },
    },
    "Every day": {
        "backup": "run:backup",
        "status": "status:status",
        "list": "list:list_backups",
        "retry": "run:retry",
        "deliver": "run:deliver",
        "notify": "notify:notify",
        "media": {"init": "media:init", "list": "media:list_media", "which": "media:which"},
    },
    "To be sure of it": {
        "drill": "run:drill",
        "drills": "drills:drills",
        "audit": "run:audit",
        "posture": "posture:posture",
        "journal": "journal:journal",
        "self-check": "self_check:self_check",
    },
    "When data is lost": {
        "runbook": "runbook:runbook",
        "restore": "restore:restore",
        "rescue": "rescue:rescue",
    },
    "Now and then": {
        "prune": "prune:prune",
        "hold": "hold:hold",
        "release": "hold:release",
        "repair": "repair:repair",
        "fetch": "fetch:fetch",
        "check": "run:check",
        "copy": "run:copy",
        "log": "run:log",
        "restart": "run:restart",
    },
    "Runs that start by themselves": {
        "serve": "serve:serve",
        "deploy": "deploy:deploy",
        "worker": "serve:worker",
        "fleet": {"register": "fleet:register", "status": "fleet:status"},
    },
}
ABOUT = {
    "target": "The places that receive backups.",
    "keys": "Keys of holders: the people and safes that can open backups.",
    "media": "Removable media that take turns.",
    "fleet": "Many offices on one Prefect server.",
}


@cache
def make_app(*, described: bool = True) -> App:
    """All commands; ``described``: with their help, which the lists of commands show the first line of."""
    app = App(
        name="datasave",
        help="Back up a running database, prove that the backup can be restored, keep enough copies.",
        version=_version,
        version_flags=["--version"],
        help_format="markdown",
        suppress_keyboard_interrupt=False,
    )
    for heading, commands in COMMANDS.items():
        _add(app, commands, Group.create_ordered(heading), described=described)
    # The word that `target init` had at first: scripts and printed instructions have it.
    app.command(f"{__package__}.target:init", name="adopt", show=False)
    return app


def _version() -> str:
    from tasks.health.installation import program_version

    return program_version()


def _add(app: App, commands: Commands, group: Group | None, *, described: bool) -> None:
    for word, command in commands.items():
        if isinstance(command, str):
            text = _docstring(command) if described else None
            app.command(f"{__package__}.{command}", name=word, group=group, help=text)
        else:
            beneath = App(name=word, help=ABOUT[word], group=group)
            _add(beneath, command, None, described=described)
            app.command(beneath)


def _docstring(command: str) -> str | None:
    """A command's docstring, read from its file and not imported."""
    module, _, name = command.partition(":")
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text("utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.get_docstring(function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A word alone may be one that has commands beneath it, and lists them.
    app = make_app(described=len(words) < 2 or not HELP_FLAGS.isdisjoint(words))
    try:
        with lone_plan():
            result = app(
                words,
                exit_on_error=False,
                verbose=False,
                print_error=False,
                result_action="return_value",
            )
    except DatasaveError as error:
        return _failed(1, error.message, error.hint)
    except OSError as error:
        return _failed(1, f"the system refused: {error}", "Check that file, its disk and your rights.")
    except CycloptsError as error:
        # Its own box around the message breaks lines; ours is one line, as for any other failure.
        hint = "`datasave --help` lists the commands, `datasave COMMAND --help` shows what each takes."
        return _failed(2, " ".join(str(error).split()), hint)
    except KeyboardInterrupt:
        hint = "Nothing readable stays in staging, no half backup counts as one. To go on: `datasave retry`."
        return _failed(130, "interrupted", hint)
    return result if isinstance(result, int) else 0


def _failed(status: int, message: str, hint: str) -> int:
    from deployments.cli.screen import bad

    bad(DatasaveError(message, hint=hint))
    return status


def entry() -> None:
    """Entry point of the installed program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Into a file or a mail Windows writes a code page without ✓ and →: a "?" beats a traceback.
            stream.reconfigure(errors="replace")
    # What systemd, a shutdown or a task manager sends: to be cleaned up after like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
