"""What stands beside every sealed archive, and what a target therefore holds.

- ``signing.py``   the backup machine's Ed25519 key; signing and verifying manifests and certificates
- ``manifest.py``  object names, and the JSON of manifests and certificates, read strictly
- ``entries.py``   one backup, with the defect that keeps it from counting
- ``strays.py``    files of a backup that were renamed or moved apart
- ``shelf.py``     every backup of a target, and finding one among them
- ``newer.py``     what is newer than the one that is used, and why it was passed over
- ``recover_page.py``   RECOVER.md, the way back without this program (text in ``recover.md``)
"""
