"""Every program of the stand-in begins here: ``python program.py NAME INSTALL-FOLDER ARGUMENT…``."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

# Run by itself, with nothing but the standard library.
sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.standins.sqlanywhere.codes import COMMUNICATIONS, USER_BREAK, Failure
from tests.standins.sqlanywhere.site import Site


def main(name: str, home: Path, arguments: list[str]) -> int:
    """Run one program, with the fault that is set for it; the exit code."""
    site = Site.of(home)
    program = re.sub(r"\d+$", "", name)
    if name == "odbc":
        from tests.standins.sqlanywhere import odbc

        return odbc.main(site)
    fault = site.take_fault(program)
    site.event(
        "call",
        program=name,
        version=site.version,
        arguments=arguments,
        folder=str(Path.cwd()),
        environment=sorted(os.environ),
        fault=fault,
    )
    code = _run(site, program, list(arguments), fault)
    code = fault.get("map", {}).get(str(code), code)
    site.event("exit", program=name, code=code)
    return code


def _run(site: Site, program: str, arguments: list[str], fault: dict[str, Any]) -> int:
    if "message" in fault:
        print(fault["message"], flush=True)
        print(fault["message"], file=sys.stderr, flush=True)
    time.sleep(fault.get("delay", 0))
    if fault.get("hang"):
        if fault.get("stubborn"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    if "exit" in fault:
        return int(fault["exit"])
    try:
        if program in ("dbeng", "dbsrv"):
            from tests.standins.sqlanywhere import engine

            code = engine.main(site, program, arguments, fault)
        else:
            from tests.standins.sqlanywhere import tools

            code = tools.PROGRAMS[program](site, arguments, fault)
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return USER_BREAK
    except BrokenPipeError:
        return COMMUNICATIONS
    return int(fault.get("exit_late", code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
