"""What the deployments of a plan are called, in the words of whoever looks for one in the Prefect UI.

The UI's page of deployments lists the names alone, those of all plans on its server: each is there once.
Names are short, since it cuts them off after some 24 letters, and hold no quotes, so that they can be typed:
``prefect deployment run "drill/Drill clinic"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NAMES = {
    "backup": "Back up {}",
    "drill": "Drill {}",
    "audit": "Look at {} targets",
    "restart": "Restart {} engine",
    "log": "Back up {} log",
    "deliver": "Deliver {} backup",
    "prune": "Prune {} backups",
    "restore": "Restore {}",
    "copy": "Copy {} unencrypted",
    "check": "Check {}",
    "alarm": "Alarm of {}",
}


def deployment_name(flow: str, plan: str) -> str:
    """The name of a plan's deployment of a flow; whoever looks for it asks here, too."""
    return NAMES[flow].format(plan)


def plan_of(flow: str, name: str) -> str:
    """The name of the plan whose deployment of a flow has this name."""
    before, after = NAMES[flow].split("{}")
    return name.removeprefix(before).removesuffix(after)


def forget_old_names(client: SyncPrefectClient, plan: str) -> int:
    """Remove the deployments that were registered when all of a plan's had its name; how many there were.

    They would go on to start runs of their own by the same schedule. Their past runs stay.
    """
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, DeploymentFilterTags

    old = DeploymentFilter(
        name=DeploymentFilterName(any_=[plan]), tags=DeploymentFilterTags(all_=["datasave"])
    )
    found = client.read_deployments(deployment_filter=old)
    for deployment in found:
        client.delete_deployment(deployment.id)
    return len(found)
