"""What a copy holds, and whether that is what it should hold.

measure.py   SQL on an open copy: the profile (rows and fingerprint of every table), the users' values, each
             as a number, a text, or an age in days
judge.py     the verdict: profile against profile, values against the users' expectations
gx.py        Great Expectations, kept quiet; checks a plan's expectations
"""
