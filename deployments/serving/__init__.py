"""What runs the schedules of a plan, free of the command line.

- environment.py  Prefect's settings, passwords and addresses, before Prefect is imported
- server.py       Prefect servers that this program starts, and the programs that end with it
- supervisor.py   starts again what died
- runner.py       the child of `datasave serve`: registers a plan's deployments, runs them
- worker.py       the same by way of a work pool of another server
- deployments.py  which flows are deployed, under which names, with which forms
- automations.py  what the server does when a run dies or none starts
- rerun.py        a failed run once more
- units.py        `datasave serve` as a service of the system
- fleet.py        many offices on one server
"""
