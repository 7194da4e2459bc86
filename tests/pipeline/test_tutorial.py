"""The tutorial's commands, run as they stand on the page."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from limner.cli import shell
from limner.project import Project

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def commands(upto: str | None = None) -> list[list[str]]:
    """The `limner` lines of the page, up to a heading."""
    text = PAGE.read_text().split(upto)[0] if upto else PAGE.read_text()
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("    limner ")]


def follow(lines: list[list[str]]) -> None:
    for line in lines:
        assert shell.run(line) == 0, " ".join(line)
        if line[0] == "new":
            block = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
            for stage, keys in YAML(typ="safe").load(block).items():
                for key, value in keys.items():
                    Project.open(Path("grace")).change_character(**{f"{stage}__{key}": value})


def test_the_tutorial_up_to_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = commands("## 7.")
    assert [line[2] for line in lines if line[0] == "-C"][-1] == "dataset"
    follow(lines)
    assert len(list((tmp_path / "grace/dataset/40_grace_char").glob("*.png"))) > 15


@pytest.mark.long
def test_the_whole_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    follow(commands())
    assert (tmp_path / "grace.limner.zip").exists()
