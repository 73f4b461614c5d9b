"""Memory stays small whatever the size of the file: measured on processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from tasks.age.keys import X25519Identity

SIZE = 1 << 28
LIMIT_KIB = 100 * 1024

# Not getrusage: its peak begins with that of the process that started this one.
PEAK = """
sys.stdout.flush()
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")), file=sys.stderr)
"""
SEAL = (
    """
import sys
from pathlib import Path
from tasks.age.file import encrypt
from tasks.age.keys import parse_recipient
encrypt(sys.stdin.buffer, sys.stdout.buffer, [parse_recipient(sys.argv[1])])
"""
    + PEAK
)
OPEN = (
    """
import sys
from pathlib import Path
from tasks.age.file import decrypt
from tasks.age.keys import parse_identity_file
decrypt(sys.stdin.buffer, sys.stdout.buffer, parse_identity_file(Path(sys.argv[1]).read_text()))
"""
    + PEAK
)


def start(script: str, argument: str, source: int | IO[bytes] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, argument],
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_much_through_pipes_takes_less_than_100_mib(tmp_path: Path) -> None:
    identity = X25519Identity.generate()
    key = tmp_path / "key.txt"
    key.write_text(identity.secret_text())
    with (
        start(SEAL, str(identity.recipient()), subprocess.PIPE) as sealer,
        start(OPEN, str(key), sealer.stdout) as opener,
    ):
        assert sealer.stdin
        assert sealer.stderr
        assert sealer.stdout
        assert opener.stdout
        assert opener.stderr
        # Only the opener holds it now: should that die, the sealer hears of it and ends too.
        sealer.stdout.close()
        feed = sealer.stdin

        def write() -> None:
            with feed:
                for _ in range(SIZE >> 20):
                    feed.write(bytes(1 << 20))

        writer = threading.Thread(target=write)
        writer.start()
        count = 0
        while data := opener.stdout.read(1 << 20):
            count += len(data)
        writer.join()
        peaks = [int(sealer.stderr.read()), int(opener.stderr.read())]
        assert (sealer.wait(), opener.wait(), count) == (0, 0, SIZE)
    assert max(peaks) < LIMIT_KIB, f"peak memory in KiB: {peaks}"
