"""kill -9 at many moments of every stage: run again, and nothing is lost, doubled or different."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.pipeline.stages import status
from limner.project import Project, files

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from stages_under_fault import files as files_of  # noqa: E402
from stages_under_fault import make  # noqa: E402

CLOCKED = ("created_at", "finished_at", "at")
"""Columns that hold the time of day: two runs may differ there and nowhere else."""


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


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    found = Zygote("limner.project.settings", "limner.pipeline.wiring", "PIL.Image", "numpy")
    yield found
    found.close()


def picture_of(root: Path) -> dict[str, Any]:
    """Everything a project holds, without the time of day: files by hash, tables by row."""
    found: dict[str, Any] = {str(p.relative_to(root)): files.sha256_file(p) for p in files_of(root)}
    with sqlite3.connect(root / "limner.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(set(tables) - {"events"}):
            names = [r[1] for r in db.execute(f"PRAGMA table_info({table})")]
            columns = ", ".join(n for n in names if n not in CLOCKED)
            found[f"table {table}"] = db.execute(f"SELECT {columns} FROM {table}").fetchall()
    return found


def spread(acts: int, points: int) -> list[int]:
    """`points` moments among `acts`, first and last included."""
    return sorted({1 + round(k * (acts - 1) / max(points - 1, 1)) for k in range(points)})


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


def test_the_light_stages_come_out_the_same_however_they_are_killed(
    zygote: Zygote, tmp_path: Path
) -> None:
    project = make(tmp_path / "start")
    project.store.close()
    at = project.root
    for stage in ("shots", "generate", "review"):
        (tmp_path / stage).mkdir()
        at = kill_and_compare(zygote, at, stage, 3, tmp_path / stage)
