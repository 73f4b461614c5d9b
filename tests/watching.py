"""Watches the arguments of every process of this machine, as any account here could.

    python -m tests.watching < secrets

It runs as a process of its own, so that what it watches is not slowed down. It takes the secrets by standard
input, one a line, then an empty line, and tells at the end of input what it saw.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
PROC = Path("/proc")


class ArgumentsWatcher:
    """While its block runs: which programs ran, and which of them had a secret in their arguments.

    ``programs`` proves that it looked: a test names those that it must have seen.
    """

    def __init__(self, *secrets: str) -> None:
        assert secrets
        assert all(secret and "\n" not in secret for secret in secrets)
        self._secrets = secrets
        self.programs: set[str] = set()
        self.leaks: set[str] = set()
        self.rounds = 0

    def __enter__(self) -> ArgumentsWatcher:
        command = [sys.executable, "-m", "tests.watching"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n".join([*self._secrets, "", ""]))
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "watching\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        told, _ = self._process.communicate()
        seen = json.loads(told)
        self.programs, self.leaks, self.rounds = set(seen["programs"]), set(seen["leaks"]), seen["rounds"]


class _Watch:
    def __init__(self, secrets: list[bytes]) -> None:
        self.secrets = secrets
        self.programs: set[str] = set()
        self.leaks: set[str] = set()
        self.known: dict[str, bytes] = {}

    def look(self) -> None:
        """Read the arguments of processes that are new, or that have become another program since."""
        there = {entry.name for entry in PROC.iterdir() if entry.name.isdigit()}
        self.known = {pid: line for pid, line in self.known.items() if pid in there}
        for pid in there:
            try:
                line = (PROC / pid / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if self.known.get(pid) != line:
                self.known[pid] = line
                self.judge(line)

    def judge(self, line: bytes) -> None:
        words = line.split(b"\0")
        self.programs.update(Path(word.decode("utf-8", "replace")).name for word in words[:12])
        if any(secret in line for secret in self.secrets):
            self.leaks.add(line.replace(b"\0", b" ").decode("utf-8", "replace").strip())


def main() -> None:
    """Watch until the input ends."""
    watch = _Watch([line.rstrip("\n").encode() for line in iter(sys.stdin.readline, "\n")])
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    rounds = 0
    watch.look()
    print("watching", flush=True)
    while not over.is_set():
        watch.look()
        rounds += 1
        time.sleep(0.004)
    print(json.dumps({"programs": sorted(watch.programs), "leaks": sorted(watch.leaks), "rounds": rounds}))


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Files below ``folders`` that hold ``secret`` as plain text, UTF-16 or in Base64."""
    forms = {secret.encode(), secret.encode("utf-16-le")}
    # Base64 shifts with what stands before it: the middle of each of the three forms is the same anywhere.
    forms |= {base64.b64encode(b"x" * n + secret.encode())[4:-4] for n in range(3)}
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file() and any(form in path.read_bytes() for form in forms):
                found.append(path)
    return found


if __name__ == "__main__":
    main()
