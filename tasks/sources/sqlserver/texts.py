"""Texts for people at a SQL Server: the login a backup needs, and how to bring a backup back by hand."""

from __future__ import annotations

from tasks.sources.sqlserver.connection import bracketed

AFTER_RESTORE = """\
The folder holds `database.bak`, a plain SQL Server backup, and `about.json`, which says which database and
which version of SQL Server it is of: restore it on that version or a newer one. Put `database.bak` where the
SQL Server service can read it (`C:\\SOSBU`, say), and in `sqlcmd` or Management Studio list its files:

    RESTORE FILELISTONLY FROM DISK = N'C:\\SOSBU\\database.bak';

Then restore it under a new name, with a MOVE for each LogicalName of that list; nothing is overwritten:

    RESTORE DATABASE [Restored] FROM DISK = N'C:\\SOSBU\\database.bak' WITH CHECKSUM,
      MOVE N'Practice' TO N'C:\\SOSBU\\Restored.mdf', MOVE N'Practice_log' TO N'C:\\SOSBU\\Restored.ldf';
    DBCC CHECKDB (N'Restored') WITH NO_INFOMSGS, ALL_ERRORMSGS;

CHECKDB must say nothing. Look whether the newest entries are there, then rename the old database (to
`DATASAVE`, say; don't drop it yet) and give the restored one its name with ALTER DATABASE … MODIFY NAME. On a
new server, make the logins again: ALTER USER … WITH LOGIN = … ties each to its user in the database. Delete
`database.bak` from that folder at the end.
"""

_GRANTS = """\
-- Run as an administrator of the SQL Server that holds the database.
USE [master];
CREATE LOGIN [datasave] WITH PASSWORD = N'<a long password>', CHECK_POLICY = ON;
-- To check backups, and to restore them in scratch under names of their own:
GRANT CREATE ANY DATABASE TO [datasave];
-- Only to show how far a backup is:
GRANT VIEW SERVER STATE TO [datasave];
USE {database};
CREATE USER [datasave] FOR LOGIN [datasave];
-- To back up; this does not let it read a single row:
ALTER ROLE [db_backupoperator] ADD MEMBER [datasave];

-- In the scratch database it reads every table and runs DBCC CHECKDB, which takes db_owner there. Who
-- restores a database owns it; where the server still keeps the old owner's rights inside, `datasave doctor
-- --conformance` says so. Then install a free Express instance, name it as `scratch_server`, and run there:
--   CREATE LOGIN [datasave] WITH PASSWORD = N'<the same password>';
--   ALTER SERVER ROLE [sysadmin] ADD MEMBER [datasave];
-- For a Windows account write CREATE LOGIN [MACHINE\\account] FROM WINDOWS, and that name for [datasave].
-- Let the accounts of the SQL Server service and of Datasave into `backup_folder`, and nobody else.
"""


def grants_for(database: str) -> str:
    """The statements for a login that backs ``database`` up."""
    return _GRANTS.format(database=bracketed(database))
