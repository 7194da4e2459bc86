"""The whole stage on a real, small, random base with random LoRAs and the real eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner import evaluation, vision
from limner.errors import LimnerError
from limner.evaluation.choices import Choices
from limner.evaluation.prompt import EvalPrompt
from limner.events import collect
from limner.models import build_random, resolve_base
from limner.models import lora as lora_files
from limner.project import Project, files
from limner.project.records import Checkpoint, Shot
from limner.render import png_bytes


def random_lora(base: Path, path: Path, seed: int) -> str:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, (rows, columns) in lora_files.base_modules(base).items():
        if name.endswith(("attn.to_q", "attn.to_v")):
            weights[f"{name}.lora_A.weight"] = rng.normal(0, 0.3, (4, columns)).astype("f4")
            weights[f"{name}.lora_B.weight"] = rng.normal(0, 0.3, (rows, 4)).astype("f4")
    return lora_files.save(path, weights, {"modelspec.trigger_phrase": "nova_char"})


def trained(root: Path, base: Path) -> Project:
    """A project whose pictures are noise, so that nobody can be recognised in them."""
    project = Project.create(
        root, name="Noise", trigger="noise_char", class_word="man", likeness="synthetic"
    )
    store, rng = project.store, np.random.default_rng(0)
    store.replace_shots(Shot(f"s{i}", i, {"angle": "front"}, "p", i) for i in range(5))
    for i in range(5):
        take = store.journal_take(f"s{i}", "test", i, {})
        data = png_bytes(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8))
        files.write_bytes(root / "takes" / f"{i}.png", data)
        store.update_take(
            take.id, state="done", path=f"takes/{i}.png", sha256=files.sha256_bytes(data)
        )
    store.add_dataset(path="dataset", lock_sha256="0", lock={}, train=[1, 2], held_out=[3, 4, 5])
    store.add_plan(dataset_version=1, data={})
    config = {"run": {"base": str(base), "base_fingerprint": resolve_base(str(base)).fingerprint}}
    store.add_run(
        plan_version=1, dataset_version=1, trainer="t", state="done", config=config, path="models"
    )
    for step in (10, 20):
        path = root / "models" / f"step_{step}.safetensors"
        sha256 = random_lora(base, path, step)
        store.put_checkpoint(Checkpoint(1, step, f"models/step_{step}.safetensors", sha256))
    project.change_character(
        evaluation__strengths=[1.0],
        evaluation__seeds=1,
        evaluation__claim_seeds=2,
        evaluation__thresholds={"fewest_impostors": 2},
    )
    return project


def test_noise_is_nobody(tmp_path: Path) -> None:
    try:
        vision.find_faces(np.zeros((64, 64, 3), np.uint8))
    except LimnerError as error:
        pytest.skip(f"faces cannot be found here: {error.what}")
    base = build_random(tmp_path / "base")
    project = trained(tmp_path / "noise", base)
    control = tmp_path / "other.safetensors"
    random_lora(base, control, 99)
    prompts = [EvalPrompt(f"e{i}", f"noise_char in a park, {i}") for i in range(6)]
    dry = Choices(dry_run=True)
    events = evaluation.evaluate(project, prompts=prompts, control=control, choices=dry)
    forecast = collect(events)["forecast"]  # by two short pictures of the real pipeline
    assert 0 < forecast["seconds_a_picture"] < 60 and not list(project.root.rglob("grid_*"))
    found = collect(evaluation.evaluate(project, prompts=prompts, control=control))
    # choosing: base and two arms on 2 prompts; claiming: 3 x 4 prompts x 2 seeds, and 4 untriggered
    assert found["choose"] == 6 and found["claim"] == 28 and found["drawn_now"] == found["pictures"]
    renders = project.store.renders(found["grid"])
    for render in renders:
        picture = vision.open_picture(project.path(render.path or ""))
        assert picture.shape == (64, 64, 3) and picture.std() > 0
        assert files.sha256_file(project.path(render.path or "")) == render.sha256
    shas = {(r.arm, r.prompt_id, r.seed): r.sha256 for r in renders if r.phase == "claim"}
    assert len(set(shas.values())) == 28  # every arm draws its own
    data = collect(evaluation.verdict(project))
    assert data["word"] == "not enough evidence" and not data["established"]
    assert data["match_rate"] is None and data["threshold"] is None and data["far"] is None
    assert "held-out references show a face" in data["statement"]
    assert {"what": "identity", "reason": "no threshold: no stranger's face was found"} in (
        data["not_measured"]
    )
    assert collect(evaluation.evaluate(project, prompts=prompts, control=control))["drawn_now"] == 0
