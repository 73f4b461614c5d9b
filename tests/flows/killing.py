"""``datasave restore --in-place`` killed at every step, each time in a process of its own.

Usage: ``python -m tests.flows.killing ROOT EVERY``: prints what was found as JSON lines. A step is anything
that changes the live folder or the journal, or starts a program, as Python's audit events tell: the product
knows nothing of this. At the end, where it matters, each EVERYth is killed. Children are forked from one
process that has everything imported, so that hundreds of SIGKILLs take seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from deployments.cli import app as cli
from tests.flows.warm import import_all

CHANGES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "open"}


class Scene:
    """A live folder that is set up anew for each case. ``old`` and ``new`` are its two whole states."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live = root / "data"
        self.template = root / "template"
        self.state = root / ".datasave" / "plans.d" / "clinic" / "in-place"
        self.running = root / "running"
        self.old = contents(self.template)
        self.new: dict[str, bytes] = {}

    def reset(self) -> None:
        for path in (self.live, self.state):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.template, self.live)
        self.running.touch()

    def outcome(self) -> tuple[str, list[str]]:
        """Which of the two states lies there, and what else does."""
        found = contents(self.live)
        if self.old.items() <= found.items():
            return "old", sorted(found.keys() - self.old.keys())
        aside = {f"DATASAVE/{name}": data for name, data in self.old.items()}
        whole = {**self.new, **aside}
        if whole.items() <= found.items():
            return "new", sorted(found.keys() - whole.keys())
        return "mixed", sorted(found)

    def datasave(self, *arguments: str, kill_at: int = 0) -> tuple[int, int]:
        """Run a command in a child; its exit status (-9 where it was killed) and the steps it took."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _child(self, arguments, kill_at, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            steps = stream.read().count(b".")
        _, ended = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(ended), steps


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, and every folder with a slash behind it."""
    return {
        path.relative_to(folder).as_posix() + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if path.name != "DATASAVE"
    }


def _child(scene: Scene, arguments: tuple[str, ...], kill_at: int, writer: int) -> None:
    count = 0
    watched = (str(scene.live), str(scene.state))

    def hook(event: str, details: tuple[object, ...]) -> None:
        nonlocal count
        if event == "open" and not (isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        at_home = event in CHANGES and any(str(detail).startswith(watched) for detail in details[:2])
        if at_home or event == "subprocess.Popen":
            count += 1
            os.write(writer, b".")
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    out = os.open(scene.root / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.addaudithook(hook)
    os._exit(cli.main([*arguments, "--plan", str(scene.root / "clinic.yaml")]))


AFTER_THE_STOP = 45
"""Steps at the end of a restore that all are killed at; the engine is stopped among the first of them."""
RESTORE = ("restore", "--in-place", "--yes", "--identity")


def main() -> None:
    root, every = Path(sys.argv[1]), int(sys.argv[2])
    import_all()
    scene = Scene(root)
    restore = (*RESTORE, str(root / "owner.key.txt"))
    scene.reset()
    status, steps = scene.datasave(*restore)
    assert status == 0, (root / "output").read_text()
    scene.new = {"clinic.db": (scene.live / "clinic.db").read_bytes()}
    placed = 0
    # Most steps only unpack and prove, which changes nothing: of those a few.
    for point in [*range(1, steps - AFTER_THE_STOP, 6), *range(steps - AFTER_THE_STOP, steps + 1, every)]:
        way = ("undo", "resume")[point % 2]
        scene.reset()
        killed, _ = scene.datasave(*restore, kill_at=point)
        placed = placed or point * (contents(scene.live).get("clinic.db") == scene.new["clinic.db"])
        _then(scene, {"what": "restore", "point": point, "killed": killed, "way": way}, way)
    _second_cut(scene, restore, placed, every, ("undo", "undo"))
    _second_cut(scene, restore, placed, every, ("resume", "undo"))


def _second_cut(
    scene: Scene, restore: tuple[str, ...], placed: int, every: int, ways: tuple[str, str]
) -> None:
    """Killed with the new data in place; then the first way is killed at its steps; then the second."""
    first, second = ways
    point = 0
    killed = -signal.SIGKILL
    while killed == -signal.SIGKILL:
        point += 1 + every
        scene.reset()
        scene.datasave(*restore, kill_at=placed)
        killed, _ = scene.datasave("restore", f"--{first}", "--yes", kill_at=point)
        if killed == -signal.SIGKILL:
            _then(scene, {"what": first, "point": point, "killed": killed, "way": second}, second)


def _then(scene: Scene, case: dict[str, object], way: str) -> None:
    begun = (scene.state / "clinic.json").exists()
    status, _ = scene.datasave("restore", f"--{way}", "--yes")
    outcome, left = scene.outcome()
    facts = {"begun": begun, "status": status, "outcome": outcome, "left": left}
    journal = (scene.state / "clinic.json").exists()
    print(json.dumps({**case, **facts, "running": scene.running.exists(), "journal": journal}), flush=True)


if __name__ == "__main__":
    main()
