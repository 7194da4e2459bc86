"""A small world for the stage: pictures whose colour is the person, and eyes that read it.

Only what looks (face finder, embedders) and what draws (the model) stand in; grid, journal,
thresholds, statistics and words are the product's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from limner import vision
from limner.evaluation import ground, identity
from limner.evaluation.prompt import EvalPrompt
from limner.models import BaseInfo
from limner.project import Project, files
from limner.project.records import Checkpoint, Shot
from limner.render import Cell, Settings, png_bytes
from limner.vision import Face

SIDE = 32
RGB8 = NDArray[np.uint8]
DIMENSION = 16


def person_vector(person: int) -> NDArray[np.float64]:
    return np.random.default_rng(person).normal(0, 1, DIMENSION)


def picture_of(person: int, likeness: float, seed: int, face: bool = True) -> RGB8:
    """Pixels that carry a face vector: `likeness` of `person`, the rest of a stranger by seed."""
    rng = np.random.default_rng([seed, 5])
    vector = likeness * person_vector(person) + (1 - likeness) * rng.normal(0, 1, DIMENSION)
    vector += rng.normal(0, 0.15, DIMENSION)
    image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    image[0, :DIMENSION, 0] = np.clip(np.rint(vector * 30 + 128), 0, 255)
    image[1, 0, 0] = 255 if face else 0
    image[2:, :, :] = seed % 251
    return image


@dataclass(frozen=True)
class Reader:
    """Reads the vector back out of the pixels; stands for an embedder."""

    name: str
    tool: str = "test reader"
    dimension: int = DIMENSION

    def embed(self, image: RGB8, face: Face) -> NDArray[np.float32]:
        vector = (image[0, :DIMENSION, 0].astype(np.float64) - 128) / 30
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def find_faces(image: RGB8, *, kind: str, smallest_face: float) -> list[Face]:
    if image[1, 0, 0] == 0:
        return []
    return [Face((0, 0, 20, 20), ((5, 5), (15, 5)), (10, 10), 1.0, "test", yaw=0.0)]


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fake eyes, a fake base, and 400 shipped strangers."""
    monkeypatch.setattr(vision, "find_faces", find_faces)
    monkeypatch.setattr(vision, "open_embedder", lambda name, kind="drawing": Reader(name))
    info = BaseInfo(
        "test", "test", fingerprint="f" * 64, resolution=SIDE, sampling_steps=2, is_drawing=True
    )
    monkeypatch.setattr("limner.models.resolve_base", lambda name: info)
    reader = Reader("dlib")
    vectors = np.stack([reader.embed(picture_of(0, 0.0, s + 9000), None) for s in range(400)])
    file = tmp_path / "strangers_drawing.npz"
    identity.write_strangers(
        file,
        identity.Strangers(
            {"dlib": vectors, "drawn": vectors},
            np.zeros(400),
            {"dlib": "test reader", "drawn": "test reader"},
            "test strangers",
        ),
    )
    monkeypatch.setattr(ground, "_data_file", lambda name: tmp_path / name)


@pytest.fixture
def project(tmp_path: Path, reading: None) -> Project:
    """A trained project: 12 training pictures, 4 held out, four checkpoints."""
    made = Project.create(
        tmp_path / "grace", name="G", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    store = made.store
    store.replace_shots(Shot(f"s{i:02d}", i, {"angle": "front"}, "p", i) for i in range(16))
    for i in range(16):
        take = store.journal_take(f"s{i:02d}", "test", i, {})
        data = png_bytes(picture_of(1, 0.95, 100 + i))
        files.write_bytes(made.root / "takes" / f"{i}.png", data)
        store.update_take(
            take.id, state="done", path=f"takes/{i}.png", sha256=files.sha256_bytes(data)
        )
    store.add_dataset(
        path="dataset", lock_sha256="0", lock={}, train=list(range(5, 17)), held_out=[1, 2, 3, 4]
    )
    store.add_plan(dataset_version=1, data={})
    store.add_run(
        plan_version=1, dataset_version=1, trainer="t", state="done", config={}, path="models/run_1"
    )
    for step in (100, 200, 300, 400):
        path = made.root / "models" / f"step_{step}.safetensors"
        files.write_bytes(path, f"checkpoint {step}".encode())
        store.put_checkpoint(
            Checkpoint(1, step, f"models/step_{step}.safetensors", files.sha256_file(path))
        )
    made.change_character(evaluation__strengths=[1.0], evaluation__claim_seeds=3)
    return made


PROMPTS = [EvalPrompt(f"e{i:02d}", f"grace_char, place {i}", {"angle": "front"}) for i in range(12)]


class Painter:
    """Draws as the LoRA would: likeness by step, nobody in particular without a LoRA."""

    def __init__(self, likeness: dict[str, float]) -> None:
        self.likeness = likeness
        self.cells: list[Cell] = []
        self.opened = 0
        self.die_after: int | None = None

    def open(self, settings: Settings, references: Sequence[RGB8]) -> Painter:
        self.opened += 1
        return self

    def pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        for cell in cells:
            if self.die_after is not None and len(self.cells) >= self.die_after:
                raise KeyboardInterrupt
            self.cells.append(cell)
            name = cell.lora.stem if cell.lora else "base"
            likeness, seed = self.likeness.get(name, 0.0), hash_of(cell.prompt) + cell.seed
            face = name != "step_100" or seed % 3 > 0
            yield cell, picture_of(1 if name.startswith("step") else 2, likeness, seed, face)

    def close(self) -> None:
        pass


def hash_of(text: str) -> int:
    return int(files.sha256_bytes(text.encode())[:6], 16)


@pytest.fixture
def painter() -> Painter:
    return Painter(
        {"step_100": 0.2, "step_200": 0.5, "step_300": 0.85, "step_400": 0.85, "other": 0.9}
    )
