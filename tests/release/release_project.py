"""A small real project for the release tests: real PNG pictures, real records, real LoRA files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from limner.project import Project, files
from limner.project.records import Checkpoint, Measure, Shot

ANGLES = ("front", "front", "front", "three_quarter", "three_quarter", "side", "back", "pure_back")
MOODS = ("happy", "peaceful", "confident", "contemplative", "playful", "happy", "happy", "happy")
PROMPTS = [  # [id, text, attributes], as a grid records them
    [f"p{i}", f"iris_char, {m}, {a} view", {"angle": a, "expression": m}]
    for i, (a, m) in enumerate(
        [("front", "happy"), ("three_quarter", "peaceful"), ("side", "confident")], 1
    )
]


def picture(path: Path, seed: int, side: int = 96) -> str:
    """A face-like gradient, different for every seed; returns its SHA-256."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    ground, skin = rng.integers(60, 200, 3), rng.integers(120, 230, 3)
    face = ((x * 1.35) ** 2 + (y + 0.1) ** 2 < 0.42)[..., None]
    shade = (1 - 0.25 * x)[..., None]
    pixels = np.where(face, skin * shade, ground * (1 - 0.2 * y)[..., None])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return files.sha256_file(path)


def new_project(root: Path, **changes: Any) -> Project:
    settings = {"name": "Iris", "trigger": "iris_char", "class_word": "woman"}
    return Project.create(root, **{**settings, "likeness": "synthetic", **changes})


def add_shots(project: Project) -> None:
    shots = [
        Shot(
            f"shot_{i:03d}",
            i,
            {"angle": a, "expression": m, "framing": "close"},
            f"a {m} {a} view",
            seed=i,
            face_visible=a != "pure_back",
        )
        for i, (a, m) in enumerate(zip(ANGLES, MOODS, strict=True), 1)
    ]
    project.store.replace_shots(shots)


def add_takes(project: Project, review: bool = True) -> None:
    """Six kept, one rejected, one shot left open."""
    store = project.store
    for shot in store.shots()[:7]:
        take = store.journal_take(shot.id, "atelier", shot.seed, {})
        path = project.folder("takes") / f"{shot.id}_a1.png"
        sha = picture(path, shot.seed)
        relative = project.relative(path)
        store.update_take(take.id, state="done", path=relative, sha256=sha, width=96, height=96)
        if not review:
            continue
        value = None if shot.position == 6 else 0.55 + 0.02 * shot.position
        reason = "no face found" if value is None else None
        measured = [Measure("identity_drawn", value, "cosine", reason, "test")]
        if value is not None:
            measured.append(Measure("identity_drawn_limit", 0.52, "cosine"))
        store.put_measures(take.id, measured)
        word = "reject" if shot.position == 4 else "keep"
        store.decide(take.id, word, ["sharpness under the rule"] * (word == "reject"), "rule")
        store.update_shot(shot.id, state="kept" if word == "keep" else "open")
        store.put_caption(take.id, f"iris_char, {shot.prompt}", "rule")


def add_dataset(project: Project) -> None:
    kept = project.store.kept()
    train, held_out = kept[:-1], kept[-1:]
    folder = project.folder("dataset") / "40_iris_char"
    folder.mkdir()
    rows = []
    for n, take in enumerate(train, 1):
        image = folder / f"img_{n:03d}.png"
        image.write_bytes(project.path(take.path or "").read_bytes())
        image.with_suffix(".txt").write_text(f"iris_char, picture {n}\n")
        rows += [image, image.with_suffix(".txt")]
    lock = {
        "format": 1,
        "root": "dataset",
        "folder": "40_iris_char",
        "character": {
            "trigger": "iris_char",
            "class_word": "woman",
            "likeness": project.character.likeness,
        },
        "files": [
            {
                "path": p.relative_to(project.folder("dataset")).as_posix(),
                "sha256": files.sha256_file(p),
            }
            for p in rows
        ],
    }
    files.write_json(project.folder("dataset") / "limner.lock.json", lock)
    project.store.add_dataset(
        path="dataset/40_iris_char",
        lock_sha256=files.sha256_file(project.folder("dataset") / "limner.lock.json"),
        lock=lock,
        train=[t.id for t in train],
        held_out=[t.id for t in held_out],
    )


def add_run(project: Project) -> None:
    store = project.store
    store.add_plan(dataset_version=1, data={"steps": 300, "checkpoints": [100, 200, 300]})
    config = {
        "base": "miniature",
        "base_fingerprint": "be84a5" * 8,
        "template": "t2i",
        "rank": 4,
        "learning_rate": 0.001,
        "steps": 300,
        "batch": 4,
        "seed": 1,
        "resolution": 128,
        "precision": "fp32",
        "device": "cpu",
    }
    store.add_run(
        plan_version=1,
        dataset_version=1,
        trainer="native",
        state="done",
        config={"sha256": "c0ffee", "run": config},
        path="models/run_1",
    )
    store.log("training", "run", run=1, seconds=74.2)
    for step in (100, 200, 300):
        path = project.root / f"models/run_1/step_{step:06d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(step)
        tensors = {
            f"transformer.transformer_blocks.0.attn.to_q.{half}.weight": rng.normal(
                size=shape
            ).astype(np.float32)
            for half, shape in (("lora_A", (4, 8)), ("lora_B", (8, 4)))
        }
        save_file(tensors, path, metadata={"format": "pt", "limner.step": str(step)})
        store.put_checkpoint(
            Checkpoint(1, step, project.relative(path), files.sha256_file(path), {})
        )
    log = project.folder("logs") / "run_1" / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    rng, rows = random.Random(1), []
    for step in range(1, 301):
        row = {"step": step, "loss": 0.05 + 0.1 / (1 + step / 40) + rng.uniform(-0.03, 0.03)}
        if step % 100 == 0:
            row["held_out_loss"] = 0.07 + 4 / (step + 50)
        rows.append(json.dumps(row))
    log.write_text("\n".join([*rows, '{"step": 301, "lo']))  # as a killed run leaves it


