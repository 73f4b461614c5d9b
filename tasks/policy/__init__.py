"""Decisions as pure functions: no clock, no I/O, records in and records out.

- ``due_rules.py``      when a target is due (catching up included), how new its newest backup must be
- ``rotation.py``       which medium has its turn, which one goes home, which one comes back
- ``retention.py``      which backups of a target stay and which go, and why
- ``drill_turns.py``    which target is drilled next, and with whose key
- ``trend_rules.py``    whether a backup looks like those before it
- ``file_signs.py``     what ransomware leaves in files
- ``posture_rules.py``  how far an office follows the advice on backups
"""
