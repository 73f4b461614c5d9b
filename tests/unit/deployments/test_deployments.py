"""The form of a custom run offers the plan's own names, and explains every field."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.serving.deployments import deployments_of, flows_offered
from tests.flows.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path, ["nas", "drives"], also=[{"name": "programs", "kind": "files", "path": "p"}])


def test_every_flow_and_every_field_is_explained(site: Site) -> None:
    for made in deployments_of(site.context):
        assert made.description and "Args:" not in made.description, made.flow_name
        for name, field in made._parameter_openapi_schema.properties.items():
            assert len(field["description"]) > 20, f"{made.flow_name}.{name}"
            assert field["title"][0].isupper()


def test_names_are_picked_from_the_plan(site: Site) -> None:
    forms = {
        made.flow_name: made._parameter_openapi_schema.properties for made in deployments_of(site.context)
    }
    assert set(forms) == {*(flow.name for flow in flows_offered(site.context)), "alarm"}
    for name in ("targets", "skip"):
        assert forms["backup"][name]["items"]["enum"] == ["nas", "drives"]
    assert forms["drill"]["target"]["enum"] == ["nas", "drives"]
    assert forms["check"]["source"]["enum"] == ["clinic", "clinic.programs"]
    assert all(form["plan"]["enum"] == [str(site.plan)] for form in forms.values())
