"""The form of a custom run in the Prefect UI: names are picked from the plan's, not typed.

Prefect makes the form from a flow's signature and docstring. What only the plan knows is filled in here,
when a deployment is registered: the server refuses other values then, wherever they come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.context import PlanContext

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def fill_in(made: RunnerDeployment, context: PlanContext, plan: str) -> None:
    """Give the form of a deployment the plan's own names to choose from; ``plan`` is where the plan lies."""
    schema = made._parameter_openapi_schema
    targets = [entry.name for entry in context.plan.targets]
    choices: dict[str, dict[str, Any]] = {
        # Shown, not to be changed: whoever may start runs starts those of this plan.
        "plan": {**_one([plan]), "readOnly": True},
        "targets": _several(targets),
        "skip": _several(targets),
        "target": _one(targets),
        "source": _one(list(context.full_names)),
    }
    for name, field in schema.properties.items():
        if name in choices:
            told = {key: field[key] for key in ("title", "description", "position") if key in field}
            schema.properties[name] = {**told, **choices[name]}
        schema.properties[name]["title"] = name.replace("_", " ").capitalize()


def _one(names: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": names}


def _several(names: list[str]) -> dict[str, Any]:
    return {"type": "array", "items": _one(names), "uniqueItems": True}
