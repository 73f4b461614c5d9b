"""``python -m deployments``: the same program where no script was installed."""

from deployments.cli.app import entry

entry()
