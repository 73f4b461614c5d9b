"""The body of every step, as plain functions: libraries wired together, no Prefect.

The files in ``tasks/`` wrap these functions as Prefect tasks; ``datasave restore`` calls them
directly, because on the worst day no server may be needed.

- ``office.py``      a plan with its adapters, its state folder and its keys
- ``identities.py``  identity files, under a passphrase or not
- ``escrow.py``      a key on paper, in shares, under a passphrase
- ``holders.py``     what a key opens
- ``keyproofs.py``   when each key last opened a backup
- ``rewrapping.py``  backups sealed anew for other holders
- ``workspace.py``   private staging of one run: lock, ledger, sweeping of what dead runs left
- ``taking.py``      preflight, live copy, validation with profile
- ``listing.py``     the files of a copy, whose names stay in staging
- ``sealing.py``     archive, encryption, the signed manifest
- ``rehearsing.py``  open the sealed archive in scratch and compare it with what was recorded
- ``proving.py``     rehearse, compare with earlier runs, sign the manifest: the last gate
- ``appointments.py`` which targets are due, and what each got last
- ``media.py``       removable media: made ready, whose turn it is, where they are
- ``sending.py``     put on a target, read back, publish the manifest
- ``spooling.py``    sealed archives that wait for a target
- ``retaining.py``   what a target holds, what retention says, removal
- ``trending.py``    what earlier runs saw, and whether the newest looks like them
- ``history.py``     what ran on this machine, in counts and sizes
- ``status.py``      how things stand, from what is remembered
- ``signs.py``       headers, names and noise in the files of a copy
- ``marks.py``       what to know of a marked backup before it is brought back
- ``accepting.py``   a person's word that a change was meant
- ``copying.py``     a readable copy of the database, a check of it, when someone asks
- ``restarting.py``  the engine's daily restart, backups of its log
- ``recovering.py``  fetch, open, prove: shared by drill and restore
- ``rescuing.py``    what lies in a place that nothing is known of, and which of it to bring back
- ``thawing.py``     archives in cold storage: asked for, waited for, the wait counted
- ``drills.py``      certificates of drills, on the targets and kept here; whose turn is next
- ``drillbook.py``   what drills proved and what is due, in words
- ``posture.py``     the facts that an office's posture is judged by
- ``picking.py``     a single file or table out of a backup
- ``replacing.py``   restore in place: aside, new data placed, opened, started; resume and undo
- ``replaceable.py`` whether that can be done here, and what it will do
- ``moving.py``      its renames, owners and permissions
- ``journal.py``     its journal: which steps are signed off
- ``auditing.py``    every target: present, whole, fresh, locked
- ``freshness.py``   whether the newest backup is the one that should be there by the schedule
- ``premises.py``    which targets would outlast a fire in the office
- ``runbook.py``     the disaster plan, on this machine and on the targets
- ``auditing.py``    every target: present, whole, fresh
- ``noticing.py``    who is told how a run went, by which ways, in which order
- ``checkup.py``     what ``datasave doctor`` looks at
"""
