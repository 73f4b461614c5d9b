"""Holders come and go: each of them alone brings it all back, one who left cannot open what is new."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.cli import app as cli
from deployments.cli import screen
from tasks.age.keys import X25519Identity
from tasks.backup.retain import remove_backup
from tasks.errors import TargetLocked
from tasks.health.drills import look
from tasks.keys import rewrap
from tasks.platform.files import create_private
from tasks.records import Properties
from tasks.targets.folder.target import FolderTarget
from tests.flows.site import Site, counts
from tests.flows.warm import Child, Warm
from tests.journals import forget, rewrite

Captured = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no sentence is broken."""
    monkeypatch.setattr(screen.out, "width", 400)
    monkeypatch.setattr(screen.err, "width", 400)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, clinic: Path, prefect_server: str) -> Site:
    """An office of three holders with a backup on each of two targets and a drill of one; left as it is."""
    assert prefect_server
    root = tmp_path_factory.mktemp("office")
    shutil.copy(clinic, root / "clinic.db")
    site = Site.make(root, ["nas", "second-disk"])
    add_holder(site, "Partner")
    assert site.run("backup") == 0
    assert site.run("drill", "--identity", str(site.keys[0]), "--target", "nas") == 0
    return site


@pytest.fixture
def office(taken: Site, tmp_path: Path) -> Iterator[Site]:
    """A copy of it for one test."""
    root = tmp_path / "office"
    shutil.copytree(taken.root, root)
    yield Site(root, root / "clinic.yaml", tuple(root / key.name for key in taken.keys))


def add_holder(site: Site, name: str) -> Path:
    """A further holder in the plan; the path of their key."""
    path = site.root / f"{name.lower()}.key.txt"
    identity = X25519Identity.generate()
    with create_private(path) as stream:
        stream.write(f"# holder: {name}\n{identity.secret_text()}\n".encode())
    holders = yaml.safe_load(site.plan.read_text("utf-8"))["holders"]
    site.change_plan(holders=[*holders, {"name": name, "recipient": str(identity.recipient())}])
    return path


def remove_holder(site: Site, name: str) -> None:
    holders = yaml.safe_load(site.plan.read_text("utf-8"))["holders"]
    site.change_plan(holders=[holder for holder in holders if holder["name"] != name])


def on_an_empty_machine(warm: Warm, site: Site, key: Path, to: Path) -> Child:
    """Restore with a key, its sheet and the folder: a new process, an empty home, no plan, no server."""
    home = to.with_name(f"{to.name}-home")
    home.mkdir()
    folder = site.root / "nas"
    command = ["restore", "--folder", str(folder), "--identity", str(key), "--to", str(to), *site.signer]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    child = warm.start("datasave", command, to.with_name(f"{to.name}.log"), environment, folder=home)
    child.wait()
    return child


def test_each_holder_alone_restores_on_an_empty_machine(warm: Warm, taken: Site, tmp_path: Path) -> None:
    keys = [*taken.keys, taken.root / "partner.key.txt"]
    for number, (key, name) in enumerate(zip(keys, ("Owner", "Bank safe", "Partner"), strict=True)):
        to = tmp_path / f"restored-{number}"
        done = on_an_empty_machine(warm, taken, key, to)
        assert done.ended() == 0, done.said
        assert f"restored with the key of {name}" in " ".join(done.said.split())
        assert counts(to / "clinic.db") == counts(taken.database)


def test_two_of_three_shares_restore_and_one_does_not(warm: Warm, taken: Site, tmp_path: Path) -> None:
    shares = tmp_path / "shares"
    splitting = ["keys", "split", "--identity", str(taken.keys[1]), "--plan", str(taken.plan)]
    assert cli.main([*splitting, "--out", str(shares)]) == 0
    first, _, third = sorted(shares.glob("bank-safe.share-*.txt"))
    joined = tmp_path / "joined.key.txt"
    assert cli.main(["keys", "join", str(first), "--out", str(joined)]) == 1
    assert not joined.exists()
    with_one = ["restore", "--folder", str(taken.root / "nas"), "--identity", str(first)]
    assert cli.main([*with_one, "--to", str(tmp_path / "with-one-share")]) == 1
    assert not (tmp_path / "with-one-share").exists()
    assert cli.main(["keys", "join", str(third), str(first), "--out", str(joined)]) == 0
    done = on_an_empty_machine(warm, taken, joined, tmp_path / "restored")
    assert done.ended() == 0, done.said
    assert counts(tmp_path / "restored" / "clinic.db") == counts(taken.database)


