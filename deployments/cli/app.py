"""The command line: ``datasave COMMAND``.

Each command's docstring is its help page. A command raises; ``main`` turns what it raised into one
line, a hint and an exit status: 0 for full success, 1 for a failed or incomplete job, 2 for a
command that was not understood, 130 when interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper

from cyclopts import App, CycloptsError, Group

from deployments.cli import fleet, keys, media, run, serve, target
from deployments.cli.demo import demo
from deployments.cli.deploy import deploy
from deployments.cli.doctor import doctor
from deployments.cli.drills import drills
from deployments.cli.init import init
from deployments.cli.list import list_backups
from deployments.cli.notify import notify
from deployments.cli.posture import posture
from deployments.cli.prune import prune
from deployments.cli.rescue import rescue
from deployments.cli.restore import restore
from deployments.cli.runbook import runbook
from deployments.cli.screen import bad
from deployments.cli.status import status
from tasks.errors import DatasaveError

Command = Callable[..., int]

app = App(
    name="datasave",
    help="Back up a running database, prove that the backup can be restored, keep enough copies.",
    version_flags=["--version"],
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)


def _group(name: str, help: str, commands: Mapping[str, Command]) -> App:
    """A command that has commands beneath it."""
    made = App(name=name, help=help)
    for word, command in commands.items():
        made.command(command, name=word)
    return made


TARGET = _group("target", "The places that receive backups.", {"init": target.init})
KEYS = _group(
    "keys",
    "Keys of holders: the people and safes that can open backups.",
    {
        "new": keys.new_key,
        "protect": keys.protect,
        "sheet": keys.sheet,
        "split": keys.split,
        "join": keys.join,
        "opens": keys.opens,
        "rewrap": keys.rewrap,
        "prove": keys.prove,
        "status": keys.key_status,
    },
)
MEDIA = _group(
    "media",
    "Removable media that take turns.",
    {"init": media.init, "list": media.list_media, "which": media.which},
)
FLEET = _group(
    "fleet", "Many offices on one Prefect server.", {"register": fleet.register, "status": fleet.status}
)
# In the order in which they are needed; the README's table of commands follows it.
COMMANDS: Mapping[str, Sequence[App | Command]] = {
    "To begin with": (init, TARGET, doctor, demo, KEYS),
    "Every day": (run.backup, status, list_backups, run.retry, run.deliver, notify, MEDIA),
    "To be sure of it": (run.drill, drills, run.audit, posture),
    "When data is lost": (runbook, restore, rescue),
    "Now and then": (prune, run.check, run.copy, run.log, run.restart),
    "Runs that start by themselves": (serve.serve, deploy, serve.worker, FLEET),
}
for heading, commands in COMMANDS.items():
    group = Group.create_ordered(heading)
    for command in commands:
        if isinstance(command, App):
            command.group = (group,)
            app.command(command)
        else:
            app.command(command, name=command.__name__.split("_")[0], group=group)
# The word that `target init` had at first: scripts and printed instructions have it.
app.command(target.init, name="adopt", show=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        result = app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            verbose=False,
            print_error=False,
            result_action="return_value",
        )
    except DatasaveError as error:
        bad(error)
        return 1
    except OSError as error:
        bad(DatasaveError(f"the system refused: {error}", hint="Check that file, its disk and your rights."))
        return 1
    except CycloptsError as error:
        # Its own box around the message breaks lines; ours is one line, as for any other failure.
        hint = "`datasave --help` lists the commands, `datasave COMMAND --help` shows what each takes."
        bad(DatasaveError(" ".join(str(error).split()), hint=hint))
        return 2
    except KeyboardInterrupt:
        hint = "Nothing readable stays in staging, no half backup counts as one. To go on: `datasave retry`."
        bad(DatasaveError("interrupted", hint=hint))
        return 130
    return result if isinstance(result, int) else 0


def entry() -> None:
    """Entry point of the installed program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Into a file or a mail Windows writes a code page without ✓ and →: a "?" beats a traceback.
            stream.reconfigure(errors="replace")
    # What systemd, a shutdown or a task manager sends: to be cleaned up after like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