def add_grid(project: Project) -> None:
    store = project.store
    store.add_grid(run_version=1, settings={"prompts": PROMPTS, "render": RENDER})
    cells, scores = [], []
    arms = [("base", None, 0.0), ("control", None, 1.0)]
    arms += [(f"step_{s:06d}", s, 1.0) for s in (100, 200, 300)]
    for phase, arm, step, strength, seed in [
        *(("choose", *a, seed) for a in arms for seed in (11, 12)),
        *(("claim", "step_000200", 200, 1.0, seed) for seed in (91, 92)),
    ]:
        for prompt in PROMPTS:
            key = f"{phase}-{arm}-{strength}-{prompt[0]}-{seed}"
            cells.append(
                {
                    "key": key,
                    "phase": phase,
                    "arm": arm,
                    "step": step,
                    "seed": seed,
                    "strength": strength,
                    "prompt_id": prompt[0],
                    "prompt": prompt[1],
                }
            )
            scores.append(0.1 if step is None else 0.3 + step / 1000)
    store.add_renders(1, cells)
    for render, score in zip(store.renders(1), scores, strict=True):
        path = project.folder("renders") / f"{render.key}.png"
        sha = picture(path, render.id)
        store.update_render(render.id, state="done", path=project.relative(path), sha256=sha)
        hidden = render.prompt_id == "p3" and render.step is None
        value = None if hidden else score
        why = "no face" if hidden else None
        scored = [Measure("identity_drawn", value, "cosine", why), Measure("match", 1.0)]
        store.put_scores(render.id, [*scored, Measure("identity_dlib", None, "cosine", "far off")])


RENDER = {
    "base": "be84a5",
    "template": "t2i",
    "width": 128,
    "height": 128,
    "steps": 12,
    "true_cfg_scale": 3.0,
    "precision": "fp32",
    "renderer": "diffusers-1",
}


def rate(role: str, name: str, note: str, *counts: Any, reason: str | None = None) -> dict:
    hits, n, low, high = counts or (None,) * 4
    return {
        "role": role,
        "name": name,
        "note": note,
        "hits": hits,
        "n": n,
        "low": low,
        "high": high,
        "reason": reason,
    }


def arm(step: int | None, hits: int, low: float, high: float, status: str) -> dict:
    name = f"step_{step:06d}" if step else "base"
    return {
        "arm": name,
        "checkpoint": name,
        "step": step,
        "strength": 1.0 if step else 0.0,
        "hits": hits,
        "n": 6,
        "low": low,
        "high": high,
        "interval": [low, high],
        "mean_score": 0.1 if step is None else 0.3 + step / 1000,
        "status": status,
        "state": status if status in ("chosen", "tied") else "",
        "name": "",
    }


def add_verdict(project: Project, **changes: Any) -> None:
    """A verdict with the keys that limner.evaluation writes."""
    unsure = "That the share is at least 90 % is not established by 60 pictures."
    data = {
        "word": "the same person",
        "outcome": "same_person",
        "sentence": "Step 200 at strength 1 drew the same person in 54 of 60 fresh pictures.",
        "reservations": [
            "90.0 %, 95 % interval 79.5 to 96.2 %.",
            "Without the LoRA it is 1 of 60.",
            unsure,
        ],
        "not_established": [unsure],
        "step": 200,
        "strength": 1.0,
        "chosen": {"checkpoint": "step_000200", "step": 200, "strength": 1.0},
        "tied": [
            {"checkpoint": "step_000300", "step": 300, "strength": 1.0, "word": "too close to call"}
        ],
        "rates": [
            rate("claim", "Step 200 at strength 1", "fresh seeds", 54, 60, 0.795, 0.962),
            rate("second", "Second embedder", "same pictures", reason="not installed"),
            rate("ceiling", "Dataset with itself", "leave-one-out", 5, 6, 0.359, 0.996),
            rate("control", "Negative control", "LoRA of another character", 2, 60, 0.004, 0.115),
            rate("base", "Base model", "same prompts and seeds, no LoRA", 1, 60, 0.0, 0.089),
        ],
        "arms": [
            arm(None, 0, 0.0, 0.459, "base"),
            arm(100, 2, 0.043, 0.777, "dropped"),
            arm(200, 6, 0.541, 1.0, "chosen"),
            arm(300, 6, 0.541, 1.0, "tied"),
        ],
        "goal": 0.9,
        "embedder": "drawn",
        "threshold": 0.41,
        "threshold_words": "Share of pictures verified at identity 0.41 or more (cosine, drawn).",
        "not_measured": [{"what": "hands", "reason": "no hand model was run"}],
        "measures": [
            {
                "name": "identity above the base model, same prompts and seeds",
                "value": 0.4,
                "unit": "cosine",
                "interval": [0.35, 0.45],
                "n": 60,
                "reason": None,
                "note": "12 prompts as the unit",
            },
            {
                "name": "chance of such a lead by luck (McNemar, exact)",
                "value": 1e-9,
                "unit": "p",
                "interval": None,
                "n": 60,
                "reason": None,
                "note": "",
            },
        ],
        "settings": RENDER,
    }
    project.store.add_verdict(grid_version=1, data={**data, **changes})


STAGES = (add_shots, add_takes, add_dataset, add_run, add_grid, add_verdict)


def build(root: Path, stages: int = len(STAGES), **changes: Any) -> Project:
    """A project that has come through the first `stages` stages."""
    project = new_project(root, **changes)
    for stage in STAGES[:stages]:
        stage(project)
    return project
