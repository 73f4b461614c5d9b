"""Prefect's settings as this program needs them, set before Prefect is imported.

Only what the user has not set already: a site with its own Prefect server keeps its settings.
Measured reasons stand beside each setting.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tasks.errors import ProgramError, StateError
from tasks.options import is_this_machine
from tasks.platform.files import private_folder, write_new_secret
from tasks.platform.secrets import resolve

SETTINGS = {
    # Nothing leaves the office unasked. Both are needed: the first for the server, the second for the UI.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The second UI's page asks an analytics host whatever is set; the first one doesn't.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # No word of Prefect's paid service in an office's pages.
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # Else a UI on another port than 4200 calls port 4200.
    "PREFECT_SERVER_UI_API_URL": "/api",
    # A temporary server that makes its database for the first time takes up to 17 s on a small machine.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The in-memory default never frees the slot of a run that died with the server: no later backup starts.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Prefect's shortest: how soon a run whose machine died can be told from one that lives (automations.py).
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # For a PostgreSQL of many offices (tests/benchmarks/fleet.py): with Prefect's 5 to 15 connections, and 5
    # and 10 s of patience, the server failed requests for good (500) where 50 backups began at once, and 18
    # of the backups with them. PostgreSQL's own default allows 100 connections.
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "60",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "20",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    # By default only events go after a while, and runs stay for ever: a fleet's database would only grow.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "deployments.serving.console_log.CleanHandler",
    # Small and readable. What keeps results from being tampered with is the folder, which is private.
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
}


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def home_of(plan: Path) -> Path:
    """Prefect's folder for the plans of one folder: its database, its results."""
    return plan.absolute().parent / ".datasave" / "prefect"


def prepare(plan: Path, *, quiet: bool = True) -> None:
    """Set Prefect's environment for work on ``plan``; ``quiet`` keeps its log off the terminal.

    Uses the server that ``datasave serve`` runs for this folder, where it answers.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    home = Path(os.environ.setdefault("PREFECT_HOME", str(home_of(plan))))
    private_folder(home)
    if quiet:
        # Our own progress and last line are what a person reads; the log is kept in the UI.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    _reach_loopback_directly()
    if url := os.environ.get("PREFECT_API_URL"):
        _refuse_clear_text(url)
        _use_password(home, url)
    else:
        _demand_password(home)
        if url := running_server(home):
            os.environ["PREFECT_API_URL"] = url


def _refuse_clear_text(url: str) -> None:
    """Raise ProgramError where a password and what backups say would cross a network unencrypted."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
        raise ProgramError(
            f"PREFECT_API_URL names a server elsewhere without encryption: {parts.scheme}://{parts.hostname}",
            hint="The password would travel in the clear. Use https (a proxy with TLS before the server), or "
            "a tunnel that ends at 127.0.0.1.",
        )


def _reach_loopback_directly() -> None:
    """Keep requests to servers on this machine, and their password, from a proxy that is set for the web."""
    for name in ("NO_PROXY", "no_proxy"):
        spared = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*spared, *LOOPBACK]))


def password_file(home: Path) -> Path:
    """Where the name and password of our own servers are, as ``name:password``; a private file."""
    return home / "server.password"


def _demand_password(home: Path) -> None:
    """Let our own servers, temporary ones too, answer nobody without the password of this folder.

    Without it any account on this machine could start a backup with a plan of its own: the whole
    database, sealed for a stranger's key.
    """
    path = password_file(home)
    if not path.exists():
        try:
            write_new_secret(path, f"office:{secrets.token_urlsafe(18)}")
        except StateError:
            if not path.exists():  # else another command made it just now
                raise
    for name in ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"):
        os.environ.setdefault(name, path.read_text("ascii"))


def given_password_file(home: Path) -> Path:
    """Where the user may put the name and password for the server that PREFECT_API_URL names."""
    return home / "api.password"


def _use_password(home: Path, url: str) -> None:
    """Log in to the server that is set: by what the environment says, else by a private file.

    The password of our own server goes to that server alone. Raises SecretError for a file that others
    can read.
    """
    ours = url == _announced(home)
    path = password_file(home) if ours else given_password_file(home)
    if path.exists() and "PREFECT_API_AUTH_STRING" not in os.environ:
        os.environ["PREFECT_API_AUTH_STRING"] = resolve(f"file:{path}", home)


def announce_server(home: Path, url: str) -> None:
    """Let later commands in this folder find the server that ``datasave serve`` runs."""
    _address(home).write_text(json.dumps({"url": url}), "utf-8")


def retract_server(home: Path) -> None:
    """Take back what ``announce_server`` wrote."""
    _address(home).unlink(missing_ok=True)


def running_server(home: Path) -> str:
    """API address of the server announced for this folder if it answers, else ""."""
    url = _announced(home)
    return url if url and answers(url, seconds=2.0) else ""


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether a Prefect server answers at this API address within that time."""
    try:
        # Without TLS no certificates are loaded: that takes 25 ms of a processor, and this is asked often.
        return httpx.get(f"{url}/health", timeout=seconds, verify=url.startswith("https:")).is_success
    except (ValueError, httpx.InvalidURL, httpx.HTTPError):
        return False


def _announced(home: Path) -> str:
    try:
        return str(json.loads(_address(home).read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _address(home: Path) -> Path:
    return home / "datasave-server.json"
