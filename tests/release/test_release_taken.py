"""A LoRA that was trained elsewhere is released like any other, and its release says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import release_project as make

from limner.events import collect
from limner.models import lora, resolve_base, tensorfile
from limner.project import Project
from limner.release import Pick, release, verify
from limner.training.peers.adopting import take


def _theirs(folder: Path, names: list[str]) -> Path:
    """Files as a diffusers script leaves them: no word of how they were trained."""
    shapes = lora.base_modules(Path(resolve_base("miniature").path))
    module = next(m for m in shapes if m.endswith("attn.to_q"))
    out, within = shapes[module]
    folder.mkdir()
    for seed, name in enumerate(names):
        rng, tensors = np.random.default_rng(seed), {}
        for half, shape in (("A", (4, within)), ("B", (out, 4))):
            values = rng.normal(size=shape).astype(np.float32)
            tensors[f"transformer.{module}.lora_{half}.weight"] = tensorfile.encode(values, "BF16")
        tensorfile.write(folder / f"{name}.safetensors", tensors, {"format": "pt"})
    return folder


def _judged(root: Path, names: list[str]) -> Project:
    project = make.new_project(root / "iris")
    project.change_character(training__base="miniature")
    for stage in (make.add_shots, make.add_takes, make.add_dataset):
        stage(project)
    collect(take(project, [_theirs(root / "theirs", names)]))
    make.add_grid(project)
    return project


def test_it_is_released_with_its_chain_whole_and_what_nobody_knows_said(tmp_path: Path) -> None:
    project = _judged(tmp_path, [f"iris-step{n:08d}" for n in (100, 200, 300)])
    make.add_verdict(project)
    bundle = project.root / collect(release(project))["path"]
    assert verify(bundle) == []
    links = json.loads((bundle / "receipt.json").read_text())["chain"]
    assert [k["link"] for k in links][:4] == ["lock", "plan", "run", "checkpoint"]
    run = json.loads((bundle / "provenance" / "run.json").read_text())
    assert run["trainer"] == "elsewhere" and run["config"]["run"]["learning_rate"] is None
    card = (bundle / "README.md").read_text()
    assert "trained elsewhere" in card and "not known: learning rate, batch, seed, losses" in card
    assert "trained elsewhere" in (bundle / "report.html").read_text()
    kit = json.loads((bundle / "civitai" / "settings.json").read_text())
    assert kit["steps"] == 200 and kit["training"]["learning_rate"] is None
    assert tensorfile.header(bundle / "iris_v1.safetensors")[1]["limner.step"] == "200"


def test_a_place_in_the_order_is_not_published_as_a_step(tmp_path: Path) -> None:
    project = _judged(tmp_path, ["iris-step00000199", "iris"])  # the last one: place 200
    make.add_verdict(project, tied=[])
    bundle = project.root / collect(release(project))["path"]
    assert verify(bundle) == []
    assert json.loads((bundle / "civitai" / "settings.json").read_text())["steps"] is None
    assert "limner.step" not in tensorfile.header(bundle / "iris_v1.safetensors")[1]
    assert "steps not known" in (bundle / "report.html").read_text()
    picked = collect(release(project, force=True, pick=Pick("199")))["path"]
    card = (project.root / picked / "README.md").read_text()
    assert "A person chose step 199 at strength" in card
    assert "The verdict chose the file iris.safetensors at strength" in card
