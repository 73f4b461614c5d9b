"""How flows get run: the command line, the served schedules, the demonstration.

- ``cli.py``          the program ``datasave``: commands, exit status, the one clear line of a failure
- ``planning.py``     init, doctor, adopt
- ``keyring.py``      keys new, protect, sheet, split, join
- ``holders.py``      keys opens, rewrap
- ``proving.py``      keys prove, status
- ``unlocking.py``    passphrases of identity files
- ``running.py``      backup, retry, deliver, drill, audit, restart, log
- ``pruning.py``      prune
- ``adhoc.py``        copy, check: the database as it is now, no backup
- ``forms.py``        the plan's names to choose from in the form of a custom run
- ``media.py``        media init, list, which
- ``worstday.py``     restore, with no Prefect at all
- ``picking.py``      restore --only: a single file or table
- ``inplace.py``      restore in place, its resume and undo
- ``rescue.py``       rescue: the same with no plan, from any place, on a bare machine
- ``drilling.py``     drills: what was proved, what is due
- ``posturing.py``    posture: what of the advice on backups is followed
- ``asking.py``       list, status
- ``telling.py``      notify
- ``disaster.py``     runbook: the disaster plan
- ``standing.py``     the status as a terminal shows it
- ``serving.py``      serve: keeps a Prefect server (``server.py``) and the runner of the plan's flows
                      (``runner.py``) going; both are ``children.py``
- ``registering.py`` the plan's deployments: flows, schedules; flows that users start are added here
- ``naming.py`` what each deployment is called, and away with those of earlier names
- ``services.py``     serve --install: serve as a service; what the systems' files say is in ``units.py``
- ``deploying.py``    deploy, worker: runs by way of a work pool; ``prefect.yaml`` is what deploy writes
- ``supervising.py``  starts again what serves or works, where it died or lost touch with the server
- ``watching.py``     automations: a dead run counts as Crashed; alarms after that, and after a silence
- ``demo.py``         a clinic in a scratch folder, from first backup to drill
- ``environment.py``  Prefect's settings, set before Prefect is imported
- ``reaching.py``     the server that a command talks to: the one that is set, or one of its own while it runs
- ``fleet.py``        fleet register, fleet status: many offices on one server; fleet_status.py asks it
- ``screen.py``       what a person sees in the terminal
"""
