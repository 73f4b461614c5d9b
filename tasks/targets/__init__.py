"""Where backups go: one service a file, each a Target held to tests/contract/target_contract.py.

base.py      the seam: seven methods, a properties record, prepare
registry.py  plan kind -> options and adapter; adding one is one line there
folder.py    a folder on a network drive or another disk
disk.py      its part files, slot folders and reads past the cache
drive.py     removable media that take turns: the folder target on the medium that is due
  drive_places.py  what is plugged in, and where to look for it
  drive_choice.py  which of these is meant, or why none is, in words for the staff
  drive_marker.py  the file that says which medium it is; making a drive a medium
  drive_media.py   what a machine remembers of its media
sftp.py      a folder on an SSH server
smb.py       a Windows share that is not mounted
  remote.py         what these two have in common: a way to a folder on another machine
  remote_folder.py  the target on it
  remote_parts.py   sending, and going on where a dead run stopped
unmarked.py  a folder, a drive or a remote folder read as it is, on the worst day
addresses.py such a place by its address alone: s3://…, sftp://…, smb://…, a path
memory.py    the reference implementation, in memory
marker.py    the file that tells a medium from the empty folder it is mounted on
faults.py    what the operating system says -> the TargetError branch
s3.py        a bucket; its parts are s3_*.py, listed there
throttle.py  the bandwidth that each may take
transfer.py  reading exactly as many bytes as were announced
"""
