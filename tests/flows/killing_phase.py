"""``datasave`` killed just after one step of a restore in place was signed off.

Usage: ``python -m tests.flows.killing_phase PHASE COMMAND …``.
"""

from __future__ import annotations

import os
import signal
import sys

from deployments.cli import app as cli
from tasks.recovery.in_place.record import Journal, JournalFile, Phase

sign = JournalFile.sign


def sign_and_die(self: JournalFile, journal: Journal, phase: Phase, **facts: object) -> Journal:
    signed = sign(self, journal, phase, **facts)
    if phase == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return signed


if __name__ == "__main__":
    fatal = sys.argv.pop(1)
    JournalFile.sign = sign_and_die  # type: ignore[method-assign]
    cli.entry()
