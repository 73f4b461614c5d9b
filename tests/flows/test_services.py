"""`datasave serve --install`: shows first, writes with --apply, and takes it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.flows.site import Site

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts stand in for systemd")


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account's home; `systemctl` and `loginctl` only note what they are asked."""
    home = tmp_path / "home"
    programs = home / "bin"
    programs.mkdir(parents=True)
    for name in ("systemctl", "loginctl"):
        script = programs / name
        script.write_text(f'#!/bin/sh\necho {name} "$@" >> {home}/asked\n', "utf-8")
        script.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    return home


def test_install_and_uninstall(site: Site, account: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = account / ".config/systemd/user/datasave-clinic.service"
    for shown in (("--install",), ("--install", "--apply", "--dry-run")):
        assert site.run("serve", *shown) == 0
        out = capsys.readouterr().out
        assert str(unit) in out and "Restart=on-failure" in out and "UMask=0077" in out
        assert "enable --now datasave-clinic.service" in out and "Nothing was changed" in out
        assert not unit.exists() and not (account / "asked").exists()
    assert site.run("serve", "--install", "--apply", "--port", "4711") == 0
    assert '"--port" "4711"' in unit.read_text("utf-8") and str(site.plan) in unit.read_text("utf-8")
    asked = (account / "asked").read_text("utf-8").splitlines()
    assert asked[1:] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now datasave-clinic.service",
    ]
    assert site.run("serve", "--uninstall") == 0
    assert unit.exists()
    assert site.run("serve", "--uninstall", "--apply") == 0
    assert not unit.exists()
    assert "disable --now datasave-clinic.service" in (account / "asked").read_text("utf-8")


def test_a_password_never_goes_into_the_file(
    site: Site, account: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "office:correct-horse")
    assert site.run("serve", "--install", "--apply") == 1
    told = capsys.readouterr()
    assert "does not go into a service's file" in told.err and "api.password" in told.err.replace("\n", "")
    assert "correct-horse" not in told.out + told.err
    assert not (account / ".config").exists()


def test_the_system_refuses(site: Site, account: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusing = account / "bin" / "systemctl"
    refusing.write_text("#!/bin/sh\necho no bus here >&2\nexit 1\n", "utf-8")
    assert site.run("serve", "--install", "--apply") == 1
    told = capsys.readouterr().err
    assert "systemctl --user daemon-reload failed: no bus here" in told and "Traceback" not in told
