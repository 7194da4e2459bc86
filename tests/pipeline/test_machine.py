"""`doctor`: what is lacking is a finding with its cure; secrets are never said."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from limner.pipeline import doctor, machine

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_keys_are_set_or_not_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "a-secret-of-some-length")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    found = doctor(tmp_path / "not" / "made" / "yet")
    assert found["keys"]["FAL_KEY"] is True and found["keys"]["HF_TOKEN"] is False
    assert "a-secret" not in json.dumps(found)


def test_a_missing_package_is_a_finding_with_the_line_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = machine.installed
    monkeypatch.setattr(machine, "installed", lambda p: None if p == "dlib-bin" else real(p))
    findings = {f["name"]: f for f in doctor(tmp_path)["findings"]}
    assert findings["[faces]"]["fix"] == "pip install 'limner[faces]'"
    assert "dlib-bin missing" in findings["[faces]"]["value"]
    assert "[vision]" not in findings


def test_the_extras_are_those_of_the_package() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    extras = {**machine.EXTRAS, **machine.OPTIONAL}
    for extra, packages in extras.items():
        names = {re.split(r"[=<>!~\[]", requirement)[0] for requirement in declared[extra]}
        assert names >= set(packages), extra
    assert set(declared) - {"dev"} == set(extras)
