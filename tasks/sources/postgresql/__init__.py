"""PostgreSQL: a whole server, or one database."""
