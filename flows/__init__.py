"""The procedures: backup, deliver, drill, restore, audit, restart, prune. They order steps, with no I/O of
their own.

``outcome.py`` turns the states of a run's tasks into the facts of its report.
"""
