"""A set of takes as a source leaves them, with planted faults; drawn once a test run."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from limner.atelier import Character, identity_from_seed, scene_for
from limner.events import collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.project.records import Shot
from limner.review import review

SIZE = 128
GOOD = ["front"] * 6 + ["three_quarter", "side", "pure_back"]
PLANTED = ("stranger", "stranger_2", "blurred", "mirrored", "no_face", "cut_off")


def attributes(angle: str, number: int) -> dict[str, str]:
    places = ("grey_studio", "park", "library", "beach", "office", "garden")
    return {
        "angle": angle,
        "framing": "close_up",
        "setting": places[number % 6],
        "lighting": ("softbox", "overcast", "soft_window")[number % 3],
        "outfit": ("white_tee_jeans", "green_hoodie", "navy_suit", "striped_tee")[number % 4],
        "expression": ("happy", "peaceful", "confident")[number % 3],
    }


@pytest.fixture(scope="session")
def pictures() -> list[tuple[str, str, bytes]]:
    """(name, angle of the shot, PNG bytes): nine good takes, then the planted faults."""
    grace, other = Character(identity_from_seed(11)), Character(identity_from_seed(29))

    def drawn(who: Character, angle: str, number: int) -> np.ndarray:
        return who.draw(scene_for(attributes(angle, number), 40 + number), size=SIZE).image

    good = [drawn(grace, angle, i) for i, angle in enumerate(GOOD)]
    sharp = Image.fromarray(drawn(grace, "front", 20))
    bad = {
        "stranger": drawn(other, "front", 21),
        "stranger_2": drawn(other, "front", 22),
        "blurred": np.asarray(sharp.filter(ImageFilter.GaussianBlur(1.8))),
        "mirrored": good[2][:, ::-1],
        "no_face": drawn(grace, "pure_back", 23),
    }
    rows = [(f"good_{i}", a, _png(p)) for i, (a, p) in enumerate(zip(GOOD, good, strict=True))]
    rows += [(name, "front", _png(picture)) for name, picture in bad.items()]
    return [*rows, ("cut_off", "front", rows[0][2][:3000])]


def _png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def project(tmp_path: Path, pictures: list[tuple[str, str, bytes]]) -> Project:
    """A project whose shots have one done take each; shot ids are the names of the pictures."""
    return _make(tmp_path / "grace", pictures)


@pytest.fixture(scope="session")
def readings(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[tuple[str, str, bytes]]
) -> Path:
    """The pictures measured once, for tests that are about decisions."""
    project = _make(tmp_path_factory.mktemp("measured") / "grace", pictures)
    collect(review(project))
    return project.root / ".limner" / "readings"


@pytest.fixture
def measured(project: Project, readings: Path) -> Project:
    """The project with everything measured and nothing decided yet."""
    shutil.copytree(readings, project.root / ".limner" / "readings")
    return project


def _make(root: Path, pictures: list[tuple[str, str, bytes]]) -> Project:
    project = Project.create(
        root, name="Grace", trigger="grace", class_word="woman", likeness="synthetic"
    )
    shots = [
        Shot(name, i, attributes(angle, i), "a prompt", i, face_visible=angle != "pure_back")
        for i, (name, angle, _) in enumerate(pictures)
    ]
    project.store.replace_shots(shots)
    for name, _, data in pictures:
        _add_take(project, name, data)
    return project


@pytest.fixture
def add_take() -> Callable[[Project, str, bytes], int]:
    """Adds one more done take of a shot and gives its id."""
    return _add_take


def _add_take(project: Project, shot_id: str, data: bytes) -> int:
    """One more done take of a shot."""
    take = project.store.journal_take(shot_id, "atelier", 1, {})
    file = project.folder("takes") / f"{shot_id}_a{take.attempt}.png"
    file.write_bytes(data)
    project.store.update_take(
        take.id,
        state="done",
        path=project.relative(file),
        sha256=sha256_file(file),
        width=SIZE,
        height=SIZE,
    )
    return take.id
