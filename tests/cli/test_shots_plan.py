"""`limner shots plan` without a project: a plan on stdout, nothing written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from limner.cli import shell


def test_a_plan_from_options_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quota = "angle:front=50,three_quarter=25,side=15,back=10"
    args = ["shots", "plan", "-n", "37", "--seed", "5", "--quota", quota, "--json"]
    assert shell.run(args) == 0
    found = json.loads(capsys.readouterr().out)
    shots, report = found["shots"], found["report"]
    angles = Counter(s["angle"] for s in shots)
    assert angles == {
        "front": 18,
        "three_quarter": 9,
        "side": 6,
        "back": 4,
    }  # of 18.5 9.25 5.55 3.7
    needed = "id angle framing expression outfit setting lighting pose face_visible prompt"
    assert all(set(needed.split()) <= set(s) for s in shots)
    assert report["axes"]["angle"] == angles and report["exact"]
    assert report["max_association"] <= 0.05 and 0.8 < report["pairs_covered"] <= 1
    assert len({s["setting"] for s in shots}) >= 14 and len({s["outfit"] for s in shots}) >= 14
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_planned_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for args, said in (
        (["-n", "5"], "8 to 400 shots"),
        (["-n", "20", "--quota", "angle:top=3"], "no angle 'top'"),
        (["-n", "20", "--quota", "angle"], "is no quota"),
        ([], "no Limner project"),
    ):
        assert shell.run(["shots", "plan", *args, "--json"]) == 2
        assert said in json.loads(capsys.readouterr().out)["error"]["what"]
