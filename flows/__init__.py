"""The procedures: backup, deliver, drill, restore, audit, restart, log, prune. They order steps and do no
I/O of their own.

``outcome.py`` turns the states of a run's tasks into the facts of its report.
"""
