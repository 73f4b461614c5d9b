"""The plan file: what to back up, where to, under whose keys, when.

- model.py     the options, each with its description and examples; the one declaration that also
               gives the sample plan, the reference and the JSON schema
- groups.py    its optional groups: schedule, drill, audit, keys
- notice_options.py   the group `notices`: mail, channels, heartbeats
- fields.py    the texts in it: names, recipients, time zones, each with its check
- load.py      ``load_plan(path, kinds) -> Plan``: reads, checks, anchors relative paths
- document.py  strict YAML: no duplicate keys, no tags, no aliases; errors with line and column
- problems.py  what is wrong with a plan, one line each, never showing a value
- cron.py      five-field cron expressions, and those that would never come due
- sample.py    a commented plan to begin with, and the JSON schema for editors

The adapters' option models are handed in (``Kinds``), so that this package imports no adapter.
"""
