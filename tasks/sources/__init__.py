"""Engines that can be copied while they are in use, all behind one seam.

base.py               Source, the seam; the contract is tests/contract/source_contract.py
place.py              where the live data lies, for a restore in place
registry.py           which ``kind:`` of the plan is which engine
folders.py            a copy's folder: growth, its files, closing it to others, restoring into a new one
odbc.py               the driver manager, SQLSTATEs, rows

One file an engine, named after its kind; its docstring lists its parts, whose names begin alike:

sqlite.py             the embedded database, by its online backup
sqlanywhere.py        SAP SQL Anywhere, by dbbackup; proved by a private engine over a clone
postgresql.py         PostgreSQL, by pg_basebackup or pg_dump; proved by a private server
mariadb.py            MariaDB by mariadb-backup or a dump, MySQL by a dump; proved by a private server
sqlserver.py          Microsoft SQL Server, by BACKUP DATABASE; proved by a scratch restore
files.py              a plain folder, such as that of the program that uses the database
"""
