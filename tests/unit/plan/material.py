"""A good plan and the adapters it names, for the tests of tasks/plan."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from tasks.options import Options
from tasks.plan.load import Kinds, check_plan
from tasks.plan.model import Plan
from tasks.sources.registry import option_models as source_models
from tasks.sources.sqlite.source import SqliteOptions
from tasks.targets.folder.target import FolderOptions
from tasks.targets.registry import option_models as target_models

CLASSIC = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
OTHER = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"
HYBRID = "age1pq1" + "q" * 1952
FOLDER = Path(__file__).parent.absolute() / "office"


class ServerOptions(Options):
    """A source beside the embedded one, with an option that is no path."""

    kind: Literal["server"]
    port: int = Field(5432, ge=1, le=65535, description="where it listens")


class CloudOptions(Options):
    """A target beside the folder."""

    kind: Literal["cloud"]
    bucket: str = Field(description="the bucket's name")
    retention: int = Field(7, description="days")


REGISTERED = Kinds(sources=source_models(), targets=target_models())
KINDS = Kinds(
    sources={"sqlite": SqliteOptions, "server": ServerOptions},
    targets={"folder": FolderOptions, "cloud": CloudOptions},
)

GOOD: dict[str, Any] = {
    "name": "front-office",
    "source": {"kind": "sqlite", "path": "clinic.db"},
    "holders": [{"name": "Owner", "recipient": CLASSIC}, {"name": "Bank safe", "recipient": OTHER}],
    "targets": [
        {"name": "nas", "kind": "folder", "path": "/mnt/nas/datasave", "slots": "weekday"},
        {"name": "drive", "kind": "folder", "path": "drive", "keep": {"last": 4, "yearly": 2}, "floor": 1},
        {"name": "vault", "kind": "cloud", "bucket": "office-vault", "keep": "forever"},
    ],
    "schedule": {
        "backup": "0 2 * * *",
        "drill": "0 6 * * sun",
        "audit": "0 8 * * *",
        "timezone": "America/New_York",
    },
    "drill": {"target": "drive", "identity": "file:keys/drill.txt"},
    "audit": {"repair": True},
    "checks": [
        {
            "title": "newest visit at most 3 days old",
            "sql": "SELECT MAX(at) FROM visits",
            "as": "age_days",
            "expect": {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"min_value": -1, "max_value": 3},
            },
        }
    ],
    "notices": {
        "mail": {
            "to": ["owner@office.example"],
            "server": "smtp.office.example",
            "sender": "d@office.example",
        },
        "heartbeat": "env:HEARTBEAT",
    },
    "alarm": {"rows_lost": 30},
    "keys": {"prove_days": 60},
    "spool": {"runs": 2},
    "archive": {"level": 9, "threads": 2},
    "state": "state",
    "signers": ["ed25519:" + "A" * 43 + "="],
}


def good() -> dict[str, Any]:
    """The good plan, to be spoilt."""
    return copy.deepcopy(GOOD)


def place(data: Any, *path: str | int) -> Any:
    """What stands at ``path`` in the plan."""
    for part in path:
        data = data[part]
    return data


def check(data: Any, kinds: Kinds = KINDS) -> Plan:
    """Load a plan given as data, by way of YAML."""
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return check_plan(text, "office.yaml", FOLDER, kinds)
