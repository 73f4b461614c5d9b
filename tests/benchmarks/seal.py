"""How long a copy takes to become a sealed archive, beside zstd, age, restic and borg.

    python -m tests.benchmarks.seal [--megabytes 1024] [--rounds 3] [--folder SCRATCH] [--json FILE] [SET …]

Three sets: a clinic's database, as much that cannot be compressed, and 100,000 files of 5 kB. All contenders
run in turn in every round, each round beginning with the next one, each on a warm input, what the one before
wrote flushed to the disk. Medians of the rounds.

Ours is the step of a backup as it is, which hashes twice and waits for the disk at the end, measured in a
process that has it imported, as a backup's has. zstd and age begin with their process, hash nothing and leave
the writing to the system. ``--alone`` gives each contender the processors before all else that runs on this
machine (needs root).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import scratch_folder
from tests.benchmarks.database import make_database
from tests.flows.site import Site
from tests.unit.backup.desk import Desk

PASSWORDS = {"RESTIC_PASSWORD": "benchmark", "BORG_PASSPHRASE": "benchmark"}
PEAK = Path("/proc/self/clear_refs")
MEGABYTE = 1 << 20
PAGE = 4096
LETTER_BYTES = 5400


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds, processor seconds; bytes of output; of memory, where it could be told."""

    seconds: float
    processor: float
    output: int
    memory: int = 0


@dataclass(frozen=True)
class Bench:
    """The scratch folder of one set: an office whose staging holds the copy; what others write is in out/."""

    folder: Path

    @property
    def desk(self) -> Desk:
        return Desk(Site(self.folder, self.folder / "clinic.yaml", (self.folder / "owner.key.txt",)))

    @property
    def recipient(self) -> str:
        return self.desk.context.plan.holders[0].recipient

    @property
    def copy(self) -> Path:
        return self.desk.copy

    @property
    def out(self) -> Path:
        return self.folder / "out"


@dataclass(frozen=True)
class Contender:
    """``prepare`` is not timed, ``command`` is. ``needs`` are programs that may not be installed."""

    name: str
    needs: tuple[str, ...]
    command: Callable[[Bench], Sequence[str]]
    prepare: Callable[[Bench], Sequence[str]] | None = None

    def missing(self) -> list[str]:
        return [program for program in self.needs if shutil.which(program) is None]


def _shell(text: str, *arguments: str | Path) -> Sequence[str]:
    return ["bash", "-c", f"set -eo pipefail; {text}", "bash", *map(str, arguments)]


def _zstd(bench: Bench) -> Sequence[str]:
    """One file as it is; of many there is no zstd without tar."""
    [first, *_] = bench.copy.iterdir()
    if first.is_dir():
        return _shell('tar -c -C "$1" . | zstd -q -3 -T2 -o "$2"', bench.copy, bench.out / "zstd.zst")
    return ["zstd", "-q", "-3", "-T2", str(first), "-o", str(bench.out / "zstd.zst")]


def _restic(bench: Bench) -> list[str]:
    return ["restic", "-q", "-r", str(bench.out / "restic")]


OURS = Contender(
    "datasave",
    (),
    lambda b: [sys.executable, "-m", "tests.benchmarks.seal", "--ours", "--folder", str(b.folder)],
)
ZSTD = Contender("zstd -3 -T2", ("zstd", "tar"), _zstd)
PIPE = Contender(
    "tar | zstd -3 -T2 | age",
    ("tar", "zstd", "age"),
    lambda b: _shell(
        'tar -c -C "$1" . | zstd -q -3 -T2 | age -r "$2" -o "$3"', b.copy, b.recipient, b.out / "pipe.age"
    ),
)
RESTIC = Contender(
    "restic backup",
    ("restic",),
    lambda b: [*_restic(b), "backup", "--no-cache", str(b.copy)],
    lambda b: [*_restic(b), "init"],
)
BORG = Contender(
    "borg create (zstd,3)",
    ("borg",),
    lambda b: ["borg", "create", "-C", "zstd,3", f"{b.out / 'borg'}::one", str(b.copy)],
    lambda b: ["borg", "--error", "init", "-e", "repokey-blake2", str(b.out / "borg")],
)
CONTENDERS = (OURS, ZSTD, PIPE, RESTIC, BORG)
GOALS = {ZSTD.name: 1.20, PIPE.name: 1.00, RESTIC.name: 0.50}
"""What our wall time may be of theirs, on the clinic's database."""


def clinic(copy: Path, size: int) -> None:
    """A database that compresses as one does."""
    make_database(copy / "clinic.db", size)


