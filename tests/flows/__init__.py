"""Whole runs: flows on a real database and real folders, in this process or as a user starts them."""