def test_a_removed_holder_opens_the_old_backups_and_not_the_new(
    office: Site, prefect_server: str, tmp_path: Path, capsys: Captured
) -> None:
    assert prefect_server
    office.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas"}])
    partner = office.root / "partner.key.txt"
    remove_holder(office, "Partner")
    assert office.run("backup") == 0
    shutil.copytree(office.root / "nas", tmp_path / "copy")
    capsys.readouterr()
    restoring = ["restore", "--identity", str(partner), "--to", str(tmp_path / "new"), "--backup"]
    assert office.run(*restoring, "2") == 1
    assert "It was sealed for: Owner, Bank safe." in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    archive = max(office.archives("nas"), key=lambda path: path.name)
    refused = subprocess.run(
        ["age", "-d", "-i", str(partner), str(archive)], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "no identity matched" in refused.stderr
    assert office.run("keys", "opens", "Partner") == 0
    shown = capsys.readouterr().out
    assert "#1" in shown and "#2" not in shown
    assert "keeps both" in shown
    assert "backups from now on are closed to that key" in shown
    assert office.run("keys", "opens", "Owner") == 0
    shown = capsys.readouterr().out
    assert "#1" in shown and "#2" in shown and "closed to that key" not in shown


def test_rewrap_shows_first_and_changes_nothing(office: Site, capsys: Captured) -> None:
    add_holder(office, "Heir")
    remove_holder(office, "Partner")
    before = contents(office)
    assert office.run("keys", "rewrap", "--identity", str(office.keys[0])) == 0
    shown = capsys.readouterr().out
    assert shown.count("would be sealed anew, opened to Heir and closed to Partner") == 2
    assert "Nothing was changed. Add --apply" in shown
    assert contents(office) == before


def test_rewrap_opens_old_backups_to_a_new_holder_and_closes_them_to_a_former_one(
    office: Site, warm: Warm, tmp_path: Path, capsys: Captured
) -> None:
    heir = add_holder(office, "Heir")
    remove_holder(office, "Partner")
    old = {target: office.archives(target)[0].read_bytes() for target in ("nas", "second-disk")}
    assert office.run("keys", "rewrap", "--identity", str(office.keys[0]), "--apply") == 0
    for target in ("nas", "second-disk"):
        (archive,), (manifest,) = office.archives(target), office.manifests(target)
        assert archive.name.endswith("-000001.r1.tar.zst.age")
        assert [holder["name"] for holder in manifest["recipients"]] == ["Owner", "Bank safe", "Heir"]
        assert payload(archive.read_bytes()) == payload(old[target])
        assert archive.read_bytes() != old[target]
        assert "Heir" in (office.root / target / "RECOVER.md").read_text("utf-8")
    assert sum(".drill-" in name for name in office.objects("nas")) == 1, "the evidence of drills stays"
    capsys.readouterr()
    assert office.run("list") == 0
    shown = capsys.readouterr().out
    assert shown.count("verified") == 2 and shown.count("#1") == 2
    assert office.run("keys", "rewrap", "--identity", str(office.keys[0]), "--apply") == 0
    assert capsys.readouterr().out.count("every backup is sealed for the present holders") == 2
    done = on_an_empty_machine(warm, office, heir, tmp_path / "restored")
    assert done.ended() == 0, done.said
    assert counts(tmp_path / "restored" / "clinic.db") == counts(office.database)
    archive = office.archives("nas")[0]
    stock = subprocess.run(
        ["age", "-d", "-i", str(heir), str(archive)], capture_output=True, check=True
    ).stdout
    assert stock[:4] == b"\x28\xb5\x2f\xfd", "a zstandard frame"
    partner = office.root / "partner.key.txt"
    refused = ["restore", "--folder", str(office.root / "nas"), "--identity", str(partner)]
    assert cli.main([*refused, *office.signer, "--to", str(tmp_path / "no")]) == 1
    kept = tmp_path / "kept.age"
    kept.write_bytes(old["nas"])
    again = subprocess.run(["age", "-d", "-i", str(partner), str(kept)], capture_output=True, check=True)
    assert again.stdout == stock, "who kept a copy can still open it, as is said"


def test_rewrap_again_for_the_next_change(office: Site) -> None:
    add_holder(office, "Heir")
    assert office.run("keys", "rewrap", "--identity", str(office.keys[0]), "--apply") == 0
    remove_holder(office, "Partner")
    heir = office.root / "heir.key.txt"
    assert office.run("keys", "rewrap", "--identity", str(heir), "--target", "nas", "--apply") == 0
    assert [path.name.partition(".")[2] for path in office.archives("nas")] == ["r2.tar.zst.age"]
    assert [path.name.partition(".")[2] for path in office.archives("second-disk")] == ["r1.tar.zst.age"]


def test_a_stranger_cannot_rewrap(office: Site, capsys: Captured) -> None:
    stranger = add_holder(office, "Stranger")
    before = contents(office)
    assert office.run("keys", "rewrap", "--identity", str(stranger), "--apply") == 0
    assert capsys.readouterr().out.count("is left as it is: none of the given keys opens it") == 2
    assert contents(office) == before


def test_a_rewrap_that_was_cut_off_leaves_two_whole_backups_and_is_finished(
    office: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the new manifest and the removal of the old file: both are on the shelf then."""
    add_holder(office, "Heir")
    rewrap_nas = ["keys", "rewrap", "--identity", str(office.keys[0]), "--target", "nas", "--apply"]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rewrap, "remove_backup", die)
        assert office.run(*rewrap_nas) == 130
    assert len(office.archives("nas")) == 2, "the fault fired"
    capsys.readouterr()
    assert office.run("list", "--target", "nas") == 0
    shown = capsys.readouterr().out
    assert shown.count("verified") == 1 and "it was sealed anew for other holders" in shown
    assert office.run(*rewrap_nas) == 0
    assert "removed, the old file" in capsys.readouterr().out
    assert [path.name.partition(".")[2] for path in office.archives("nas")] == ["r1.tar.zst.age"]


def test_the_old_file_of_a_cut_off_rewrap_stays_where_the_new_one_is_damaged(
    office: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_holder(office, "Heir")
    rewrap_nas = ["keys", "rewrap", "--identity", str(office.keys[0]), "--target", "nas", "--apply"]
    with monkeypatch.context() as patch:
        patch.setattr(rewrap, "remove_backup", lambda *_: True)
        assert office.run(*rewrap_nas) == 0
    (new,) = [path for path in office.archives("nas") if ".r1." in path.name]
    flip(new, -100)
    assert office.run(*rewrap_nas) == 1
    assert "does not read back" in capsys.readouterr().err
    assert len(office.archives("nas")) == 2


def test_a_damaged_backup_is_not_sealed_anew(office: Site, capsys: Captured) -> None:
    add_holder(office, "Heir")
    (old,) = office.archives("nas")
    flip(old, -100)
    before = contents(office)
    command = ["keys", "rewrap", "--identity", str(office.keys[0]), "--target", "nas", "--apply"]
    assert office.run(*command) == 1
    assert "is not what its manifest says" in capsys.readouterr().err
    assert contents(office) == before


def test_a_new_file_that_reads_back_wrong_never_replaces_the_old(
    office: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_holder(office, "Heir")
    before = contents(office)
    put = FolderTarget.put

    def put_damaged(self, name, *arguments):  # type: ignore[no-untyped-def]
        stat = put(self, name, *arguments)
        if name.endswith(".r1.tar.zst.age"):
            flip(office.root / "nas" / name, -100)
        return stat

    monkeypatch.setattr(FolderTarget, "put", put_damaged)
    command = ["keys", "rewrap", "--identity", str(office.keys[0]), "--target", "nas", "--apply"]
    assert office.run(*command) == 1
    assert "read back from nas is not what was written" in capsys.readouterr().err
    assert contents(office) == before


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (Properties(immutable_until=datetime.now(UTC) + timedelta(days=9)), "locked: nobody can remove"),
        (Properties(thaw_seconds=3600), "in cold storage"),
    ],
    ids=["locked", "cold"],
)
def test_what_cannot_be_replaced_is_left_out_and_told(
    office: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch, properties: Properties, reason: str
) -> None:
    add_holder(office, "Heir")
    remove_holder(office, "Partner")
    before = contents(office)
    monkeypatch.setattr(
        FolderTarget, "properties", property(lambda _: properties, lambda *_: None), raising=False
    )
    assert office.run("keys", "rewrap", "--identity", str(office.keys[0]), "--apply") == 0
    assert capsys.readouterr().out.count(f"is left as it is: {reason}") == 2
    assert contents(office) == before
    assert office.run("keys", "opens", "Partner") == 0
    assert capsys.readouterr().out.count(reason) == 2


def test_a_lock_that_nobody_knew_of_keeps_the_old_file_and_is_told(
    office: Site, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_holder(office, "Heir")
    command = ["keys", "rewrap", "--identity", str(office.keys[0]), "--target", "nas", "--apply"]

    def locked(*_: object) -> None:
        raise TargetLocked("it is locked until 2031")

    with monkeypatch.context() as patch:
        patch.setattr(FolderTarget, "delete", locked)
        assert office.run(*command) == 1
    assert "a lock keeps the old file on nas" in capsys.readouterr().err
    assert len(office.archives("nas")) == 2
    assert remove_backup is rewrap.remove_backup
    assert office.run(*command) == 0
    assert len(office.archives("nas")) == 1


def test_opens_says_which_target_it_could_not_look_at(office: Site, capsys: Captured) -> None:
    (office.root / "second-disk").rename(office.root / "elsewhere")
    assert office.run("keys", "opens", "Owner") == 1
    shown = capsys.readouterr()
    assert "#1" in shown.out
    assert "second-disk" in shown.err


def contents(site: Site) -> dict[str, bytes]:
    """All that lies on the targets."""
    return {
        f"{target}/{name}": (site.root / target / name).read_bytes()
        for target in ("nas", "second-disk")
        for name in [*site.objects(target), "RECOVER.md"]
    }


def payload(data: bytes) -> bytes:
    mark = data.index(b"\n--- ")
    return data[data.index(b"\n", mark + 1) + 1 :]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_sheet_says_what_its_key_opens_where_and_whom_to_call(office: Site, tmp_path: Path) -> None:
    office.change_plan(keys={"contacts": ["Dana Reyes, +1 555 0100"]})
    (office.root / "second-disk").rename(office.root / "elsewhere")
    sheet = tmp_path / "sheet.html"
    assert office.run("keys", "sheet", "--identity", str(office.keys[0]), "--out", str(sheet)) == 0
    text = " ".join(re.sub("<[^>]*>", " ", sheet.read_text("utf-8")).split())
    assert re.search(r"clinic nas \d\d \w\w\w \d\d\d\d, 1 backup", text)
    assert "clinic second-disk could not be reached when this was printed" in text
    assert "Dana Reyes, +1 555 0100" in text
    assert "Recovery sheet: Owner" in text


# Keys proven


def age_notes(site: Site, days: int) -> None:
    """Move all that is noted about keys that many days into the past."""
    back = timedelta(days=days)

    def aged(kind: str, facts: dict[str, Any]) -> dict[str, Any]:
        if kind == "proof":
            return {**facts, "at": earlier(facts["at"], back)}
        if kind == "holders":
            known = [{**holder, "since": earlier(holder["since"], back)} for holder in facts["holders"]]
            return {**facts, "holders": known}
        return facts

    rewrite(site.context, aged)


def earlier(when: str, back: timedelta) -> str:
    return (datetime.fromisoformat(when) - back).isoformat()


@pytest.mark.parametrize("options", [(), ("--whole",)], ids=["beginning", "whole"])
def test_a_key_is_proven_at_each_target(office: Site, capsys: Captured, options: tuple[str, ...]) -> None:
    partner = office.root / "partner.key.txt"
    assert office.run("keys", "prove", "--identity", str(partner), *options) == 0
    shown = capsys.readouterr().out
    for target in ("nas", "second-disk"):
        assert f"✓ {target}: the key of Partner opens clinic-" in shown
    assert stat.S_IMODE(office.context.journal.path.stat().st_mode) == 0o600
    assert office.run("keys", "status") == 0
    shown = capsys.readouterr().out
    assert "key of Partner" in shown and "not seen to open a backup yet" in shown
    assert shown.count("FAILED") == 0


def test_a_key_that_is_no_holders_proves_nothing(office: Site, capsys: Captured) -> None:
    remove_holder(office, "Partner")
    assert office.run("keys", "prove", "--identity", str(office.root / "partner.key.txt")) == 1
    assert "the key is not that of any holder in the plan" in capsys.readouterr().err


def test_a_new_holders_key_does_not_open_older_backups_and_that_is_said(
    office: Site, capsys: Captured
) -> None:
    heir = add_holder(office, "Heir")
    assert office.run("keys", "prove", "--identity", str(heir)) == 1
    said = capsys.readouterr()
    assert said.err.count("this key does not open clinic-") == 2
    assert "✓" not in said.out


@pytest.mark.parametrize(("place", "options"), [(-100, ("--whole",)), (900, ())], ids=["end", "beginning"])
def test_a_damaged_backup_proves_no_key(
    office: Site, capsys: Captured, place: int, options: tuple[str, ...]
) -> None:
    (archive,) = office.archives("second-disk")
    flip(archive, place)
    proving = ["keys", "prove", "--identity", str(office.keys[1]), "--target", "second-disk"]
    assert office.run(*proving, *options) == 1
    said = capsys.readouterr()
    assert "cannot decrypt" in said.err
    assert "✓" not in said.out
    assert "never" in said.out.splitlines()[-1]


def test_drills_count_and_are_learned_from_their_certificates(office: Site, capsys: Captured) -> None:
    assert office.run("keys", "status") == 0
    assert "used in a drill on nas" in capsys.readouterr().out
    forget(office.context, "proof")
    assert office.run("keys", "status") == 0
    shown = capsys.readouterr().out
    owner = next(line for line in shown.splitlines() if "key of Owner" in line)
    assert "used in a drill on nas" in owner


def test_a_certificate_that_was_tampered_with_proves_nothing(office: Site, capsys: Captured) -> None:
    (name,) = [name for name in office.objects("nas") if ".drill-" in name]
    certificate = office.root / "nas" / name
    certificate.write_text(certificate.read_text("utf-8").replace('"Owner"', '"Bank safe"', 1), "utf-8")
    forget(office.context, "proof", "drill")
    assert office.run("keys", "status") == 0
    assert "used in a drill" not in capsys.readouterr().out


def test_a_certificate_counts_on_its_own_target_and_is_fetched_once(
    office: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = [name for name in office.objects("nas") if ".drill-" in name]
    beside = next((office.root / "second-disk").rglob("*.manifest.json")).parent
    shutil.copy(office.root / "nas" / name, beside / Path(name).name)
    forget(office.context, "drill")
    fetched: list[str] = []
    really_open = FolderTarget.open

    def counted(self: FolderTarget, name: str) -> Any:
        fetched.append(f"{self.name}/{name}")
        return really_open(self, name)

    monkeypatch.setattr(FolderTarget, "open", counted)
    for _ in range(2):
        with office.context.target("nas") as nas, office.context.target("second-disk") as copied:
            assert [drill.target for drill in look(office.context, nas).certificates] == ["nas"]
            assert look(office.context, copied).certificates == (), "that target was not drilled"
    assert fetched.count(f"nas/{name}") == 1


def test_a_key_not_proven_for_long_is_told_of(office: Site, prefect_server: str, capsys: Captured) -> None:
    assert prefect_server
    assert office.run("keys", "prove", "--identity", str(office.keys[1])) == 0
    (office.root / "nas" / next(n for n in office.objects("nas") if ".drill-" in n)).unlink()
    age_notes(office, 99)
    assert office.run("keys", "status") == 0
    age_notes(office, 2)
    capsys.readouterr()
    assert office.run("keys", "status") == 1
    shown = capsys.readouterr().out
    assert shown.count("FAILED") == 3
    assert "that is over 100 days ago" in shown
    assert office.run("doctor") == 1
    shown = capsys.readouterr()
    assert "key of Partner" in shown.out and "3 of " in shown.err
    assert office.run("audit") == 0, "what lies on the targets is as good as before"
    assert "key of Bank safe: opened clinic-" in office.report()
    assert office.run("keys", "prove", "--identity", str(office.keys[1]), "--target", "nas") == 0
    office.change_plan(keys={"prove_days": 200})
    assert office.run("doctor") == 0
