"""The command line: ``datasave COMMAND``.

Each command's docstring is its help page. A command raises; ``main`` turns what it raised into one
line, a hint and an exit status: 0 for full success, 1 for a failed or incomplete job, 2 for a
command that was not understood, 130 when interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from cyclopts import App, CycloptsError, Group

from deployments.cli import copy_check as adhoc
from deployments.cli import deploy as deploying
from deployments.cli import drills as drilling
from deployments.cli import fleet, media
from deployments.cli import init as planning
from deployments.cli import keys as keyring
from deployments.cli import keys_opens as holders
from deployments.cli import keys_prove as proving
from deployments.cli import list_status as asking
from deployments.cli import notify as telling
from deployments.cli import posture as posturing
from deployments.cli import prune as pruning
from deployments.cli import restore as worstday
from deployments.cli import run as running
from deployments.cli import runbook as disaster
from deployments.cli import serve as serving
from deployments.cli.demo import demo
from deployments.cli.rescue import rescue
from deployments.cli.screen import bad
from tasks.errors import DatasaveError

app = App(
    name="datasave",
    help="Back up a running database, prove that the backup can be restored, keep enough copies.",
    version_flags=["--version"],
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
# In the order in which they are needed; the README's table of commands follows it.
START = Group.create_ordered("To begin with")
DAILY = Group.create_ordered("Every day")
PROVING = Group.create_ordered("To be sure of it")
WORST_DAY = Group.create_ordered("When data is lost")
NOW_AND_THEN = Group.create_ordered("Now and then")
SERVING = Group.create_ordered("Runs that start by themselves")
COMMANDS = {
    START: (planning.init, planning.adopt, planning.doctor, demo),
    DAILY: (
        running.backup,
        asking.status,
        asking.list_backups,
        running.retry,
        running.deliver,
        telling.notify,
    ),
    PROVING: (running.drill, drilling.drills, running.audit, posturing.posture),
    WORST_DAY: (disaster.runbook, worstday.restore, rescue),
    NOW_AND_THEN: (pruning.prune, adhoc.check, adhoc.copy, running.log, running.restart),
    SERVING: (serving.serve, deploying.deploy, deploying.worker),
}
keys = App(name="keys", help="Keys of holders: the people and safes that can open backups.", group=START)
drives = App(name="media", help="Removable media that take turns.", group=DAILY)
fleets = App(name="fleet", help="Many offices on one Prefect server.", group=SERVING)

for group, commands in COMMANDS.items():
    for command in commands:
        app.command(command, name=command.__name__.split("_")[0], group=group)
keys.command(keyring.new_key, name="new")
keys.command(keyring.protect, name="protect")
keys.command(keyring.sheet, name="sheet")
keys.command(keyring.split, name="split")
keys.command(keyring.join, name="join")
keys.command(holders.opens, name="opens")
keys.command(holders.rewrap, name="rewrap")
keys.command(proving.prove, name="prove")
keys.command(proving.key_status, name="status")
drives.command(media.init, name="init")
drives.command(media.list_media, name="list")
drives.command(media.which, name="which")
app.command(keys)
app.command(drives)
fleets.command(fleet.register, name="register")
fleets.command(fleet.status, name="status")
app.command(fleets)


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
