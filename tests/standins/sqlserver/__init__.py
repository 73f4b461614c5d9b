"""A stand-in for Microsoft SQL Server: real FreeTDS ODBC logs into it, real rows come back.

SQL Server cannot be had for these tests. This package speaks its wire protocol on loopback and holds real
databases, each an SQLite file with the server's name for it (``.mdf``) and a log (``.ldf``) beside it.

What it is based on: [MS-TDS] (pre-login, LOGIN7, SQL batch, attention; the tokens of a reply) and
Microsoft's pages on BACKUP, RESTORE (also VERIFYONLY, HEADERONLY, FILELISTONLY), DBCC CHECKDB, ALTER and DROP
DATABASE, HAS_PERMS_BY_NAME, the ``sys`` catalog views and sys.dm_exec_requests. Error numbers and severities
are the documented ones, the texts are shortened. A statement outside the documented syntax gets error 102.

What it models:

- ``wire.py``        packets and tokens, no TLS: a client that requires encryption is refused by itself
- ``server.py``      logins, rights, sessions; ``Knobs`` make it misbehave
- ``dialect.py``     T-SQL split into words, and made into what SQLite reads
- ``statements.py``  BACKUP, RESTORE, DBCC, ALTER, DROP, parsed strictly
- ``catalog.py``     the ``sys`` views that hold what is in a database, and the built-in functions
- ``storage.py``     databases, and the ``.bak``: a header, then each page with its checksum

A BACKUP sends its messages while it works and is cut off when the client cancels, closes its cursor early or
goes away: the file is then gone, as people find who read only the first result (pyodbc issues 72 and 471).
One without COPY_ONLY moves the database's differential base (``Database.differential_base``). A restored
database belongs to who restored it, and brings the users of the original with it.

What it does not model: procedures, functions, views and triggers are kept as texts and never run; types are
those of the values (numbers, texts, bytes); recovery models, logs, TLS, named instances, several backup sets
in a file, tape, stripes, encryption and compression. Nothing here says how fast the real one is.
"""
