"""Engines that can be copied while they are in use, all behind one seam.

base.py               Source, the seam; the contract is tests/contract/source_contract.py
registry.py           which ``kind:`` of the plan is which engine
sqlite.py             SQLite behind the seam; its three parts:
sqlite_connection.py  opening live databases and finished copies, and what SQLite's errors mean
sqlite_copy.py        the online backup, kind to the programs that write meanwhile
sqlite_validation.py  the engine's own checks of a finished copy
"""
