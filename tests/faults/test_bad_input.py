"""Files and folders as the world has them: damaged, huge, missing, full, read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import StoreError, WorkFailedError
from limner.pipeline import generate, plan_shots, review
from limner.pipeline.stages import status
from limner.project import Project, files
from limner.project.records import Shot

sys.path.insert(0, str(Path(__file__).parent))
from stages_under_fault import make, run_stage


def limner(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-c", "from limner.cli import main; main()", "-C", str(root)]
    return subprocess.run([*code, *args], capture_output=True, text=True)


def with_pictures(root: Path, count: int) -> Project:
    """A project with `count` takes, noise for pictures."""
    project = make(root)
    project.store.replace_shots(
        Shot(f"shot_{n:03d}", n, {"angle": "front"}, f"prompt {n}", seed=n) for n in range(count)
    )
    for shot in project.store.shots():
        noise = np.random.default_rng(shot.seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        path = project.folder("takes") / f"{shot.id}_a1.png"
        Image.fromarray(noise).save(path)
        take = project.store.journal_take(shot.id, "atelier", shot.seed, {})
        found = {"path": project.relative(path), "sha256": files.sha256_file(path)}
        project.store.update_take(take.id, state="done", width=64, height=64, **found)
    return project


def test_one_bad_picture_is_a_reject_with_a_reason_and_stops_nothing(tmp_path: Path) -> None:
    project = with_pictures(tmp_path / "p", 6)
    paths = [project.path(t.path or "") for t in project.store.takes()]
    paths[0].write_bytes(paths[0].read_bytes()[:700])
    paths[1].write_text("this is no picture")
    paths[2].unlink()
    Image.new("1", (20_000, 20_000)).save(paths[3])
    events = list(review(project))
    assert events
    decisions = project.store.standing_decisions()
    said = [decisions[t.id] for t in project.store.takes()][:4]
    assert [d.verdict for d in said] == ["reject"] * 4
    words = ("damaged", "no picture", "cannot be read", "too large")
    for decision, word in zip(said, words, strict=True):
        assert word in " ".join(decision.reasons)
    assert status(project)["next"] == "limner generate"  # their shots are open again


def test_a_disk_that_fills_up_while_writing_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(tmp_path / "p")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WorkFailedError, match="disk is full"):
        list(plan_shots(project))
    monkeypatch.undo()
    assert not list(project.root.rglob("*.part")), "nothing half-written stays"
    list(plan_shots(project))
    assert (project.root / "shots" / "prompts.txt").exists()


def test_a_database_that_cannot_grow(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    pages = project.store._db.execute("PRAGMA page_count").fetchone()[0]
    project.store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full") as error:
        project.store.replace_shots(
            Shot(f"shot_{n:03d}", n, {}, "a long prompt " * 50, seed=n) for n in range(60)
        )
    assert error.value.fix and "Free some space" in error.value.fix
    project.store.close()
    again = Project.open(project.root)
    assert again.store.shots() == []  # all or nothing
    list(plan_shots(again))
    assert len(again.store.shots()) == 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; skipped where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    size = ["-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or not mount or subprocess.run([mount, "-t", "tmpfs", *size]).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    project = make(small_disk / "p")
    project.store.close()
    run_stage("shots", project.root)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 70_000))  # two drawings of 128 px
    done = limner(project.root, "generate", "--workers", "1")
    assert done.returncode == 3 and "full" in done.stderr and "Traceback" not in done.stderr
    roomy = tmp_path / "roomy"
    shutil.copytree(project.root, roomy)
    moved = Project.open(roomy)
    before = {t.id: t.sha256 for t in moved.store.takes(state="done")}
    list(generate(moved, workers=2))
    after = {t.id: t.sha256 for t in moved.store.takes(state="done")}
    assert len(after) == 8 and before.items() <= after.items()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_project_can_be_looked_at_and_says_so_when_worked_on(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    project.store.close()
    _forbid_writing(project.root, True)
    try:
        assert limner(project.root, "status").returncode == 0
        done = limner(project.root, "shots", "plan")
        assert done.returncode == 3 and "cannot be written" in done.stderr
    finally:
        _forbid_writing(project.root, False)


def _forbid_writing(root: Path, forbid: bool) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod((0o555 if path.is_dir() else 0o444) if forbid else 0o755)


def test_read_only_for_real_when_the_tests_run_as_root(tmp_path: Path) -> None:
    """Root writes through modes, so the same story is told as nobody."""
    runuser = shutil.which("setpriv")
    if os.geteuid() or not runuser:
        pytest.skip("needs root and setpriv")
    project = make(tmp_path / "p")
    project.store.close()
    for path in [project.root, *project.root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    as_nobody = [runuser, "--reuid=65534", "--regid=65534", "--clear-groups"]
    code = [sys.executable, "-c", "from limner.cli import main; main()", "-C", str(project.root)]
    for parent in project.root.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    probe = subprocess.run([*as_nobody, *code, "--help"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("nobody cannot reach this Python")
    done = subprocess.run([*as_nobody, *code, "shots", "plan"], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr and "permission" in done.stderr
