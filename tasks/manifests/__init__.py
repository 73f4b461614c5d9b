"""What stands beside every sealed archive, and what a target therefore holds.

- ``signing.py``   the backup machine's Ed25519 key; signing and verifying manifests and certificates
- ``manifest.py``  object names, and the JSON of manifests and certificates, read strictly
- ``shelf.py``     every backup of a target, each with the defect that keeps it from counting
- ``recover_page.py``   RECOVER.md, the way back without this program (text in ``recover.md``)
"""
