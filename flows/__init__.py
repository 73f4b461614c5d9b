"""The procedures: backup, deliver, drill, restore, audit, copy, check, restart, log, prune. They order
steps and do no I/O of their own.

``alarm.py`` tells what no run can; ``clearing.py`` empties staging after a run that was ended from outside.
``ending.py`` tells people how a run went and gives it its state.
``outcome.py`` turns the states of a run's tasks into the facts of its report, ``looked.py`` those of copy
and check, which make no backup.
"""

from tasks.platform.secrets import look_up_by
from tasks.steps.running import prefect_secret

# Wherever a flow runs there is a Prefect server: adapters and drills find their `prefect:` references there.
look_up_by(prefect_secret)
