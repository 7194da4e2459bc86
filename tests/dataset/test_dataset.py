"""A dataset: built, found again, verified, split."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.small_dataset import FOLDER, add_bodies, new
from limner.dataset import build, check, verify_lock
from limner.dataset.split import Candidate, hold_out
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Result, collect
from limner.project.files import sha256_file
from limner.project.records import Measure


def test_the_guides_layout_and_a_lock_of_every_file(tmp_path: Path) -> None:
    project = new(tmp_path)
    found = collect(build(project))
    assert found["version"] == 1 and found["path"] == f"dataset/{FOLDER}"
    assert (found["train"], found["held_out"]) == (17, 3)
    record = project.store.dataset()
    assert record is not None and len(record.train) == 17 and len(record.held_out) == 3
    root = project.root / "dataset"
    lock = json.loads((root / "limner.lock.json").read_text())
    assert lock == record.lock and sha256_file(root / "limner.lock.json") == found["lock_sha256"]
    names = {p.name for p in (root / FOLDER).iterdir()}
    assert len(names) == 34 and all(n.startswith("img_") for n in names)
    for take in project.store.kept():
        shot = project.store.shot(take.shot_id)
        assert shot is not None
        held = take.id in record.held_out
        stem = f"{'ref' if held else 'img'}_{shot.position:03d}"
        file = root / ("held_out" if held else FOLDER) / f"{stem}.png"
        assert sha256_file(file) == take.sha256
        text = file.with_suffix(".txt").read_bytes()
        assert text.decode() == project.store.captions()[take.id].text and b"\n" not in text
    mapping = (root / "prompt_mapping.txt").read_text().splitlines()
    assert len(mapping) == 20 and "DOMAIN 1, Prompt 2: prompt 2" in "\n".join(mapping)
    listed = {e["path"]: e["sha256"] for e in lock["files"]}
    assert len(listed) == 40
    assert all(sha256_file(root / path) == digest for path, digest in listed.items())
    assert lock["likeness"] == "synthetic" and lock["character"]["trigger"] == "grace_char"
    assert verify_lock(project) == [] and check(project) == []


def test_an_unchanged_dataset_is_found_again_and_a_changed_one_gets_a_number(
    tmp_path: Path,
) -> None:
    project = new(tmp_path)
    first = collect(build(project))
    assert collect(build(project)) == {**first, "reused": True}
    project.store.put_caption(1, "grace_char, another caption, a park", "person")
    assert [f["rule"] for f in check(project)] == ["stale"]
    before = {p: p.read_bytes() for p in (tmp_path / "dataset" / FOLDER).iterdir()}
    second = collect(build(project))
    assert second["version"] == 2 and second["path"] == f"dataset/v2/{FOLDER}"
    assert all(p.read_bytes() == data for p, data in before.items())
    one, two = project.store.dataset(1), project.store.dataset(2)
    assert one is not None and two is not None and one.held_out == two.held_out
    assert verify_lock(project, 1) == verify_lock(project, 2) == []
    with pytest.raises(NotReadyError, match="no dataset 3"):
        verify_lock(project, 3)


def test_the_lock_names_every_change(tmp_path: Path) -> None:
    project = new(tmp_path)
    collect(build(project))
    folder = tmp_path / "dataset" / FOLDER
    pictures = sorted(folder.glob("*.png"))
    pictures[0].write_bytes(b"other")
    pictures[1].unlink()
    pictures[2].with_suffix(".txt").write_text("grace_char, changed")
    (folder / "img_999.png").write_bytes(b"new")
    project.change_character(description="Someone else")
    found = verify_lock(project)
    assert found == [
        f"{FOLDER}/{pictures[0].name} has changed",
        f"{FOLDER}/{pictures[1].name} is missing",
        f"{FOLDER}/{pictures[2].stem}.txt has changed",
        f"{FOLDER}/img_999.png is new",
        "character.yaml: description has changed",
    ]
    rules = Counter(f["rule"] for f in check(project))
    assert rules["lock"] == 5 and rules["orphan"] == 1 and rules["missing"] == 1
    (tmp_path / "dataset" / "limner.lock.json").write_text("{}")
    assert "limner.lock.json has changed" in verify_lock(project)


def test_a_killed_build_is_built_again_whole(tmp_path: Path) -> None:
    project = new(tmp_path)
    events = build(project)
    for _ in range(9):
        next(events)  # pictures copied, no lock, no record
    events.close()  # type: ignore[attr-defined]
    assert project.store.dataset() is None
    folder = tmp_path / "dataset" / FOLDER
    (folder / ".img_003.png.77.part").write_bytes(b"half")
    project.store.decide(1, "reject", [], "person")  # and meanwhile a take was rejected
    found = collect(build(project))
    assert found["version"] == 1 and found["train"] + found["held_out"] == 19
    assert verify_lock(project) == [] and not list(folder.glob(".*"))
    assert not list((tmp_path / "dataset").rglob("*_001.*"))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    project = new(tmp_path / "bare", captions=False)
    with pytest.raises(NotReadyError, match="20 kept takes have no caption"):
        collect(build(project))
    project = new(tmp_path / "gone")
    (project.root / "takes" / "shot_004_a1.png").write_bytes(b"another picture")
    with pytest.raises(InputError, match="shot_004 is not the one that was reviewed"):
        collect(build(project))
    (project.root / "takes" / "shot_004_a1.png").unlink()
    with pytest.raises(InputError, match="shot_004 cannot be read"):
        collect(build(project))
    project = new(tmp_path / "all")
    project.change_character(dataset__held_out=20)
    with pytest.raises(UsageError, match="none is left to train on"):
        collect(build(project))
    project.change_character(dataset__held_out=0)
    notices = [e for e in build(project) if not isinstance(e, Result)]
    assert any("No reference is held out" in getattr(e, "text", "") for e in notices)
    assert [f["rule"] for f in check(project)] == ["held_out"]


candidates = st.lists(
    st.builds(
        Candidate,
        take=st.integers(1, 10**6),
        sha256=st.text("0123456789abcdef", min_size=8, max_size=8),
        framing=st.sampled_from(["close_up", "half_body", "cowboy", "full_body"]),
        yaw=st.floats(0, 180),
        face_visible=st.booleans(),
    ),
    unique_by=lambda c: c.take,
    max_size=60,
)


@given(candidates, st.integers(0, 70), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_split_is_stable_and_spread(
    takes: list[Candidate], wanted: int, chance: random.Random
) -> None:
    chosen = hold_out(takes, wanted)
    seen = {c.take: c for c in takes if c.face_visible}
    assert set(chosen) <= set(seen) and len(chosen) == min(wanted, len(seen))
    mixed = takes[:]
    chance.shuffle(mixed)
    assert hold_out(mixed, wanted) == chosen
    sizes = Counter((c.yaw >= 20) + (c.yaw >= 60) for c in seen.values())
    got = Counter((seen[t].yaw >= 20) + (seen[t].yaw >= 60) for t in chosen)
    for number, size in sizes.items():
        assert abs(got[number] - len(chosen) * size / len(seen)) < 1 + 1e-9


def test_references_of_a_trained_run_stay_references(tmp_path: Path) -> None:
    project = new(tmp_path)
    store = project.store
    collect(build(project))
    first = store.dataset()
    assert first is not None and len(first.held_out) == 3
    plan = store.add_plan(dataset_version=1, data={})
    store.add_run(
        plan_version=plan, dataset_version=1, trainer="native", state="done", config={}, path="m"
    )

    def again() -> list[int]:
        collect(build(project))
        newest = store.dataset()
        assert newest is not None and not set(newest.train) & set(newest.held_out)
        return newest.held_out

    for shot in [s.id for s in store.shots()][:10]:  # 15 % of what is left would be 2, and others
        take = next(t for t in store.kept() if t.shot_id == shot)
        if take.id not in first.held_out:
            store.decide(take.id, "reject", [], "person")
    assert again() == first.held_out
    store.decide(first.held_out[0], "reject", [], "person")
    found = again()
    assert set(first.held_out[1:]) < set(found) and len(found) == 3
    project.change_character(dataset__held_out=5)
    assert set(found) < set(again())


def test_a_picture_in_which_no_face_was_found_is_no_reference(tmp_path: Path) -> None:
    project = new(tmp_path)
    store = project.store
    collect(build(project))
    first = store.dataset()
    assert first is not None
    for take in store.kept():
        store.update_take(take.id, labels={})  # a photograph: its source knows nothing of faces
        store.put_measures(take.id, [Measure("face_count", float(take.id not in first.held_out))])
    project.change_character(dataset__held_out=4)
    collect(build(project))
    again = store.dataset()
    assert again is not None and len(again.held_out) == 4
    assert not set(again.held_out) & set(first.held_out)


def test_a_set_that_grew_gets_more_references_until_a_verdict_rests_on_them(tmp_path: Path) -> None:
    def grown(outcome: str) -> tuple[list[int], list[int]]:
        project = new(tmp_path / (outcome or "none"))
        store = project.store
        project.change_character(dataset__held_out=1)
        collect(build(project))
        first = store.dataset()
        assert first is not None
        plan = store.add_plan(dataset_version=1, data={})
        store.add_run(
            plan_version=plan, dataset_version=1, trainer="native", state="done", config={},
            path="m",
        )  # fmt: skip
        if outcome:
            store.add_grid(run_version=1, settings={})
            store.add_verdict(grid_version=1, data={"outcome": outcome})
        project.change_character(dataset__held_out=None)
        collect(build(project))
        newest = store.dataset()
        assert newest is not None and set(first.held_out) <= set(newest.held_out)
        return first.held_out, newest.held_out

    for outcome in ("", "not_enough"):  # too few references must not stay too few for good
        assert [len(held) for held in grown(outcome)] == [1, 3]
    first, second = grown("too_close")
    assert first == second


def test_real_bodies_are_a_second_folder_with_their_papers(tmp_path: Path) -> None:
    project = new(tmp_path)
    first = collect(build(project))
    add_bodies(project)
    assert [f["rule"] for f in check(project)] == ["stale"]
    found = collect(build(project))
    assert (found["version"], found["bodies"], found["train"]) == (2, 2, first["train"])
    record = project.store.dataset()
    assert record is not None
    real = record.lock["realism"]
    assert (real["folder"], real["repeats"]) == ("20_grace_char_realbody", 20)
    assert {(p["licence"], p["consent"]) for p in real["pictures"]} == {
        ("CC0, example.org", "release 2026-03")
    }
    folder = tmp_path / "dataset" / "v2" / "20_grace_char_realbody"
    assert (folder / "body_001.txt").read_text() == "grace_char, realistic_body"
    words = "grace_char, realistic_body, legs, standing pose, natural lighting"
    assert (folder / "body_002.txt").read_text() == words
    assert [p["caption_author"] for p in real["pictures"]] == ["rule", "person"]
    assert check(project) == [] and collect(build(project))["reused"]
    (folder / "body_001.png").write_bytes(b"other")
    assert verify_lock(project) == ["20_grace_char_realbody/body_001.png has changed"]
    add_bodies(project, papers=False)
    with pytest.raises(InputError, match="no consent"):
        collect(build(project))
    project.change_character(dataset__realism_repeats=0)
    assert collect(build(project))["bodies"] == 0