def noise(copy: Path, size: int) -> None:
    """Pictures, or what is encrypted already: nothing to compress."""
    with (copy / "pictures.db").open("wb") as file:
        for _ in range(size // MEGABYTE):
            file.write(os.urandom(MEGABYTE))


def letters(copy: Path, size: int) -> None:
    """Small files, 100 in a folder; half of each is text."""
    dice = random.Random(20260105)
    text = b"".join(b"Letter of %d Jan 2026 to patient %d\n" % (n % 31 + 1, n * 7919) for n in range(400))
    for number in range(size // LETTER_BYTES):
        folder = copy / f"{number // 10_000:03}" / f"{number // 100 % 100:02}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        half = dice.randrange(LETTER_BYTES)
        (folder / f"letter-{number:06}.txt").write_bytes(text[:half] + dice.randbytes(half))


SETS: dict[str, Callable[[Path, int], None]] = {"clinic": clinic, "noise": noise, "letters": letters}
SHARE = {"letters": 540 / 1024}
"""A set's size, where it is not that of the others: 100,000 letters beside a gigabyte."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print its tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--megabytes", type=int, default=1024, help="size of a set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=scratch_folder, help="scratch; five times the size is needed")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--alone", action="store_true", help="before all else that runs on this machine")
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.ours:
        print(json.dumps(seal(Bench(options.folder))))
        return
    if unknown := [name for name in options.sets if name not in SETS]:
        sys.exit(f"no set {unknown[0]!r}: {', '.join(SETS)}")
    figures = {"cores": os.cpu_count(), "rounds": options.rounds, "sets": {}}
    for name in options.sets or SETS:
        size = int(options.megabytes * MEGABYTE * SHARE.get(name, 1)) // PAGE * PAGE
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="seal-") as scratch:
            costs = compare(Path(scratch), name, size, options.rounds, options.alone)
        figures["sets"][name] = report(name, size, costs)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def seal(bench: Bench) -> dict[str, float]:
    """Our part, in a process of its own: what the step took."""
    desk = bench.desk
    copied = desk.copied()
    PEAK.write_text("5", "ascii")  # the peak begins anew
    before = _memory("VmRSS:")
    began, used = time.monotonic(), time.process_time()
    desk.seal(copied)
    return {
        "seconds": time.monotonic() - began,
        "processor": time.process_time() - used,
        "memory": _memory("VmHWM:") - before,
    }


def compare(scratch: Path, name: str, size: int, rounds: int, alone: bool) -> dict[str, Cost]:
    """Make the set, run everybody in turn; the median of each."""
    Desk.make(scratch)
    bench = Bench(scratch)
    SETS[name](bench.copy, size)
    running = [contender for contender in CONTENDERS if not contender.missing()]
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in running}
    for number in range(rounds):
        turn = number % len(running)
        for contender in running[turn:] + running[:turn]:
            costs[contender.name].append(run(bench, contender, alone))
            if contender is OURS and number == 0:
                prove(bench)
    return {name: median(all_) for name, all_ in costs.items()}


def run(bench: Bench, contender: Contender, alone: bool) -> Cost:
    """Run one contender once, in an empty out/ folder, on a warm input; its cost."""
    for folder in (bench.out, bench.desk.workspace.sealed):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    environment = {**os.environ, **PASSWORDS, "HOME": str(bench.out), "BORG_BASE_DIR": str(bench.out)}
    if contender.prepare:
        subprocess.run(contender.prepare(bench), env=environment, check=True, stdout=subprocess.DEVNULL)
    before = _size(bench)
    subprocess.run(["grep", "-rqz", "never there", str(bench.copy)], check=False)  # reads all of it
    os.sync()
    command = [*(("chrt", "-f", "1") if alone else ()), *contender.command(bench)]
    began = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        printed = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender.name} failed with {process.returncode}")
    took = {
        "seconds": seconds,
        "processor": usage.ru_utime + usage.ru_stime,
        **(json.loads(printed) if contender is OURS else {}),
    }
    return Cost(**took, output=_size(bench) - before)


def prove(bench: Bench) -> None:
    """What was measured is a backup: stock programs bring back the same files."""
    [sealed] = bench.desk.workspace.sealed.iterdir()
    back = bench.out / "back"
    back.mkdir()
    command = 'age -d -i "$1" "$2" | zstd -dc | tar -x -C "$3"; diff -r "$3" "$4"'
    subprocess.run(_shell(command, *bench.desk.site.keys, sealed, back, bench.copy), check=True)


def median(costs: list[Cost]) -> Cost:
    """The median of each figure, of memory the highest."""
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.processor for cost in costs),
        costs[-1].output,
        max(cost.memory for cost in costs),
    )


def report(name: str, size: int, costs: dict[str, Cost]) -> dict[str, Any]:
    """Print a set's table; the same for JSON."""
    load = ", ".join(f"{minutes:.1f}" for minutes in os.getloadavg())
    print(f"\n{name}: {size / MEGABYTE:,.0f} MiB; load over 1, 5, 15 minutes, our own included: {load}")
    columns = ("wall s", "cpu s", "ours, wall", "goal", "ours, cpu", "output MB")
    print(f"{'':24}" + "".join(f"{column:>12}" for column in columns))
    ours, rows = costs[OURS.name], {}
    for contender in CONTENDERS:
        cost = costs.get(contender.name)
        if cost is None:
            print(f"{contender.name:24} not installed: {', '.join(contender.missing())}")
            continue
        wall, processor = ours.seconds / cost.seconds, ours.processor / cost.processor
        goal = GOALS.get(contender.name) if name == "clinic" else None
        rows[contender.name] = {**asdict(cost), "wall ratio": wall, "cpu ratio": processor, "goal": goal}
        figures = (
            f"{cost.seconds:.2f}",
            f"{cost.processor:.2f}",
            f"{wall:.2f}",
            f"{goal:.2f}" if goal else "",
            f"{processor:.2f}",
            f"{cost.output / 1e6:.0f}",
        )
        print(f"{contender.name:24}" + "".join(f"{figure:>12}" for figure in figures))
    print(f"memory of our pass, beside the program itself: {ours.memory / 1e6:.0f} MB")
    return {"bytes": size, "load": os.getloadavg(), "contenders": rows}


def _size(bench: Bench) -> int:
    folders = (bench.out, bench.desk.workspace.sealed)
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
