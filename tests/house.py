"""The house as it stands: which module imports which, held to the layers of tasks/README.md.

Usage: ``python -m tests.house``: prints files, lines, circles and imports against the layers; its exit status
is 1 where there is any. ``tests/unit/test_house.py`` holds the same in the suite.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOPS = ("deployments", "flows", "tasks")
# From the top: a module imports from its own layer and from those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("deployments.cli", "deployments.__main__"),
    ("deployments.serving",),
    ("flows",),
    ("tasks.steps",),
    ("tasks.backup", "tasks.recovery", "tasks.keys", "tasks.health"),
    ("tasks.context",),
    ("tasks.journal",),
    (
        *("tasks.sources", "tasks.targets", "tasks.plan", "tasks.manifests", "tasks.notices"),
        *("tasks.policy", "tasks.checks", "tasks.archive", "tasks.age"),
    ),
    ("tasks.platform", "tasks.options", "tasks.calendars"),
    ("tasks.reports",),
    ("tasks.records",),
    ("tasks.errors",),
)
# Rooms of this layer know nothing of one another: they meet in records.
LIBRARIES = LAYERS[7]
PREFECT = ("deployments", "flows", "tasks.steps")
# Outside an adapter's package only the registry knows it.
ADAPTERS = ("tasks.sources", "tasks.targets")
SHARED = ("base", "registry", "shared", "capabilities")


def within(module: str, room: str) -> bool:
    """Whether a dotted module is that room or lies in it."""
    return module == room or module.startswith(f"{room}.")


def layer_of(module: str) -> int:
    """The number of a module's layer, 0 for the top one. Raises LookupError for a module without one."""
    for number, rooms in enumerate(LAYERS):
        if any(within(module, room) for room in rooms):
            return number
    raise LookupError(f"{module} is in no layer")


def room_of(module: str) -> str:
    """The room of a module: its package, or the module itself where it stands alone."""
    return next(room for rooms in LAYERS for room in rooms if within(module, room))


@dataclass(frozen=True)
class House:
    """The product's modules by dotted name, and their files."""

    modules: Mapping[str, Path]

    @classmethod
    def in_tree(cls, root: Path = ROOT) -> House:
        """The one in the working tree."""
        found = {}
        for top in TOPS:
            for path in sorted((root / top).rglob("*.py")):
                dotted = ".".join(path.relative_to(root).with_suffix("").parts)
                found[dotted.removesuffix(".__init__")] = path
        return cls(found)

    @cached_property
    def imports(self) -> Mapping[str, frozenset[str]]:
        """What each module imports, at its top or inside a function; ours as modules."""
        return {module: frozenset(self._imported(path)) for module, path in self.modules.items()}

    def _imported(self, path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative imports hide the layer"
                module = node.module or ""
                for alias in node.names:
                    whole = f"{module}.{alias.name}"
                    yield whole if whole in self.modules else module

    @property
    def ours(self) -> Mapping[str, frozenset[str]]:
        """The imports among the product's own modules; the packages' own pages of words left out."""
        tops = {*TOPS}
        return {
            module: frozenset(other for other in found if other in self.modules and other not in tops)
            for module, found in self.imports.items()
            if module not in tops
        }

    def circles(self) -> list[list[str]]:
        """Groups of modules that import one another, round and round (Tarjan's components)."""
        return [group for group in components(self.ours) if len(group) > 1]

    def strays(self) -> list[str]:
        """Imports that run against the layers, between libraries, or into an adapter's package."""
        return [
            f"{module} imports {other}: {why}"
            for module, found in sorted(self.ours.items())
            for other in sorted(found)
            if (why := wrong_with(module, other))
        ]

    def prefect(self) -> list[str]:
        """Modules that import Prefect and must work without it."""
        return [
            module
            for module, found in sorted(self.imports.items())
            if any(within(other, "prefect") for other in found)
            and not any(within(module, room) for room in PREFECT)
        ]

    def lines(self) -> int:
        """Lines of all modules."""
        return sum(len(path.read_text("utf-8").splitlines()) for path in self.modules.values())


def wrong_with(module: str, other: str) -> str:
    """Why a module must not import another, "" where it may."""
    if layer_of(other) < layer_of(module):
        return "from a layer above"
    here, there = room_of(module), room_of(other)
    if here in LIBRARIES and there in LIBRARIES and here != there:
        return "libraries meet in records only"
    return "" if _may_know_adapter(module, other) else "only its own package and the registry know an adapter"


def _may_know_adapter(module: str, other: str) -> bool:
    for room in ADAPTERS:
        if not within(other, room) or other == room:
            continue
        package = other.split(".")[2]
        known = package in SHARED or within(module, f"{room}.registry") or within(module, f"{room}.{package}")
        if not known:
            return False
    return True


def components(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Strongly connected components of a graph (R. Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, frozenset()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            found.append(sorted(stack[place:]))
            del stack[place:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main() -> int:
    """Print how the house stands."""
    house = House.in_tree()
    rooms: dict[str, list[int]] = defaultdict(list)
    for module, path in house.modules.items():
        room = module if module in TOPS else room_of(module)
        rooms[room].append(len(path.read_text("utf-8").splitlines()))
    for room, sizes in sorted(rooms.items()):
        print(f"{room:24} {len(sizes):4} files {sum(sizes):7,} lines")
    print(f"{'all':24} {len(house.modules):4} files {house.lines():7,} lines")
    circles, strays, prefect = house.circles(), house.strays(), house.prefect()
    for circle in circles:
        print("circle:", ", ".join(circle))
    for stray in strays:
        print("stray:", stray)
    for module in prefect:
        print("imports Prefect:", module)
    print(f"circles: {len(circles) or 'no circles'}; files outside their layer: {len(strays) or 'none'}")
    return 1 if circles or strays or prefect else 0


if __name__ == "__main__":
    sys.exit(main())
