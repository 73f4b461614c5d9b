"""Watches the arguments of every process of this machine, as any account here could."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")


class ArgumentsWatcher:
    """While its block runs: which programs ran, and which of them had a secret in their arguments.

    ``programs`` proves that it looked: a test names those that it must have seen.
    """

    def __init__(self, *secrets: str) -> None:
        assert secrets
        assert all(secrets)
        self._secrets = [secret.encode() for secret in secrets]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.programs: set[str] = set()
        self.leaks: set[str] = set()
        self.rounds = 0

    def __enter__(self) -> ArgumentsWatcher:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._look()
            self.rounds += 1
            time.sleep(0.003)

    def _look(self) -> None:
        for entry in PROC.iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            words = line.split(b"\0")
            self.programs.update(Path(word.decode("utf-8", "replace")).name for word in words[:6])
            if any(secret in line for secret in self._secrets):
                self.leaks.add(words[0].decode("utf-8", "replace"))


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Files below ``folders`` that hold ``secret`` as plain text, UTF-16 or in Base64."""
    import base64

    forms = {secret.encode(), secret.encode("utf-16-le")}
    # Base64 shifts with what stands before it: the middle of each of the three forms is the same anywhere.
    forms |= {base64.b64encode(b"x" * n + secret.encode())[4:-4] for n in range(3)}
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file() and any(form in path.read_bytes() for form in forms):
                found.append(path)
    return found
