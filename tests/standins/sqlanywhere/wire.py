"""How programs reach an engine: connection strings, where they come from, and messages on a socket.

A message is its length (4 bytes, big-endian), JSON, and ``bytes`` raw bytes where the JSON says so.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere.codes import (
    COMMUNICATIONS,
    SERVER_NOT_FOUND,
    UNABLE_TO_CONNECT,
    USAGE,
    Failure,
)
from tests.standins.sqlanywhere.site import Site

# Every name a key may have, and the one used here.
KEYS = {
    "uid": "uid",
    "userid": "uid",
    "user": "uid",
    "pwd": "pwd",
    "password": "pwd",
    "dsn": "dsn",
    "datasourcename": "dsn",
    "filedsn": "filedsn",
    "server": "server",
    "eng": "server",
    "servername": "server",
    "enginename": "server",
    "dbn": "dbn",
    "databasename": "dbn",
    "dbf": "dbf",
    "databasefile": "dbf",
    "astart": "astart",
    "autostart": "astart",
    "host": "host",
    "links": "links",
    "commlinks": "links",
    "start": "start",
    "startline": "start",
    "con": "con",
    "connectionname": "con",
    **{
        key: key
        for key in ("driver", "description", "int", "integrated", "astop", "autostop", "charset", "cs")
    },
    **{key: key for key in ("app", "appinfo", "enc", "encryption", "kto", "lto", "cbsize", "idle", "log")},
    **{
        key: key
        for key in ("dbkey", "key", "newpwd", "compress", "comp", "uncond", "unc", "elevate", "escape")
    },
    **{key: key for key in ("retryconntimeout", "retryconnto", "nodetype", "cpool", "connectionpool")},
}
LATE_KEYS = {"server": 12, "host": 16}
"""The version that first knew a key: older ones say ENG, and LINKS=tcpip(host=…;port=…)."""


class Link:
    """One end of a connection between a program and an engine."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, message: Mapping[str, Any], payload: bytes = b"") -> None:
        text = json.dumps({**message, "bytes": len(payload)}).encode()
        self._socket.sendall(len(text).to_bytes(4, "big") + text + payload)

    def receive(self) -> dict[str, Any]:
        """The next message, raw bytes under ``payload``. Raises Failure 6 where the other end is gone."""
        try:
            message: dict[str, Any] = json.loads(self._exactly(int.from_bytes(self._exactly(4), "big")))
            message["payload"] = self._exactly(message["bytes"])
        except OSError as error:
            raise Failure(COMMUNICATIONS, "Communication error") from error
        return message

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send and receive; raises the Failure that the engine answers with."""
        try:
            self.send(message)
        except OSError as error:
            raise Failure(COMMUNICATIONS, "Communication error") from error
        answer = self.receive()
        if "error" in answer:
            raise Failure(answer["error"], answer["message"], answer["state"], answer["native"])
        return answer

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._socket.recv(min(count, 1 << 20))
            if not part:
                raise ConnectionResetError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def shut(self) -> None:
        """Wake whoever waits in `receive` here."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


def parse(text: str, site: Site, *, odbc: bool = False) -> dict[str, str]:
    """Keys and values of a connection string. A key given twice: the last wins, in ODBC the first."""
    found: dict[str, str] = {}
    for part in re.split(r";(?![^(]*\))", text):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        key = KEYS.get(name)
        too_new = site.version < LATE_KEYS.get(name, 0)
        if not equals or key is None or too_new:
            raise Failure(UNABLE_TO_CONNECT, f"Parse error: invalid connection parameter {name}")
        if value[:1] in (" ", "'", '"'):
            raise Failure(
                UNABLE_TO_CONNECT, f"Parse error: the value of {name} begins with a space or a quote"
            )
        if odbc and value.startswith("{") and value.endswith("}"):
            value = value[1:-1]
        if not (odbc and key in found):
            found[key] = value.strip()
    return found


def parameters(text: str, site: Site, *, odbc: bool = False) -> dict[str, str]:
    """What counts: the connection string, then the variable SQLCONNECT, then the DSN."""
    given = parse(text, site, odbc=odbc)
    merged = {**parse(os.environ.get("SQLCONNECT", ""), site), **given}
    if "dsn" in merged:
        merged = {**_dsn(merged["dsn"], site), **merged}
    return merged


