"""An archive is one file that anyone can check, down to the last byte of the zip itself."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest
import release_project as make
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputError, UsageError
from limner.events import Notice, collect
from limner.project import Project
from limner.release import archive, page, verify
from limner.release.archiving import MANIFEST, is_safe


def test_the_same_project_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    one, two = tmp_path / "one.limner.zip", tmp_path / "two.limner.zip"
    value = collect(archive(finished, one))
    collect(archive(finished, two))
    assert one.read_bytes() == two.read_bytes()
    assert verify(one) == [] and value["bytes"] == one.stat().st_size
    with zipfile.ZipFile(one) as box:
        names = set(box.namelist())
        assert {
            "character.yaml",
            "limner.db",
            "report.html",
            "verdict.json",
            MANIFEST,
            "dataset/limner.lock.json",
            "models/run_1/step_000200.safetensors",
        } <= names
        assert "models/run_1/step_000100.safetensors" not in names  # can be trained again
        box.extractall(tmp_path / "again")
    again = Project.open(tmp_path / "again")
    assert len(again.store.takes()) == 7 and verify(again.root) == []
    assert page.render(again) == page.render(finished)


def test_any_changed_byte_of_an_archive_is_found(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 2)  # a small one: every 31st byte is tried
    path = tmp_path / "x.limner.zip"
    collect(archive(project, path))
    good = path.read_bytes()
    rng = random.Random(3)
    assert verify(path) == []
    tables = range(good.rindex(b"PK\x01\x02"), len(good))  # the zip's own last table, every byte
    spots = {*rng.sample(range(len(good)), 150), *tables, *range(64)}
    for spot in sorted(spots):
        bad = bytearray(good)
        bad[spot] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        assert verify(path), f"byte {spot} of {len(good)}"
    path.write_bytes(good + b"!")
    assert verify(path)


def test_a_changed_picture_is_named(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 2)
    path = tmp_path / "x.limner.zip"
    collect(archive(project, path))
    picture = (project.root / "takes/shot_003_a1.png").read_bytes()
    data = path.read_bytes()
    at = data.index(picture) + 60
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    assert [f["file"] for f in verify(path)] == ["takes/shot_003_a1.png"]


def test_unsafe_entries_and_names_are_refused(tmp_path: Path) -> None:
    for name in ("../evil.txt", "/etc/passwd", "a\\..\\b", "c:evil"):
        path = tmp_path / "evil.limner.zip"
        with zipfile.ZipFile(path, "w") as box:
            box.writestr(MANIFEST, "{}")
            box.writestr(zipfile.ZipInfo(name), "x")
        assert verify(path)[0]["rule"] == "path", name
    project = make.build(tmp_path / "iris", 0)
    (project.folder("shots") / "what?.txt").write_text("x")
    with pytest.raises(InputError, match="not safe"):
        collect(archive(project, tmp_path / "y.limner.zip"))
    with pytest.raises(UsageError):
        collect(archive(project, tmp_path / "y.zip"))
    with pytest.raises(InputError):
        verify(tmp_path / "nowhere.limner.zip")


def test_an_archive_of_a_changed_dataset_says_so(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 3)
    (project.root / "dataset/40_iris_char/img_002.txt").unlink()
    seen: list[object] = []
    collect(archive(project, tmp_path / "x.limner.zip"), seen.append)
    assert any(isinstance(e, Notice) and "img_002.txt is missing" in e.text for e in seen)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30))
def test_safe_names_stay_inside(name: str) -> None:
    if is_safe(name):
        inside = Path("/base") / name
        assert str(inside.resolve()).startswith("/base/") and "\\" not in name
