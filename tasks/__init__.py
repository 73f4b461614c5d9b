"""The steps of Datasave's flows, and the libraries they are made of.

The files in this folder wrap steps as Prefect tasks, by stage:

- ``taking.py``      preflight, live copy, validation
- ``sealing.py``     archive, encryption
- ``rehearsing.py``  the restore in scratch before anything is delivered
- ``sending.py``     delivery, read-back
- ``retaining.py``   pruning
- ``recovering.py``  drill, restore
- ``copying.py``     a readable copy of the database, a check of it, when someone asks
- ``restarting.py``  the engine's daily restart, backups of its log
- ``reporting.py``   report page and artifact, audit
- ``noticing.py``    people and the outside switch are told how a run went
- ``progress.py``    progress for the terminal and the run's page

Underneath: ``steps/`` (the same steps as plain functions), then the libraries ``plan``, ``sources``,
``archive``, ``age``, ``targets``, ``manifests``, ``policy``, ``checks``, ``notices``, ``escrow``, which do
not import one another, then what all of them share: ``calendars.py``, ``options.py``, ``records.py``,
``reports.py``, ``secrets.py``, ``processes.py`` (with ``leash.py``), ``errors.py``, ``files.py``. Imports
run that one way, and Prefect is imported in the files of this folder, in flows/ and in deployments/ only; a
test holds it.
"""
