"""The plan file: what to back up, where to, under whose keys, when.

- model.py     the options, each with its description and examples; the one declaration that also
               gives the sample plan, the reference and the JSON schema
- notices.py   the options of the group `notices`: mail, channels, heartbeats
- load.py      ``load_plan(path, kinds) -> Plan``: reads, checks, anchors relative paths
- document.py  strict YAML: no duplicate keys, no tags, no aliases; errors with line and column
- problems.py  what is wrong with a plan, one line each, never showing a value
- cron.py      five-field cron expressions, and those that would never come due
- secrets.py   references to secrets (env:, file:, prefect:) and how they are resolved
- sample.py    a commented plan to begin with, and the JSON schema for editors

The adapters' option models are handed in (``Kinds``), so that this package imports no adapter.
"""
