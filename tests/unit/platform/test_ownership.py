"""What another account could change is refused as keys are: plans, folders above them, private folders."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.context import PlanContext
from tasks.errors import DatasaveError, PlanError, SecretError, StateError
from tasks.platform.files import private_folder
from tasks.platform.ownership import acting_for, replaceable
from tasks.platform.secrets import resolve
from tests.flows.site import Site

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "office").mkdir()
    return Site.make(tmp_path / "office", ["nas"])


def given_away(site: Site) -> None:
    os.chown(site.plan, NOBODY, NOBODY)


def open_to_the_group(site: Site) -> None:
    site.plan.chmod(0o660)


def open_to_all(site: Site) -> None:
    site.plan.chmod(0o666)


def folder_of_another(site: Site) -> None:
    os.chown(site.root, NOBODY, NOBODY)


def folder_open_to_all(site: Site) -> None:
    site.root.chmod(0o777)


def folder_open_to_a_group(site: Site) -> None:
    os.chown(site.root, 0, 12345)
    site.root.chmod(0o770)


def behind_a_link(site: Site) -> None:
    """The plan is a link, the folder of its file is everybody's."""
    elsewhere = site.root.parent / "elsewhere"
    elsewhere.mkdir()
    site.plan.rename(elsewhere / "real.yaml")
    site.plan.symlink_to(elsewhere / "real.yaml")
    elsewhere.chmod(0o777)


HARMS = [
    (given_away, "it belongs to"),
    (open_to_the_group, "others can write to it (mode 0660)"),
    (open_to_all, "others can write to it (mode 0666)"),
    (folder_of_another, "a folder that it lies in belongs to"),
    (folder_open_to_all, "others can write to a folder that it lies in (mode 0777)"),
    (folder_open_to_a_group, "others can write to a folder that it lies in (mode 0770)"),
    (behind_a_link, "others can write to a folder that it lies in (mode 0777)"),
]


@needs_root
@pytest.mark.parametrize(("harm", "cause"), HARMS, ids=lambda value: getattr(value, "__name__", None))
def test_s7_a_plan_that_others_can_change_is_refused(
    site: Site, harm: Callable[[Site], None], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(site)
    with pytest.raises(PlanError) as caught:
        PlanContext(site.plan)
    assert cause in caught.value.message and "chown" in caught.value.hint
    for command in (["status"], ["doctor"], ["list"]):
        assert cli.main([*command, "--plan", str(site.plan)]) == 1
    assert cause in " ".join(capsys.readouterr().err.split())


def test_s7_a_sticky_folder_and_one_for_reading_are_fine(site: Site) -> None:
    site.root.chmod(0o1777)
    assert PlanContext(site.plan).plan.name == "clinic"
    site.root.chmod(0o755)
    site.plan.chmod(0o644)
    assert PlanContext(site.plan).plan.name == "clinic"


@needs_root
def test_s7_root_makes_a_service_of_anothers_plan_and_runs_nothing_of_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (site.root, site.plan):
        os.chown(path, NOBODY, NOBODY)
    assert cli.main(["serve", "--install", "--plan", str(site.plan)]) == 0
    assert "User=nobody" in capsys.readouterr().out
    site.plan.chmod(0o666)
    assert cli.main(["serve", "--install", "--plan", str(site.plan)]) == 1
    site.plan.chmod(0o644)
    assert cli.main(["serve", "--plan", str(site.plan)]) == 1


def a_link(path: Path) -> None:
    (path.parent / "theirs").mkdir(mode=0o777)
    path.symlink_to(path.parent / "theirs")


def anothers(path: Path) -> None:
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)


@needs_root
@pytest.mark.parametrize(("make", "cause"), [(a_link, "it is a link"), (anothers, "it belongs to")])
def test_s7_a_private_folder_is_this_accounts_own(
    tmp_path: Path, make: Callable[[Path], None], cause: str
) -> None:
    place = tmp_path / "private"
    make(place)
    before = stat.S_IMODE(place.stat().st_mode)
    with pytest.raises(StateError, match=f"refused the private folder .*: {cause}"):
        private_folder(place)
    assert stat.S_IMODE(place.stat().st_mode) == before, "nothing was changed where a link leads"


@needs_root
@pytest.mark.parametrize("make", [a_link, anothers])
@pytest.mark.parametrize("where", ["prefect", "plans.d/clinic", "plans.d/clinic/staging"])
def test_s7_so_are_the_state_and_prefects_folder(
    site: Site, make: Callable[[Path], None], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments.serving.environment import prepare

    monkeypatch.delenv("PREFECT_HOME", raising=False)
    place = site.root / ".datasave" / where
    shutil.rmtree(site.root / ".datasave", ignore_errors=True)
    place.parent.mkdir(parents=True)
    make(place)
    with pytest.raises(StateError, match=r"refused the private folder|it lies in"):
        prepare(site.plan)
        site.context.machine_key()
        private_folder(site.context.staging)


@needs_root
def test_s7_a_restore_beside_a_trap_is_refused(tmp_path: Path) -> None:
    """In a folder like /tmp anybody can make the place where a restore keeps what is readable."""
    from deployments.cli.recovery import room_beside

    (tmp_path / "theirs").mkdir()
    (tmp_path / ".datasave-restore").symlink_to(tmp_path / "theirs")
    with pytest.raises(StateError, match="it is a link"), room_beside(tmp_path / "restored"):
        pass
    assert list((tmp_path / "theirs").iterdir()) == []


@needs_root
@pytest.mark.parametrize("which", ["machine.key", "password"])
def test_s7_keys_and_secrets_of_another_account_are_refused(site: Site, which: str) -> None:
    site.context.machine_key()
    path = site.context.state / which
    if which == "password":
        path.write_text("secret")
        path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    expected: type[DatasaveError] = SecretError if which == "password" else StateError
    with pytest.raises(expected, match="it belongs to"):
        resolve(f"file:{path}", Path()) if which == "password" else site.context.machine_key()


@needs_root
def test_s7_a_state_folder_below_one_of_others_is_refused(site: Site) -> None:
    shared = site.root.parent / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    site.change_plan(state=str(shared / "state"))
    with pytest.raises(StateError, match="others can write to a folder"):
        PlanContext(site.plan)


def test_s7_who_acts_for_an_account_trusts_that_one(tmp_path: Path) -> None:
    assert replaceable(tmp_path / "plan.yaml") == ""
    with acting_for(tmp_path):
        assert replaceable(tmp_path / "plan.yaml") == ""
