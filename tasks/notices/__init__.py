"""Telling people how a run went.

::

    wording.py    sizes, durations, times, counts; foreign text made harmless
    facts.py      one run's facts in words and in reading order, shared by every form of the report
    proof.py      which steps of the chain of proof the facts of a run bear out
    report.py     those facts as an HTML page and as markdown for the artifact in the UI
    grids.py      the same facts as tables for the UI: checks by table, sizes and times by step
    verdict.py    good or not, the one word for it, what to do next
    notice.py     what is sent: subject, text, a mail's HTML (mail.html), the page that goes with it
    mail.py       over SMTP, a transaction a recipient
    channels.py   to phones and chat rooms, by apprise
    heartbeat.py  to an outside dead-man's switch
    report.html   the page's template
    status.py     how things stand, on one page (status.html), with small plots
    runbook.py    the disaster plan as Markdown (runbook.md) and as a page made of it (runbook.html)
    scenarios.py  the seven bad days, and what to type on each
    pages.py      pages from templates; base.html has their look and their policy: nothing fetched, no script
"""
