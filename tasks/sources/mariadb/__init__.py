"""MariaDB, a whole server or one database; MySQL by dump."""
