"""The Prefect server that `serve` starts: where it may listen, what it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployments.serving.environment import SETTINGS, given_password_file, prepare
from deployments.serving.server import PrefectServer
from tasks.errors import ProgramError, SecretError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    # Set first, so that what is set besides is undone after the test.
    monkeypatch.setenv("PREFECT_API_URL", "")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    monkeypatch.delenv("PREFECT_API_AUTH_STRING")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("192.0.2.7", "192.0.2.7")],
)
def test_where_a_server_is_reached(host: str, reached: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "office:secret")
    assert PrefectServer(host, 4200, Path("plan.yaml")).url == f"http://{reached}:4200/api"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_others_reach_no_server_without_a_password(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("", None):
        if setting is None:
            monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING")
        else:
            monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", setting)
        with pytest.raises(ProgramError, match="can be reached by others"):
            PrefectServer(host, 4200, Path("plan.yaml"))
        PrefectServer("127.0.0.1", 4200, Path("plan.yaml"))


def test_a_host_that_is_no_address() -> None:
    with pytest.raises(ProgramError, match="is not an address"):
        PrefectServer("everywhere", 4200, Path("plan.yaml"))


def test_telemetry_is_off() -> None:
    assert SETTINGS["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false" and SETTINGS["DO_NOT_TRACK"] == "1"
    assert SETTINGS["PREFECT_SERVER_UI_V2_ENABLED"] == "false"


def test_the_password_for_a_server_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    (home / "server.password").write_text("office:ours", "utf-8")
    prepare(home / "plan.yaml")
    assert "PREFECT_API_AUTH_STRING" not in os.environ, "our own server's password is not for others"
    given = given_password_file(home)
    given.write_text("site-7:theirs\n", "utf-8")
    given.chmod(0o644)
    with pytest.raises(SecretError, match="others can read"):
        prepare(home / "plan.yaml")
    given.chmod(0o600)
    prepare(home / "plan.yaml")
    assert os.environ["PREFECT_API_AUTH_STRING"] == "site-7:theirs"


def test_a_server_address_that_is_empty_is_none_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that a command starts for itself asks for a password then, too."""
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "")
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING")
    prepare(home / "plan.yaml")
    assert os.environ["PREFECT_SERVER_API_AUTH_STRING"].startswith("office:")
    assert os.environ["PREFECT_API_AUTH_STRING"] == os.environ["PREFECT_SERVER_API_AUTH_STRING"]


@pytest.mark.parametrize("url", ["http://elsewhere.example:4200/api", "http://192.0.2.7/api", "ftp://x/api"])
def test_s8_no_password_crosses_a_network_in_the_clear(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ProgramError, match="without encryption"):
        prepare(home / "clinic.yaml")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4200/api", "http://[::1]:4200/api", "http://localhost/api"]
)
def test_s8_this_machine_is_reached_past_every_proxy(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A proxy that is set for the web would be given the password with each request."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    prepare(home / "clinic.yaml")
    assert os.environ["NO_PROXY"].split(",") == ["intranet.example", "localhost", "127.0.0.1", "::1"]
