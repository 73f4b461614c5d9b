"""What commands answer where something is not as it should be: the cause, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from deployments.serving import server as prefect_server
from deployments.serving.environment import password_file, prepare
from tasks.age.keys import parse_recipient
from tasks.errors import KeyFormatError, PlanError, StateError
from tasks.manifests.manifest import manifest_name, to_json
from tasks.plan.load import check_plan
from tests import mounts
from tests.benchmarks import fleet, scratch_folder
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.manifests.shelves import SEALED, TAKEN, signed
from tests.unit.plan.material import REGISTERED, good

Captured = pytest.CaptureFixture[str]

SSH = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path, ["nas"])


def answer(captured: Captured) -> str:
    """One line with a cross, and at most its hint below."""
    said = captured.readouterr().err
    lines = said.splitlines()
    assert lines and lines[0].startswith("✗ "), said
    assert all(line.startswith("  → ") for line in lines[1:]), said
    return said


@pytest.mark.parametrize("port", ["0", "99999", "-1"])
def test_d_serve_takes_no_port_that_there_is_not(site: Site, capsys: Captured, port: str) -> None:
    capsys.readouterr()
    assert site.run("serve", "--port", port) == 2
    assert "--port" in answer(capsys)


def utf16(site: Site) -> bytes:
    """As PowerShell's > writes it."""
    return site.keys[0].read_text().encode("utf-16")


@pytest.mark.parametrize(
    ("content", "cause", "advice"),
    [
        (lambda _: SSH.encode(), "it is an SSH key", "datasave keys new"),
        (lambda _: b"ssh-ed25519 AAAAC3NzaC1lZDI1 me\n", "it is an SSH key", "datasave keys new"),
        (lambda _: b"AGE-PLUGIN-YUBIKEY-1QQQQ\n", "a key for a plugin of age", "datasave keys new"),
        (lambda _: b"-----BEGIN RSA PRIVATE KEY-----\n", "a key of another sort", "datasave keys new"),
        (lambda _: f"age1{'q' * 58}\n".encode(), "the public half of a key", "datasave keys new"),
        (lambda site: site.plan.read_bytes(), "not a secret age key", "datasave keys new"),
        (utf16, "it is UTF-16 text", "as UTF-8"),
        (lambda _: b"AGE-SECRET-KEY-1QQQQQQ\n", "check characters", "A character was lost"),
    ],
)
def test_d_a_file_that_is_no_identity_is_told_from_a_damaged_one(
    site: Site, capsys: Captured, content: Callable[[Site], bytes], cause: str, advice: str
) -> None:
    file = site.root / "key.txt"
    file.write_bytes(content(site))
    file.chmod(0o600)
    capsys.readouterr()
    assert site.run("restore", "--identity", str(file), "--to", str(site.root / "new")) == 1
    said = answer(capsys)
    assert cause in said and advice in said
    assert ("A character was lost" in said) == (advice == "A character was lost")


@pytest.mark.parametrize("key", ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "ssh-rsa AAAA", "ecdsa-sha2-nistp256 A"])
def test_d_an_ssh_key_is_no_recipient(tmp_path: Path, key: str) -> None:
    with pytest.raises(KeyFormatError, match="it is an SSH key") as caught:
        parse_recipient(key)
    assert "lost" not in caught.value.hint
    plan = good()
    plan["holders"][0]["recipient"] = key
    del plan["targets"][2]
    with pytest.raises(PlanError, match=r"holders\[0\]\.recipient: is an SSH key"):
        check_plan(yaml.safe_dump(plan), "plan", tmp_path, REGISTERED)


def test_d_a_plan_and_a_secret_in_utf_16_say_how_to_save_them(site: Site, capsys: Captured) -> None:
    site.plan.write_bytes(site.plan.read_text().encode("utf-16"))
    capsys.readouterr()
    assert site.run("list") == 1
    said = answer(capsys)
    assert "it is not UTF-8 text" in said and "Set-Content -Encoding utf8" in said


def stocked(site: Site) -> Site:
    """Four backups of clinic, taken by another machine."""
    with site.context.target("nas") as target:
        for number in range(1, 5):
            manifest = signed(number, TAKEN + timedelta(days=number))
            put(target, manifest.sealed_name, SEALED)
            put(target, manifest_name(manifest.sealed_name.removesuffix(".tar.zst.age")), to_json(manifest))
    return site


def test_d_a_plan_that_was_renamed_is_told_whose_backups_lie_there(site: Site, capsys: Captured) -> None:
    stocked(site).change_plan(name="office")
    capsys.readouterr()
    assert site.run("list") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nas: no backups" in said
    assert "backups of clinic lie there as well, the newest #4" in said and "a name it had" in said


def test_d_a_new_machine_with_the_old_plan_is_told_the_way_out(site: Site, capsys: Captured) -> None:
    stocked(site)
    capsys.readouterr()
    assert site.run("list") == 0
    assert "under `signers:` in the plan" in " ".join(capsys.readouterr().out.split())


def test_d_a_state_folder_that_is_not_ours_says_that_a_name_will_do(site: Site, capsys: Captured) -> None:
    (site.root / ".datasave" / "plans.d" / "taken").mkdir(parents=True)
    (site.root / ".datasave" / "plans.d" / "taken" / "theirs").touch()
    site.change_plan(name="taken")
    capsys.readouterr()
    assert site.run("list") == 1
    said = answer(capsys)
    assert "holds other things" in said and "another name" in said


def test_d_a_full_plan_folder_is_named_and_not_the_server_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with mounts.tmpfs(tmp_path / "plans", 1) as folder:
        home = folder / "prefect"
        home.mkdir(mode=0o700)
        monkeypatch.setenv("PREFECT_HOME", str(home))
        said = prefect_server._not_started("the temporary Prefect server did not start", "Try again.")
        assert "No space left on device" in said.message and str(home) in said.message
        assert "Free some space" in said.hint and "Try again" not in said.hint
        assert list(home.iterdir()) == []
        (folder / "filler").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
        with pytest.raises(StateError, match="No space left on device") as caught:
            prepare(folder / "clinic.yaml")
        assert "Free some space" in caught.value.hint
        assert not password_file(home).exists(), "no server ever stands open with an empty password"
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    roomy = prefect_server._not_started("the temporary Prefect server did not start", "Try again.")
    assert roomy.hint == "Try again."


def test_d_a_measurement_names_the_scratch_folder_that_is_not_there(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fleet", "--folder", str(tmp_path / "nowhere")])
    assert scratch_folder(str(tmp_path)) == tmp_path
    with pytest.raises(SystemExit):
        fleet.main()
    assert "there is no folder" in capsys.readouterr().err
