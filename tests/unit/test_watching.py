"""The watcher that other tests rely on sees what it is there to see."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

from tests.watching import ArgumentsWatcher, files_with

SLEEP = "import time; time.sleep(0.3)"


def test_a_secret_among_arguments_is_seen() -> None:
    with ArgumentsWatcher("hunter2") as watcher:
        subprocess.run([sys.executable, "-c", SLEEP, "--password=hunter2"], check=True)
    [leak] = watcher.leaks
    assert leak.startswith(sys.executable)
    assert leak.endswith("--password=hunter2")
    assert watcher.rounds > 2


def test_a_secret_in_the_environment_is_none_of_its_business() -> None:
    with ArgumentsWatcher("hunter2") as watcher:
        subprocess.run([sys.executable, "-c", SLEEP, "marked-program"], check=True, env={"PWD": "hunter2"})
    assert watcher.leaks == set()
    assert "marked-program" in watcher.programs


def test_secrets_in_files_are_found_in_any_form(tmp_path: Path) -> None:
    secret = "correct horse battery"
    (tmp_path / "plain").write_text(f"password: {secret}\n")
    (tmp_path / "wide").write_text(secret, "utf-16-le")
    (tmp_path / "coded").write_bytes(base64.b64encode(f"ab{secret}cd".encode()))
    (tmp_path / "clean").write_text("nothing here")
    assert [path.name for path in files_with(secret, tmp_path)] == ["coded", "plain", "wide"]
