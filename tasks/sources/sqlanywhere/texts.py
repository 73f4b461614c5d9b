"""What SQL Anywhere's people are told: the rights a backup needs, and how to restore without Datasave."""

from __future__ import annotations

AFTER_RESTORE = """\
The folder `database` holds the database as SAP's `dbbackup` copied it: the `.db` file, its dbspaces if it
has any, and the `.log`. The three belong together: never mix in files of another day. You need SQL Anywhere
of the version named in `sqlanywhere-copy.json`, or newer.

Work on a second copy of the folder, and keep the first as it is: starting a database alters it.

1. Try it beside everything else. `-ds` keeps the engine from touching the log or the dbspaces at the
   places the database remembers, which are the old ones:

       dbeng17 -n trial_restore -x none FOLDER/SOSDATA.db -n trial -ds FOLDER
       dbvalid -c "SERVER=trial_restore;DBN=trial;UID=...;PWD=...;ASTART=NO"
       dbstop -y trial_restore

   `dbvalid` must end with code 0. Accounts and passwords are those of the day of the backup.
2. Put it in its place. Close the practice program on every computer, stop the engine, rename the old data
   folder (to `DATASAVE`, say; don't delete it yet), make a new one and put the files of `database` there
   under their names. Then start the engine and the program, and look whether the newest entries are there.
3. At another path than before, tell the database where its log is, once, before the first start:

       dblog -t FOLDER/SOSDATA.log FOLDER/SOSDATA.db

Log backups, if there are any, are applied without a gap, in one go: put the backup's own log and all later
ones into a folder LOGS, out of FOLDER, and run

    dbeng17 -n apply_logs -x none FOLDER/SOSDATA.db -ds FOLDER -ad LOGS

The engine applies them in the order of their offsets and ends. `dblog` tells each log's offsets: every log
must begin where the one before it ended, or changes are lost. Where the first later one begins at the same
offset as the backup's own log, it holds that one's changes too: leave the own log out."""

_SOS = """\
-- SOS Office Manager 2016 and later makes such an account itself: Administration module, list of user
-- accounts, tab "Backup Users". What follows is then needed only for validating and reading the copies.
"""

_READER = """
-- Checking and counting copies takes an account that may validate and read every table: give its name and
-- password as `read_user` and `read_password`; left out, `user` does this too. Tables made later need the
-- right as well. This prints the statements, one for each table; run what it prints.
SELECT 'GRANT SELECT ON "' || u.user_name || '"."' || t.table_name || '" TO {reader};'
FROM SYS.SYSTAB t JOIN SYS.SYSUSER u ON u.user_id = t.creator
WHERE t.table_type_str = 'BASE' AND u.user_name NOT IN ('SYS', 'PUBLIC', 'dbo');
"""


def grants(version: int, user: str, reader: str) -> str:
    """The statements for an account that may copy, and for one that may check and read copies."""
    if version >= 16:
        rights = (
            f"GRANT ROLE SYS_AUTH_BACKUP_ROLE TO {user} WITH NO ADMIN OPTION;\n"
            f"GRANT ROLE SYS_AUTH_VALIDATE_ROLE TO {reader} WITH NO ADMIN OPTION;\n"
        )
    else:
        rights = f"GRANT BACKUP TO {user};\nGRANT VALIDATE TO {reader};\n"
    accounts = dict.fromkeys((user, reader))
    made = "".join(f"CREATE USER {name} IDENTIFIED BY 'a long password of its own';\n" for name in accounts)
    head = f"-- SQL Anywhere {version}; run as an administrator, for example in dbisql.\n"
    return f"{head}{_SOS}{made}{rights}{_READER.format(reader=reader)}"
