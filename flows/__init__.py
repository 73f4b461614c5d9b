"""The procedures: backup, deliver, drill, restore, audit, copy, check, restart, log, prune. They order
steps and do no I/O of their own.

``alarm.py`` tells what no run can. ``report.py`` turns the outcomes of a run's steps into its report;
``ending.py`` tells people how a run went, gives it its state and clears staging after one that was cut off.
"""

from tasks.platform.secrets import look_up_by
from tasks.steps.running import prefect_secret

# Wherever a flow runs there is a Prefect server: adapters and drills find their `prefect:` references there.
look_up_by(prefect_secret)
