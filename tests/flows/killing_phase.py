"""``datasave`` killed just after one step of a restore in place was noted.

Usage: ``python -m tests.flows.killing_phase PHASE COMMAND …``.
"""

from __future__ import annotations

import os
import signal
import sys

from deployments.cli import app as cli
from tasks.recovery.in_place.record import InPlaceRecord, Phase, RecordFile

note = RecordFile.note


def main() -> None:
    fatal = sys.argv.pop(1)

    def note_and_die(self: RecordFile, record: InPlaceRecord, phase: Phase, **facts: object) -> InPlaceRecord:
        noted = note(self, record, phase, **facts)
        if phase == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return noted

    RecordFile.note = note_and_die  # type: ignore[method-assign]
    cli.entry()


if __name__ == "__main__":
    main()
