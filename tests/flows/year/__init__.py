"""Four hundred nights of one office, night by night, against what its calendar on the wall says.

- ``almanac.py``  the office's policy in plain calendar arithmetic: what must lie where. It imports nothing
  of the program, so that one can be held against the other
- ``events.py``   holidays, and what goes wrong on which night
- ``world.py``    the clock, the drives, the S3 server: real ones, in the state that a night finds them in
- ``nights.py``   one backup by the program's own steps
"""
