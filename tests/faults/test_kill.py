"""kill -9 at many moments of every stage: run again, and nothing is lost, doubled or different."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.models import build_random
from limner.pipeline.stages import status
from limner.project import Project, files

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from stages_under_fault import STAGES, make  # noqa: E402
from stages_under_fault import files as files_of  # noqa: E402

CLOCKED = ("created_at", "finished_at", "made_at", "at", "date", "when")
"""Columns and keys that hold the time of day: two runs may differ there and nowhere else."""

MEASURED = (
    *("seconds", "seconds_per_step", "pace_origin", "eta", "wall", "memory", "there", "bytes"),
)
"""Keys that hold what a clock or the machine said."""

SUMS = ("sha256", "lora_sha256", "bundle_sha256")
"""Sums of files that name the second they were made; the files' contents are compared instead."""


LEVELS = 2
"""Levels of 255 by which a render may differ: a resumed batch is of another size, and floating
point sums round differently then. Numbers read from renders follow (`Score`), the rest is compared
exactly."""


class Pixels:
    """A picture that equals another within `LEVELS`."""

    def __init__(self, path: Path) -> None:
        self.levels = np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pixels) or self.levels.shape != other.levels.shape:
            return False
        return bool(np.abs(self.levels - other.levels).max() <= LEVELS)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Score:
    """A number read from such a picture: it equals another within a thousandth."""

    value: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Score) and math.isclose(
            self.value, other.value, rel_tol=1e-3, abs_tol=1e-3
        )

    __hash__ = None  # type: ignore[assignment]


class Zygote:
    """Asks the process of zygote.py to run stages in forked children."""

    def __init__(self, *imports: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py"), *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def run(self, root: Path, stage: str, die_at: int = 0) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        order = {"root": str(root), "stage": stage, "die_at": die_at}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


IMPORTS = (
    *("limner.models.runtime:prepare", "torch", "diffusers", "peft", "transformers"),
    *("cv2", "dlib", "onnxruntime", "PIL.Image", "limner.project.settings", "limner.atelier"),
    *("limner.sources", "limner.review", "limner.training", "limner.evaluation.stage"),
    *("limner.models", "limner.release", "limner.pipeline.wiring"),
)
"""Paid once; nothing of it may compute before the fork."""


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    found = Zygote(*IMPORTS)
    yield found
    found.close()


PACE = "pace.json"
"""Seconds a render took, for the next forecast; a run with few renders left keeps none."""


def picture_of(root: Path) -> dict[str, Any]:
    """Everything a project holds, without times: files by content, tables by row."""
    found: dict[str, Any] = {
        str(p.relative_to(root)): content(p) for p in files_of(root) if p.name != PACE
    }
    with sqlite3.connect(root / "limner.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(set(tables) - {"events"}):
            names = [r[1] for r in db.execute(f"PRAGMA table_info({table})")]
            skip = (*CLOCKED, *(SUMS if table in ("checkpoints", "renders") else ()))
            columns = ", ".join(n for n in names if n not in skip)
            rows = db.execute(f"SELECT {columns} FROM {table}").fetchall()
            read = of_a_render if table == "scores" else timeless
            found[f"table {table}"] = [tuple(read(value) for value in row) for row in rows]
    return found


def content(path: Path) -> object:
    """What a file says: bytes of pictures and texts, tensors of a LoRA, JSON without times."""
    if path.suffix == ".safetensors":
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)  # holds the time of its making
        return (files.canonical_json(header), files.sha256_bytes(data[start:]))
    if path.suffix == ".png" and {"renders", "release"} & set(path.parts):
        return Pixels(path)  # a preview's text chunks name the sum of the release's LoRA
    if path.suffix in (".json", ".jsonl"):
        return (
            [timeless(line) for line in path.read_text().splitlines()]
            if (path.suffix == ".jsonl")
            else timeless(path.read_text())
        )
    if path.suffix in (".html", ".md"):
        return "written"  # names the day
    return files.sha256_file(path)


def of_a_render(value: object) -> object:
    """A score's field; numbers as near as the pictures that they were read from."""
    return Score(value) if isinstance(value, float) else timeless(value)


def timeless(value: object) -> object:
    """A value; JSON text without the keys that hold times."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return _without(json.loads(value))
    except ValueError:
        return value


def _without(node: Any) -> Any:
    if isinstance(node, dict):
        skip = (*CLOCKED, *MEASURED, *SUMS)
        return {k: _without(v) for k, v in node.items() if k not in skip}
    if isinstance(node, str):
        return re.sub(r'Lora hashes: "[^"]*"', "", node)  # of a file that names its second
    return [_without(v) for v in node] if isinstance(node, list) else node


def spread(acts: int, points: int) -> list[int]:
    """`points` moments among `acts`, evenly."""
    return sorted({max(1, round((k + 1) * acts / (points + 1))) for k in range(points)})


def kill_and_compare(zygote: Zygote, before: Path, stage: str, points: int, temp: Path) -> Path:
    """Run `stage` undisturbed and killed at `points` moments; return the undisturbed project."""
    calm = temp / "calm"
    shutil.copytree(before, calm)
    said = zygote.run(calm, stage)
    assert said["error"] is None and said["signal"] == 0
    wanted = picture_of(calm)
    for moment in spread(said["acts"], points):
        hurt = temp / f"hurt_{moment}"
        shutil.copytree(before, hurt)
        assert zygote.run(hurt, stage, die_at=moment)["signal"] == signal.SIGKILL
        status(Project.open(hurt))  # a hurt project can be looked at
        again = zygote.run(hurt, stage)
        assert again["error"] is None, f"{stage} killed at {moment} of {said['acts']}"
        assert picture_of(hurt) == wanted, f"{stage} killed at {moment} of {said['acts']}"
        shutil.rmtree(hurt)
    return calm


def test_making_a_project_can_be_killed_anywhere(zygote: Zygote, tmp_path: Path) -> None:
    """A folder half made is no project; making it again gives a whole one."""
    said = zygote.run(tmp_path / "calm", "new")
    assert said["error"] is None
    for moment in spread(said["acts"], 12):
        root = tmp_path / f"hurt_{moment}"
        assert zygote.run(root, "new", die_at=moment)["signal"] == signal.SIGKILL
        if not (root / "character.yaml").exists():
            assert zygote.run(root, "new")["error"] is None
        assert Project.open(root).character.trigger == "grace_char"


FEW = {
    **{"shots": 2, "generate": 2, "review": 1, "captions": 2, "dataset": 2},
    **{"plan": 1, "train": 1, "evaluate": 1, "verdict": 1, "release": 1},
}
"""Kills a stage in the everyday suite; `make test-long` tries twelve of each."""


def walk(zygote: Zygote, temp: Path, points: dict[str, int]) -> Path:
    """Every stage in order on one small project, each killed and compared."""
    base = build_random(temp / "base")
    project = make(temp / "start", base)
    project.store.close()
    at = project.root
    for stage in STAGES:
        (temp / stage).mkdir()
        at = kill_and_compare(zygote, at, stage, points[stage], temp / stage)
    return at


def test_every_stage_comes_out_the_same_however_it_is_killed(
    zygote: Zygote, tmp_path: Path
) -> None:
    end = walk(zygote, tmp_path, FEW)
    assert {s["state"] for s in status(Project.open(end))["stages"]} == {"done"}


@pytest.mark.long
def test_every_stage_survives_a_kill_at_many_moments(zygote: Zygote, tmp_path: Path) -> None:
    walk(zygote, tmp_path, dict.fromkeys(STAGES, 12))
