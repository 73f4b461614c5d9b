"""Runs a program that must not outlive the one who asked for it: ``python leash.py HOW SIGNAL PROGRAM …``.

Its standard input is a pipe that the asking process holds open. However that process ends, kill -9
included, the system closes the pipe, and the program is ended: first by SIGNAL, after ten seconds by
force. Without this a killed run would leave a database engine behind that holds patients' data open.
HOW is ``all``, and whatever the program started ends with it; ``group``, the same for one that waits for
another and ignores signals, as unshare does, so that all get the SIGNAL; or ``leave``, for one that starts
a service.
Runs by itself, with nothing but the standard library, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

PATIENCE = 10.0
NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Run the program until it ends or the pipe closes; returns its exit status."""
    how, name, *command = arguments
    stop = getattr(signal, name, signal.SIGTERM)
    # Ctrl-C in a terminal reaches us too; who asked for the program decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        apart = sys.platform != "win32"
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=apart)
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        return NOT_STARTED
    threading.Thread(target=_end_with_pipe, args=(child, stop, how == "group"), daemon=True).start()
    code = child.wait()
    if how != "leave":
        _signal(child, getattr(signal, "SIGKILL", signal.SIGTERM))
    return code if code >= 0 else 128 - code


def _end_with_pipe(child: subprocess.Popen[bytes], stop: signal.Signals, group: bool) -> None:
    with suppress(OSError):
        while os.read(0, 512):
            pass
    _signal(child, stop, group)
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        _signal(child, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal(child: subprocess.Popen[bytes], number: signal.Signals, group: bool = False) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            child.terminate()  # Windows knows no gentler way for a program without a window
        elif group or number == signal.SIGKILL:
            os.killpg(child.pid, number)  # with all it started
        else:
            child.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
