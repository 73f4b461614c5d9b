"""Decisions as pure functions: no clock, no I/O, records in and records out.

- ``retention.py``  which backups of a target stay and which go, and why
"""
