"""`datasave doctor --policies`: the least rights for an S3 target's keys, to be pasted at the provider."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tests.flows.site import Site

CLOUD = {"name": "cloud", "kind": "s3", "bucket": "office", "prefix": "front", "region": "us-east-1"}


def printed(site: Site, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["doctor", "--policies", "--plan", str(site.plan)]) == 0
    return capsys.readouterr().out


def test_three_policies_of_a_bucket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of the service: they can be had before there is a bucket, or a network."""
    site = Site.make(tmp_path, ["nas"])
    site.change_plan(targets=[CLOUD])
    said = printed(site, capsys)
    documents = [json.loads(text) for text in re.findall(r"^\{.*?^\}", said, flags=re.M | re.S)]
    assert len(documents) == 3
    for role in ("writer", "reader", "pruner"):
        assert role in said
    allowed = [
        {action for one in document["Statement"] if one["Effect"] == "Allow" for action in one["Action"]}
        for document in documents
    ]
    (writer,) = (actions for actions in allowed if "s3:PutObject" in actions)
    assert not {"s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion"} & writer
    (pruner,) = (actions for actions in allowed if "s3:DeleteObjectVersion" in actions)
    assert not {"s3:GetObject", "s3:PutObject"} & pruner
    assert "arn:aws:s3:::office/front/*" in said


def test_without_such_a_target_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No target of this plan" in printed(Site.make(tmp_path, ["nas"]), capsys)
