"""Telling people how a run went.

::

    wording.py    sizes, durations, times, counts; foreign text made harmless
    facts.py      one run's facts in words and in reading order, shared by every form of the report
    proof.py      which steps of the chain of proof the facts of a run bear out
    report.py     those facts as an HTML page and as markdown for the artifact in the UI
    report.html   the page's template
    status.py     how things stand, on one page (status.html), with small plots
    pages.py      pages from templates; base.html has their look and their policy: nothing fetched, no script
"""
