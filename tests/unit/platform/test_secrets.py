"""References to secrets: followed, or refused without showing anything."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import SecretError
from tasks.platform.secrets import LARGEST, resolve

SECRET = "hunter2-is-the-secret"
posix_only = pytest.mark.skipif(os.name != "posix", reason="files have mode bits on POSIX only")


def private(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def refusal(reference: str, base: Path) -> SecretError:
    with pytest.raises(SecretError) as caught:
        resolve(reference, base)
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert SECRET not in str(caught.value)
    assert SECRET not in shown.replace(reference, "")
    context = caught.value.__context__
    assert context is None or isinstance(context, OSError | ValueError)
    assert not isinstance(context, UnicodeDecodeError)
    return caught.value


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATASAVE_TEST", SECRET)
    assert resolve("env:DATASAVE_TEST", tmp_path) == SECRET
    monkeypatch.setenv("DATASAVE_TEST", "")
    error = refusal("env:DATASAVE_TEST", tmp_path)
    assert error.message == "the secret env:DATASAVE_TEST is empty or not set"
    monkeypatch.delenv("DATASAVE_TEST")
    assert refusal("env:DATASAVE_TEST", tmp_path).hint.startswith("Set the environment variable")


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"\xef\xbb\xbfhunter2", "hunter2"),
        (b" hunter2 \n\n", " hunter2 \n"),
        ("schlüssel".encode(), "schlüssel"),
        (b"# made by\nAGE-SECRET-KEY-1\n", "# made by\nAGE-SECRET-KEY-1"),
    ],
)
def test_from_a_file(tmp_path: Path, data: bytes, secret: str) -> None:
    path = private(tmp_path / "secret.txt", data)
    assert resolve("file:secret.txt", tmp_path) == secret
    assert resolve(f"file:{path}", tmp_path / "elsewhere") == secret


def test_from_a_file_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    private(tmp_path / "secret.txt", b"hunter2")
    assert resolve("file:~/secret.txt", tmp_path / "elsewhere") == "hunter2"


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o610])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "secret.txt", SECRET.encode(), mode)
    error = refusal("file:secret.txt", tmp_path)
    assert error.message == f"others can read the secret file {path}"
    assert error.hint == f'Run: chmod 600 "{path}"'
    path.chmod(0o400)
    assert resolve("file:secret.txt", tmp_path) == SECRET


def test_files_that_hold_no_secret(tmp_path: Path) -> None:
    private(tmp_path / "binary", SECRET.encode() + b"\xff")
    private(tmp_path / "large", b"x" * (LARGEST + 1))
    private(tmp_path / "empty", b"\n")
    (tmp_path / "folder").mkdir(mode=0o700)
    assert refusal("file:binary", tmp_path).message == "the secret file binary is not UTF-8 text"
    assert refusal("file:large", tmp_path).message == "the secret file large is larger than 65536 bytes"
    assert refusal("file:empty", tmp_path).message == "the secret file:empty is empty or not set"
    assert refusal("file:missing", tmp_path).message.startswith(
        "cannot read the secret file missing: No such"
    )
    assert refusal("file:folder", tmp_path).message.startswith("cannot read the secret file folder: ")


@pytest.mark.skipif(os.name != "posix", reason="Windows guesses other people's home folders")
def test_a_home_that_nobody_has(tmp_path: Path) -> None:
    assert "home folder" in refusal("file:~nosuchuser/secret", tmp_path).message


def test_from_a_prefect_server(tmp_path: Path) -> None:
    asked: list[str] = []

    def lookup(name: str) -> str:
        asked.append(name)
        return SECRET if name == "smtp-password" else ""

    assert resolve("prefect:smtp-password", tmp_path, lookup) == SECRET
    assert asked == ["smtp-password"]
    with pytest.raises(SecretError, match="the secret prefect:other is empty or not set"):
        resolve("prefect:other", tmp_path, lookup)
    assert "needs a Prefect server" in refusal("prefect:smtp-password", tmp_path).message


@pytest.mark.parametrize(
    "text",
    [SECRET, "", "env:", "env:A-B", "ENV:A", f"vault:{SECRET}", f"file:{SECRET}\n", "prefect:a b", " env:A"],
)
def test_a_bare_text_is_refused(tmp_path: Path, text: str) -> None:
    error = refusal(text, tmp_path)
    assert error.message == "what stands for a secret is not a reference to one"
    assert error.hint == "Write secrets as env:, file: or prefect: references, never in the plan."


@given(st.text())
def test_only_secret_errors_escape(text: str) -> None:
    for reference in (text, f"file:no-such-folder/{text}", f"prefect:{text}"):
        with pytest.raises(SecretError):
            resolve(reference, Path("no-such-folder"))


FORKED = """
import os, sys
import prefect  # what takes time; our own modules are imported in each child anew
for flow in sys.argv[1:]:
    if not os.fork():
        __import__(f"flows.{flow}")
        from tasks.platform import secrets
        os._exit(0 if secrets._lookups else 1)
    assert os.wait()[1] == 0, flow
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_every_flow_finds_secrets_of_the_prefect_server() -> None:
    """A served run begins in a process that knows its own flow alone."""
    flows = [path.stem for path in (Path(__file__).parents[3] / "flows").glob("*.py")]
    flows = [name for name in flows if name not in ("__init__", "ending", "report")]
    assert len(flows) >= 9
    done = subprocess.run([sys.executable, "-c", FORKED, *flows], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
