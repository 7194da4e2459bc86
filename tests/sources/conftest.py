"""A small planned project whose waits are short, and the keys of the fake service."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_higgsfield import FAST, KEY, SECRET

from limner.events import collect
from limner.project import Project
from limner.shots import plan


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_KEY", "HF_API_KEY", "HF_API_SECRET", "HIGGSFIELD_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HIGGSFIELD_API_KEY", KEY)
    monkeypatch.setenv("HIGGSFIELD_SECRET", SECRET)


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Eight shots, planned once; copied by `grace`."""
    root = tmp_path_factory.mktemp("planned") / "grace"
    made = Project.create(
        root, name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    made.change_character(shots__count=8, source__limits=FAST, source__short_side=64)
    collect(plan(made))
    made.store.close()
    return made


@pytest.fixture
def grace(planned: Project, tmp_path: Path) -> Callable[..., Project]:
    """Copies of the planned project with other settings."""

    def make(name: str = "grace", **settings: object) -> Project:
        root = tmp_path / name
        shutil.copytree(planned.root, root)
        project = Project.open(root)
        if settings:
            project.change_character(**settings)
        return project

    return make
