"""Telling people how a run went, and how backups stand.

::

    wording.py      sizes, durations, times, counts; foreign text made harmless
    verdict.py      good or not, the one word for it, how far it is proved, what to do next
    report_text.py  one run's facts in words and in reading order, shared by every form of the report
    report_page.py  those facts as an HTML page (report.html), as markdown and as tables for the UI
    notice.py       what is sent: subject, text, a mail's HTML (mail.html), the page that goes with it
    mail.py, apprise_channel.py, heartbeat.py   the channels: SMTP, a transaction a recipient; phones and chat
                    rooms by the library apprise; an outside dead-man's switch
    status_page.py  how things stand, on one page (status.html), with small plots
    metrics.py      the same as figures that monitoring reads
    drills_page.py  all drills: what was proved, with whose key, what is due (drills.html)
    runbook_page.py the disaster plan as Markdown (runbook.md) and as a page made of it (runbook.html)
    pages.py        pages from templates; base.html has their look, and their policy: no fetching, no script
"""
