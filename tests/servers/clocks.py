"""Clocks that tests set for another program: Debian's package faketime, with the offset in a file."""

from __future__ import annotations

from pathlib import Path


def faked(clock: Path) -> dict[str, str]:
    """Environment of a process that goes by the clock in that file."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "not installed: libfaketime; run tests/machine.sh tests"
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        # Waits and timeouts go by this one, and must not see the jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(clock: Path, ahead: float) -> None:
    """Make that clock run so many seconds ahead of the machine's, from its next reading on."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{ahead:+.0f}s\n", "ascii")
    fresh.replace(clock)
