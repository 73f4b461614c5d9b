"""SQLite: one database file."""
