"""A tiny random base and small projects on it: the real classes, a second a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.project import Project


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from limner.models import build_random

    torch.set_num_threads(1)
    return build_random(tmp_path_factory.mktemp("base") / "tiny", layers=2, resolution=32)


def as_family(base: Path, to: Path, family: str) -> Path:
    """The random base as another edition: what differs is in its JSON files."""
    folder = to / family
    if folder.exists():
        return folder
    shutil.copytree(base, folder)
    if family == "qwen-image":
        index = json.loads((folder / "model_index.json").read_text())
        index["_class_name"] = "QwenImagePipeline"
        index.pop("processor")
        (folder / "model_index.json").write_text(json.dumps(index))
        shutil.rmtree(folder / "processor")
    if family == "qwen-image-edit-2511":
        path = folder / "transformer" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "zero_cond_t": True}))
    return folder


@pytest.fixture(scope="session")
def families(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    to = tmp_path_factory.mktemp("families")
    names = ("qwen-image", "qwen-image-edit-2509", "qwen-image-edit-2511")
    return {name: as_family(tiny_base, to, name) for name in names}


@pytest.fixture
def make_project(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(name: str, **training: Any) -> Project:
        root = tmp_path / name
        project = Project.create(
            root, name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
        )
        rng = np.random.default_rng(0)
        for index in range(8):
            folder = root / "dataset" / ("40_grace_char" if index < 6 else "held_out")
            folder.mkdir(exist_ok=True)
            side = (32, 32) if index % 3 else (32, 64)  # two buckets
            noise = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
            path = folder / f"img_{index:03d}.png"
            Image.fromarray(noise).resize(side, Image.Resampling.BICUBIC).save(path)
            words = ["half body shot", "close-up, red coat, smiling, in a park"][index % 2]
            path.with_suffix(".txt").write_text(f"grace_char, {words}")
        project.store.add_dataset(
            path="dataset", lock_sha256="0" * 64, lock={}, train=[], held_out=[]
        )
        settings = {"steps": 12, "checkpoints": 3, "batch": 4, "precision": "fp32"}
        settings |= {"base": str(tiny_base), **training}
        project.change_character(**{f"training__{k}": v for k, v in settings.items()})
        return project

    return make


MakeProject = Callable[..., Project]
