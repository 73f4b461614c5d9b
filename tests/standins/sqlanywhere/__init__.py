"""A stand-in for SQL Anywhere 11, 12, 16 and 17 on Linux: its programs, its files, its ODBC driver.

    standin = StandIn.install(tmp_path / "sqlanywhere17", version=17)  # bin64/…, lib64/libdbodbc17_r.so
    for name, value in standin.environment.items():
        monkeypatch.setenv(name, value)                      # ODBCSYSINI, ODBCINI, SQLANY17
    with standin.production(tmp_path / "SOS") as db:         # server SOSSERVER, database sosdata
        db.execute("INSERT INTO DBA.patients VALUES (4, 'New', NULL)")
        with db.writer():                                    # the contract's ledger, about 20 commits/s
            standin.run("dbbackup", "-y", "-c", "uid=BU_BILL;pwd=PASSword#1;dsn=SOSDATA", tmp_path / "copy")

``production.py`` has the database: tables of DBA in ``sosdata.db`` (patients, visits, notes and the ledger
entries, left_half, right_half, counter), tables of sos in the dbspace ``documents.db`` (documents, notes),
``sosdata.log``; users in PASSWORDS. ``db.odbc(user)`` is a pyodbc connection, ``db.client(user)`` one that
may write, ``db.string(user)`` a connection string, ``db.kill()`` a power cut, ``damage_row(file)`` alters
three bytes of a row. ``Driver=`` takes ``standin.driver_name`` or the path ``standin.driver``. The driver
finds its install by SQLANY17 (or ODBCSYSINI) in the environment of the process that connects.

``standin.events(name, **facts)`` tells what was done on the machine: ``call`` and ``exit`` of every program
(arguments, names of environment variables, code), ``load`` of a database (server, path, log, spaces: were
they production's?), ``start`` of a server (arguments, port: None for -x none), ``connect``, ``autostart``,
``stop``. Two installs that are given one ``machine`` folder share servers. ``standin.end_all()`` kills what
is left running.

Faults: ``standin.fault("dbbackup", exit=17)``, for any program (``dbeng``, ``dbsrv`` without a version);
``standin.fired("dbbackup")`` proves it happened; ``standin.clear_faults()``.
  exit=n            end with n at once         exit_late=n   do everything, then end with n
  message="…"       print it, on both outputs  delay=s       begin later
  hang=True         never end (stubborn=True: nor for SIGTERM)
  map={"9": 20}     another exit code          times=n       only the first n calls
  dbbackup: pause=s after each block, die_after=n blocks (code=6), full_after=n bytes (disk full),
  skip=[names] not written, spoil=[names] three bytes altered in the copy, empty=True nothing written
  dbeng, dbsrv: slow_stop=s

Exit codes arise by themselves: 2 a file cut short, damage found by dbvalid; 3 a folder that cannot be made
or written; 5 a prompt with nobody to answer; 6 the engine is gone; 7 a server without a database; 9 wrong
password, DSN or connection string; 10; 11; 14 not a database; 15 log missing or not this database's; 16; 17
a damaged page in recovery; 20 rights; 21; 255. By a fault: 1 (also: -r where recovery is needed, a table
that is not there), 4, 8, 12, 13, 18, 19.

How it works: the database file is SQLite pages plus what the engine keeps (container.py), the log has every
statement (redo.py), the file is as of a checkpoint, recovery applies the log (database.py). While an engine
runs, the current state is in working files of the machine folder, which ODBC opens (shim.c, odbc.py). SQL is
SQLite's, with the tables of an owner under the owner's name.

Limits: one owner is one file. ODBC connections only read, do not count as active for dbstop, and outlive
their server. Statements are logged, so they must not use random() or the clock. No CALL, BACKUP or VALIDATE
statement, no encryption, mirroring, dbfhide or dbtran. Assumed: the wording of output, and the codes 2, 9
and 20 where the facts leave a choice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.standins.sqlanywhere.install import StandIn
    from tests.standins.sqlanywhere.production import Production, damage_row

__all__ = ["Production", "StandIn", "damage_row"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: the programs import this package too, and start quicker without."""
    modules = {"StandIn": "install", "Production": "production", "damage_row": "production"}
    if name not in modules:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{modules[name]}"), name)
