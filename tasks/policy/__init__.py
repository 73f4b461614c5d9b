"""Decisions as pure functions: no clock, no I/O, records in and records out.

- ``due.py``        when a target is due, and catching up after a missed day
- ``rotation.py``   which medium has its turn, which one goes home, which one comes back
- ``retention.py``  which backups of a target stay and which go, and why
"""
