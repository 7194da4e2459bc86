"""A healthy project in records only (no picture is opened by advice), and ways to make it ill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.project import Project
from limner.project.records import Checkpoint, Measure, Shot

STEPS = (100, 200, 300)
SETTINGS = ("cafe", "park", "gym", "street", "beach", "office", "library", "kitchen")
FRAMINGS = ("close_up", "close_up", "half_body", "full_body", "close_up", "full_body")
CONFIG = {
    "base": "miniature",
    "rank": 16,
    "steps": 300,
    "learning_rate": 0.001,
    "batch": 4,
    "resolution": 128,
    "caption_dropout": 0.05,
}


def measure(key: str, value: float | None, low: float = 0.0, high: float = 0.0) -> dict[str, Any]:
    interval = None if value is None else [low, high]
    return {"key": key, "name": key, "value": value, "unit": "", "interval": interval, "n": 24}


HEALTHY_MEASURES = (
    measure("skin_z", -0.4, -0.9, 0.1),
    measure("proportion_head", 1.03, 0.95, 1.1),
    measure("copy_index", 0.05, 0.0, 0.1),
    measure("diversity_ratio", 0.92, 0.8, 1.05),
    measure("chroma_ratio", 1.02, 0.97, 1.07),
    measure("clipped_difference", 0.0, -0.01, 0.01),
)


def build(root: Path) -> Project:
    """40 pictures of 8 places, three checkpoints, the middle one clearly the person."""
    given = {"name": "Iris", "trigger": "iris_char", "class_word": "woman"}
    project = Project.create(root, **given, likeness="synthetic")
    with project.store.transaction():  # one commit: hundreds would take seconds
        _fill(project)
    return project


def _fill(project: Project) -> None:
    store = project.store
    shots = [
        Shot(f"shot_{i:03d}", i, {
            "angle": ("front", "three_quarter", "side")[i % 3],
            "framing": FRAMINGS[i % 6], "setting": SETTINGS[i % 8],
        }, f"prompt {i}", seed=i)
        for i in range(1, 41)
    ]  # fmt: skip
    store.replace_shots(shots)
    for shot in shots:
        take = store.journal_take(shot.id, "atelier", shot.seed, {})
        store.update_take(take.id, state="done", path=f"takes/{shot.id}.png")
        store.put_measures(take.id, [
            Measure("identity_drawn", 0.7), Measure("identity_drawn_limit", 0.5),
        ])  # fmt: skip
        store.decide(take.id, "keep", [], "rule")
    ids = [t.id for t in store.kept()]
    store.add_dataset(path="dataset/x", lock_sha256="0", lock={}, train=ids, held_out=[])
    points = [{"step": s} for s in STEPS]
    store.add_plan(dataset_version=1, data={"checkpoints": points, "disk_bytes": 1000})
    store.add_run(plan_version=1, dataset_version=1, trainer="native", state="done",
                  config={"run": CONFIG}, path="models/run_1")  # fmt: skip
    for step in STEPS:
        path = project.root / f"models/run_1/step_{step:06d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        store.put_checkpoint(Checkpoint(1, step, project.relative(path), "0", {}))
    losses(project, [0.5, 0.45, 0.449, 0.449])
    renders(project)
    verdict(project)


def losses(project: Project, held: list[float], loss: float = 0.4) -> None:
    """metrics.jsonl with held-out looks at 0, 100, 200, 300."""
    rows: list[dict[str, Any]] = [{"step": s, "loss": 0.4} for s in range(1, 301)]
    rows[250]["loss"] = loss
    rows += [{"step": 100 * i, "held_out_loss": v} for i, v in enumerate(held)]
    path = project.root / "logs/run_1/metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))


def identity(step: int | None, strength: float, seed: int) -> float:
    """A healthy curve: best at 200, falling slowly, hardly touched by strength."""
    if step is None:
        return 0.05 + 0.001 * seed
    return {100: 0.5, 200: 0.8, 300: 0.79}[step] - 0.001 * seed - 0.01 * abs(strength - 0.8)


def renders(project: Project, scorer: Any = identity) -> None:
    """choose: 6 prompts x 2 seeds x 3 steps x 2 strengths; claim: 12 prompts x 4 seeds."""
    store = project.store
    if store.grid() is None:
        store.add_grid(run_version=1, settings={"limits": {"copy_bits": 6}})
    arms = [("base", None, 0.0), *((f"step_{s:06d}", s, w) for s in STEPS for w in (0.8, 1.0))]
    cells: list[tuple[str, str, int | None, float, str, int]] = [
        ("choose", arm, step, w, f"c{p}", seed)
        for arm, step, w in arms for p in range(6) for seed in (1, 2)
    ]  # fmt: skip
    cells += [
        ("claim", arm, step, w, f"f{p}", 10 + seed)
        for arm, step, w in (("step_000200", 200, 0.8), ("base", None, 0.0))
        for p in range(12) for seed in range(4)
    ]  # fmt: skip
    store.add_renders(1, [
        {"key": f"{ph}-{a}-{w}-{p}-{s}", "phase": ph, "arm": a, "step": st, "strength": w,
         "prompt_id": p, "prompt": p, "seed": s} for ph, a, st, w, p, s in cells
    ])  # fmt: skip
    for render in store.renders(1):
        value = scorer(render.step, render.strength, render.seed % 10)
        store.update_render(render.id, state="done", path=f"renders/{render.key}.png")
        yaw = (0.0, 30.0, 60.0)[int(render.prompt_id[1:]) % 3]
        store.put_scores(render.id, [
            Measure("identity_drawn", value, "cosine"), Measure("match", float(value > 0.6)),
            Measure("face", 1.0), Measure("yaw", yaw, "degrees"),
            Measure("copy_bits", 24.0, "bits"),
            Measure("background_similarity", 0.2 + 0.01 * (render.id % 7)),
        ])  # fmt: skip


def verdict(project: Project, **changes: Any) -> None:
    """A verdict with the keys that limner.evaluation writes."""
    data = {
        "word": "the same person", "checkpoint": "step_000200", "step": 200, "strength": 0.8,
        "embedder": "drawn", "match_rate": 46 / 48, "hits": 46, "n": 48, "interval": [0.857, 0.995],
        "base_match_rate": 0.0, "base_hits": 0, "base_n": 48, "base_interval": [0.0, 0.074],
        "untriggered_hits": 0, "untriggered_n": 48, "untriggered_interval": [0.0, 0.074],
        "far_upper": 0.02, "ceiling": 0.97, "ceiling_hits": 33, "ceiling_n": 34,
        "ceiling_interval": [0.85, 1.0], "tied": [], "measures": list(HEALTHY_MEASURES),
        "settings": {"true_cfg_scale": 4.0},
    }  # fmt: skip
    project.store.add_verdict(grid_version=1, data={**data, **changes})
