"""deployments/prefect.yaml: what `datasave deploy --write` makes of the sample plan, with times."""

from __future__ import annotations

from pathlib import Path

import yaml

import deployments
from deployments.serving.deployments import WorkQueue, deployments_of
from deployments.serving.worker import prefect_yaml
from tasks.context import PlanContext
from tests.golden.goldens import FOLDER, same_as_golden

WRITTEN = Path(deployments.__file__).with_name("prefect.yaml")


def test_prefect_yaml_is_the_sample_plans(tmp_path: Path) -> None:
    plan = tmp_path / "front-office.yaml"
    sample = yaml.safe_load((FOLDER / "sample-plan.yaml").read_text("utf-8"))
    times = {"backup": "0 2 * * *", "audit": "0 8 * * *", "timezone": "America/New_York"}
    plan.write_text(yaml.safe_dump({**sample, "schedule": times}), "utf-8")
    made = deployments_of(PlanContext(plan), WorkQueue("datasave", "front-office"))
    text = prefect_yaml(made).replace(str(plan), "/srv/office/front-office.yaml")
    same_as_golden(str(WRITTEN), text.encode("utf-8"))
    entries = yaml.safe_load(text)["deployments"]
    assert [entry["entrypoint"].rpartition(".")[2] for entry in entries][-1] == "alarm"
    # Prefect would keep a schedule with a slug that is gone from the file.
    assert all("slug" not in schedule for entry in entries for schedule in entry["schedules"])