def _dsn(name: str, site: Site) -> dict[str, str]:
    import configparser

    for path in _odbc_files():
        ini = configparser.RawConfigParser(strict=False)
        ini.read(path)
        section = next((s for s in ini.sections() if s.lower() == name.lower()), None)
        if section:
            return parse(";".join(f"{key}={value}" for key, value in ini.items(section)), site)
    raise Failure(UNABLE_TO_CONNECT, f"Data source name {name} not found", "IM002")


def _odbc_files() -> list[Path]:
    user = os.environ.get("ODBCINI")
    system = os.environ.get("ODBCSYSINI", "/etc")
    return [Path(user) if user else Path.home() / ".odbc.ini", Path(system) / "odbc.ini"]


def connect(site: Site, given: Mapping[str, str], *, level: str = "database", app: str = "") -> Link:
    """Reach the engine and log in (``level`` "server": only reach it). Raises Failure."""
    connected = _reach(site, given)
    link = Link(connected)
    wanted = {key: given[key] for key in ("server", "dbn", "dbf", "uid", "pwd") if key in given}
    try:
        link.ask({"command": "connect", "level": level, "app": app, **wanted})
    except Failure:
        link.close()
        raise
    return link


def _reach(site: Site, given: Mapping[str, str]) -> socket.socket:
    network = _network_address(given)
    if network:
        try:
            return socket.create_connection(network, timeout=None)
        except OSError as error:
            raise _not_found() from error
    if "server" in given:
        found = site.answers(given["server"])
        server = given["server"]
    else:
        # Without a name it is whatever server runs already, the first one started.
        server = next(iter(site.servers()), "")
        found = bool(server)
    if not found:
        if "dbf" not in given or given.get("astart", "yes").lower() in ("no", "n", "off", "0", "false"):
            raise _not_found()
        server = given.get("server") or Path(given["dbf"]).stem
        _start_engine(site, server, given["dbf"])
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(site.address("server", server))
    except OSError as error:
        connected.close()
        raise _not_found() from error
    return connected


def _not_found() -> Failure:
    return Failure(SERVER_NOT_FOUND, "Database server not found")


def _network_address(given: Mapping[str, str]) -> tuple[str, int] | None:
    if "host" in given:
        host, _, port = given["host"].partition(":")
        return host, int(port or 2638)
    links = re.fullmatch(r"tcpip(?:\((.*)\))?", given.get("links", ""), re.IGNORECASE)
    if links is None:
        return None
    pairs = dict(part.lower().split("=", 1) for part in (links[1] or "").split(";") if part)
    return pairs.get("host", "127.0.0.1"), int(pairs.get("port", "2638"))


def _start_engine(site: Site, server: str, database: str) -> None:
    """What ASTART=NO prevents."""
    import subprocess

    spawn = [site.home / "bin64" / "dbspawn", "-f", site.home / "bin64" / f"dbeng{site.version}"]
    code = subprocess.run([*spawn, "-n", server, database], stdout=subprocess.DEVNULL, check=False).returncode
    site.event("autostart", server=server, database=database, code=code)
    if code:
        raise Failure(code, "Unable to start the database server")


def expand(arguments: list[str]) -> list[str]:
    """Arguments with each @data replaced by the options in that environment variable or file."""
    result = []
    for argument in arguments:
        if not argument.startswith("@"):
            result.append(argument)
            continue
        name = argument[1:]
        text = os.environ.get(name)
        try:
            result += expand(_words(text if text is not None else Path(name).read_text("utf-8")))
        except OSError as error:
            raise Failure(USAGE, f"Cannot read {argument}") from error
    return result


def _words(text: str) -> list[str]:
    """Words of a configuration file: double quotes keep spaces, # begins a line that does not count."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [
        re.sub(r'"([^"]*)"', r"\1", word) for word in re.findall(r'(?:[^\s"]|"[^"]*")+', "\n".join(lines))
    ]


def options(arguments: list[str], flags: str, valued: str) -> tuple[dict[str, str], list[str]]:
    """Options by name, and the rest, of a tool's command line. Raises Failure 255 for one it does not know.

    A value may stand apart or follow its letter at once (``-b 64``, ``-b64``).
    """
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(expand(arguments))
    known, values = flags.split(), valued.split()
    for word in words:
        if not word.startswith("-") or len(word) < 2:
            rest.append(word)
        elif word[1:] in known:
            found[word[1:]] = ""
        elif word[1:] in values:
            value = next(words, None)
            if value is None:
                raise Failure(USAGE, f"{word} needs a value")
            found[word[1:]] = value
        elif word[1:2] in values:
            found[word[1:2]] = word[2:]
        else:
            raise Failure(USAGE, f"Invalid option {word}")
    return found, rest
