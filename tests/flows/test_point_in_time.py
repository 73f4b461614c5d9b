"""PostgreSQL brought back to a moment between two backups: what came before is there, what came after not."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.flows.engines import options_of
from tests.flows.site import Site
from tests.servers.postgresql import BIN, SUPERUSER, postgresql_server, started


def words_in(data: Path, pass_file: Path) -> str:
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets, started(data, Path(sockets)):
        command = [BIN / "psql", "-X", "-A", "-t", "-h", sockets, "-U", SUPERUSER, "-d", "clinic"]
        command += ["-c", "SELECT string_agg(word, ' ' ORDER BY word) FROM words"]
        environment = {"PGPASSFILE": str(pass_file)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_moment_between_two_backups(
    tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefect_server
    with postgresql_server() as server:
        server.create("clinic")
        server.sql("clinic", "CREATE TABLE words (word text PRIMARY KEY)", "INSERT INTO words VALUES ('a')")
        source = {**options_of(server.source("physical", "clinic")), "log_folder": str(tmp_path / "log")}
        site = Site.make(tmp_path, ["nas"], source=source)
        assert site.run("backup") == 0
        server.sql("clinic", "INSERT INTO words VALUES ('b')")
        assert site.run("log") == 0
        server.sql("clinic", "INSERT INTO words VALUES ('c')")
        moment = server.sql("clinic", "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
        time.sleep(0.05)
        server.sql("clinic", "INSERT INTO words VALUES ('d')")
        assert site.run("log") == 0
        key, log = ["--identity", str(site.keys[0])], ["--logs", str(tmp_path / "log")]
        expected = {
            "night": ([], "a"),
            "moment": ([*log, "--until", moment], "a b c"),
            "now": (log, "a b c d"),
        }
        for name, (options, words) in expected.items():
            assert site.run("restore", *key, "--to", str(tmp_path / name), *options) == 0, capsys.readouterr()
            pass_file = server.folder / f"{SUPERUSER}.pass"
            assert words_in(tmp_path / name / "data", pass_file) == words
            left = {path.name for path in (tmp_path / name).iterdir()}
            assert left == {"data", "datasave.json"}
        capsys.readouterr()
        late = ["--until", "2099-01-01 00:00"]
        assert site.run("restore", *key, *log, *late, "--to", str(tmp_path / "late")) == 1
        assert "cannot replay the log" in capsys.readouterr().err
        assert list((tmp_path / "late").iterdir()) == [], "half a restore is nobody's"
        assert site.run("restore", *key, "--until", moment, "--to", str(tmp_path / "x")) == 1
        assert "--logs" in capsys.readouterr().err
