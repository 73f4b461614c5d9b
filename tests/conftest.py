"""What every test shares: a Prefect of its own, away from the user's, and quick.

A Prefect database takes 8 to 17 s to migrate, and a second to be filled with the kinds of blocks. It is made
once per Prefect version, kept in ``.pytest_cache``, and copied for each server of a test, which does neither.
Set before Prefect is imported anywhere.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from deployments.serving.environment import SETTINGS

if TYPE_CHECKING:
    from tests.flows.warm import Warm

ROOT = Path(__file__).parent.parent
HOME = Path(tempfile.mkdtemp(prefix="datasave-tests-prefect-"))

# How long one example takes says something of the machine alone.
settings.register_profile("datasave", deadline=None)
settings.load_profile("datasave")

# Services that only matter to a server which stays up; without them a test's server is up in a second.
IDLE_SERVICES = [
    "EVENT_PERSISTER",
    "TRIGGERS",
    "SCHEDULER",
    "LATE_RUNS",
    "FOREMAN",
    "CANCELLATION_CLEANUP",
    "REPOSSESSOR",
    "PAUSE_EXPIRATIONS",
]

os.environ.update(SETTINGS)
os.environ.update({f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in IDLE_SERVICES})
os.environ["PREFECT_HOME"] = str(HOME)
os.environ["PREFECT_SERVER_UI_ENABLED"] = "false"
os.environ["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "false"
os.environ["PREFECT_SERVER_REGISTER_BLOCKS_ON_START"] = "false"
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
os.environ.pop("PREFECT_API_URL", None)


MAKE_DATABASE = """
import asyncio
from prefect.server.database import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration

async def make():
    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)

asyncio.run(make())
"""


def migrated_database() -> Path:
    """A fresh Prefect database, made once per version of Prefect."""
    template = ROOT / ".pytest_cache" / f"prefect-{version('prefect')}-filled.db"
    if not template.exists():
        template.parent.mkdir(exist_ok=True)
        unfinished = template.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [sys.executable, "-c", MAKE_DATABASE],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{unfinished}",
            },
        )
        with closing(sqlite3.connect(unfinished)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        unfinished.replace(template)
    return template


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A temporary Prefect server for flows that run in the test's own process; its API address."""
    shutil.copy(migrated_database(), HOME / "prefect.db")
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, temporary_settings

    server = SubprocessASGIServer()
    server.start(timeout=120)
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield server.api_url
    finally:
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all()
        server.stop()


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Starts commands as programs of their own, without the seconds that their imports take."""
    from tests.flows.warm import Warm  # which imports Prefect

    with Warm() as process:
        yield process


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
