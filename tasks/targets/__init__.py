"""Where backups go: a package a service, each a Target held to tests/contract/target_contract.py.

base.py          the seam: the methods of every target, what their options have in common
capabilities.py  what only some targets can do, and what is done where it is lacking
registry.py      plan kind -> options and adapter; adding one is one line there
folder/ drive/ s3/ sftp/ smb/ memory/   the adapters; shared/ what several of them need
README.md        how to add one, in steps
"""
