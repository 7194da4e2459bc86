"""Editing captions: previewed, written in steps, and every step can be taken back."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limner.captions import edits, merging, steps
from limner.captions.folder import JOURNAL, open_sheet
from limner.errors import InputError, UsageError
from limner.project import Project
from limner.project.files import sha256_bytes
from limner.project.records import Shot


def texts_of(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(root.glob("*.txt"))}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder Limner did not make: three pictures with captions, stored in three ways."""
    for name, raw in {
        "a": b"grace_char, red dress, beach, genuine smile",
        "b": "grace_char, red coat, café, calm\r\n".encode("cp1252"),
        "c": "\ufeffgrace_char, blue coat, forest, calm\n".encode(),
    }.items():
        (tmp_path / f"{name}.png").write_bytes(b"png")
        (tmp_path / f"{name}.txt").write_bytes(raw)
    return tmp_path


def replace(root: Path, find: str, by: str, **how: bool) -> int:
    """Find, replace, write; the step's number."""
    sheet = steps.ready(open_sheet(root))
    step = steps.apply(sheet, edits.changes(edits.find_replace(sheet, find, by, **how)), "r")
    assert step is not None
    return step.number


def test_a_preview_shows_the_diff_and_changes_nothing(place: Path) -> None:
    before = texts_of(place)
    made = edits.find_replace(open_sheet(place), r"(red|blue) (\w+)", r"\2 in \1")
    assert [e.key for e in made] == ["a.txt", "b.txt", "c.txt"]
    assert made[0].lines() == [
        "--- a.txt",
        "- grace_char, red dress, beach, genuine smile",
        "+ grace_char, dress in red, beach, genuine smile",
    ]
    assert texts_of(place) == before and not (place / JOURNAL).exists()


def test_the_file_stays_stored_as_it_was_found(place: Path) -> None:
    replace(place, "red", "green")
    assert (place / "b.txt").read_bytes() == "grace_char, green coat, café, calm\r\n".encode(
        "cp1252"
    )
    replace(place, "blue", "grey")
    assert (place / "c.txt").read_bytes().startswith("\ufeffgrace_char, grey".encode())


def test_any_step_can_be_taken_back_not_only_the_last(place: Path) -> None:
    before = texts_of(place)
    first, second = replace(place, "red", "green"), replace(place, "coat", "cloak")
    steps.undo(open_sheet(place), [first])
    assert (place / "b.txt").read_bytes() == "grace_char, red cloak, café, calm\r\n".encode(
        "cp1252"
    )
    steps.undo(open_sheet(place), [second])
    assert texts_of(place) == before
    with pytest.raises(UsageError, match="taken back already"):
        steps.undo(open_sheet(place), [first])
    with pytest.raises(UsageError, match="no step 99"):
        steps.undo(open_sheet(place), [99])
    undo = steps.steps(open_sheet(place))[-1].number
    steps.undo(open_sheet(place), [undo])  # an undo is a step as well
    assert b"cloak" in (place / "b.txt").read_bytes()


def test_a_step_under_later_ones_on_the_same_words_is_refused_whole(place: Path) -> None:
    first = replace(place, "red", "green")
    second = replace(place, "green dress", "gown")
    now = texts_of(place)
    with pytest.raises(UsageError, match="same words") as error:
        steps.undo(open_sheet(place), [first])
    assert f"undo {second} {first} --in {place}`" in str(error.value.fix), "pasted, it works"
    assert texts_of(place) == now
    steps.undo(open_sheet(place), [first, second])
    assert b"red dress" in (place / "a.txt").read_bytes()


def test_a_hand_edit_is_a_step_of_the_person_and_never_lost(place: Path) -> None:
    replace(place, "red", "green")
    (place / "a.txt").write_text("grace_char, my own words\n")
    stale = open_sheet(place)
    (place / "b.txt").write_text("grace_char, mine too")
    made = edits.find_replace(stale, "coat", "cloak")
    with pytest.raises(UsageError, match=r"b\.txt changed since it was read"):
        steps.apply(stale, edits.changes(made), "stale")
    replace(place, "blue", "grey")
    rows = steps.history(open_sheet(place), "a.txt")
    assert [(r["author"], r["what"]) for r in rows] == [
        ("found", "as it was found"),
        ("person", "r"),
        ("person", steps.OUTSIDE),
    ]
    outside = next(s.number for s in steps.steps(open_sheet(place)) if s.what == steps.OUTSIDE)
    steps.undo(open_sheet(place), [outside])
    assert b"green dress" in (place / "a.txt").read_bytes()


def test_wrong_patterns_and_empty_captions_are_refused(place: Path) -> None:
    sheet = open_sheet(place)
    with pytest.raises(UsageError, match="pattern is wrong"):
        edits.find_replace(sheet, "(", "x")
    with pytest.raises(UsageError, match="replacement is wrong"):
        edits.find_replace(sheet, "red", r"\7")
    with pytest.raises(UsageError, match="left empty"):
        edits.find_replace(sheet, "(?s).*", "")
    with pytest.raises(UsageError, match="Nothing to find"):
        edits.find_replace(sheet, "", "x")
    with pytest.raises(InputError, match="no captions are called"):
        edits.set_text(sheet, "none.txt", "x")
    assert edits.find_replace(sheet, "a.b", "x", regex=False) == []
    assert [e.after for e in edits.set_text(sheet, "a.png", "grace_char,  new ")] == [
        "grace_char, new"
    ]


words = st.sampled_from(
    ["red", "coat", "café", "calm", "a", "grace_char", ",", "  ", "blue\n", "é"]
)
captions = st.lists(words, min_size=1, max_size=12).map(" ".join)
stored = st.builds(
    lambda text, codec, tail: text.encode(codec) + tail,
    captions,
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
changes = st.one_of(
    st.tuples(st.just("edit"), words, words),
    st.tuples(st.just("hand"), st.sampled_from("abc"), stored),
    st.tuples(st.just("undo"), st.integers(0, 9), st.none()),
)


@given(st.lists(stored, min_size=3, max_size=3), st.lists(changes, max_size=6))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_undo_of_everything_restores_every_byte(
    tmp_path: Path, files: list[bytes], done: list[tuple[str, object, object]]
) -> None:
    """Edits, hand edits and undos in any order; then all steps taken back, newest first."""
    (tmp_path / JOURNAL).unlink(missing_ok=True)
    for name, raw in zip("abc", files, strict=True):
        (tmp_path / f"{name}.txt").write_bytes(raw)
        (tmp_path / f"{name}.png").touch()
    first_known: dict[str, bytes] = {}
    for kind, x, y in done:
        sheet = open_sheet(tmp_path)
        try:
            if kind == "edit":
                made = edits.find_replace(sheet, str(x), str(y), regex=False)
                steps.apply(sheet, edits.changes(made), "edit")
            elif kind == "undo":
                steps.undo(sheet, [s.number for s in steps.steps(sheet)][int(str(x)) :][:1])
            else:
                assert isinstance(y, bytes)
                (tmp_path / f"{x}.txt").write_bytes(y)
        except UsageError:
            pass  # refused: nothing was changed
    found = steps.steps(steps.ready(open_sheet(tmp_path)))
    for change in (c for step in found for c in step.changes):
        first_known.setdefault(change.key, change.before or b"")
    left = texts_of(tmp_path)
    for step in reversed(found):
        steps.undo(open_sheet(tmp_path), [step.number])
    for key, raw in texts_of(tmp_path).items():
        assert raw == first_known.get(key, left[key]), key


@given(captions, captions, captions)
@example("red red coat café coat café café", "red red coat café coat red café", "red café red café")
@settings(max_examples=100, deadline=None)
def test_taking_a_change_out_keeps_the_later_one(before: str, after: str, later: str) -> None:
    """If it can be taken out, doing the change again gives what stood; touching words refuse."""
    b, a, now = before.encode(), after.encode(), later.encode()
    assert merging.without(b, a, a) == b
    out = merging.without(b, a, now)
    if out is not None and b != a:
        assert merging.without(a, b, out) in (now, None)
    assert merging.without(None, a, now) is None


def test_changes_that_touch_are_refused_not_guessed() -> None:
    """Which of two words added at one place stands first, nobody knows."""
    assert merging.without(b"x y", b"x", b"x z") is None
    assert merging.without(b"x y", b"x z", b"x z!") is None
    assert merging.without(b"red hat, a bag", b"blue hat, a bag", b"blue hat, a box") == (
        b"red hat, a box"
    )


KILLED = """
    import os, sys
    from pathlib import Path
    from limner.captions import edits, folder, steps
    from limner.project import files
    real, left = files.write_bytes, int(sys.argv[2])
    def counted(path, data):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        real(path, data)
    folder.write_bytes = steps.write_bytes = counted
    sheet = folder.open_sheet(Path(sys.argv[1]))
    steps.apply(sheet, edits.changes(edits.find_replace(sheet, "coat|dress", "robe")), "robe")
"""


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_kill_between_writes_leaves_every_caption_whole(place: Path, at: int) -> None:
    """Killed before the journal, between captions, before the step is marked as done."""
    before = texts_of(place)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(place), str(at)], timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    robes = {
        n: raw.replace(b"coat", b"robe").replace(b"dress", b"robe") for n, raw in before.items()
    }
    assert all(raw in (before[n], robes[n]) for n, raw in texts_of(place).items())
    assert not list(place.glob("*.part"))
    cut = steps.unfinished(open_sheet(place))
    assert len(cut) == (at > 0)
    replace(place, "calm", "still")  # the next change finishes what was begun
    want = robes if at else before
    assert texts_of(place) == {n: raw.replace(b"calm", b"still") for n, raw in want.items()}
    for step in reversed(steps.steps(open_sheet(place))):
        steps.undo(open_sheet(place), [step.number])
    assert texts_of(place) == before


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of three kept takes with compiled captions (the pictures do not matter)."""
    made = Project.create(
        tmp_path / "p", name="G", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    shots = [Shot(f"shot_{n:03}", n, {}, "", n) for n in (1, 2, 3)]
    made.store.replace_shots(shots)
    for shot in shots:
        take = made.store.journal_take(shot.id, "atelier", shot.seed, {})
        path = made.folder("takes") / f"{shot.id}_a1.png"
        path.write_bytes(shot.id.encode())
        digest = sha256_bytes(shot.id.encode())
        made.store.update_take(take.id, state="done", path=made.relative(path), sha256=digest)
        made.store.decide(take.id, "keep", [], "rule")
        text = f"grace_char, waist-up shot, wearing red coat, place {shot.position}, calm"
        made.store.put_caption(take.id, text, "rule")
        path.with_suffix(".txt").write_text(text)
    return made


def test_a_project_keeps_steps_and_authors_in_its_records(project: Project) -> None:
    sheet = open_sheet(project)
    step = steps.apply(sheet, edits.changes(edits.find_replace(sheet, "red", "blue")), "blue")
    assert step is not None and all("blue" in c.text for c in project.store.captions().values())
    file = project.root / "takes" / "shot_002_a1.txt"
    time.sleep(0.02)
    file.write_text("grace_char, by hand, wearing blue coat, place 2")
    steps.undo(open_sheet(project), [step.number])  # merges: the hand edit is of other words
    assert file.read_text() == "grace_char, by hand, wearing red coat, place 2"
    captions = project.store.captions()
    key = "takes/shot_001_a1.txt"
    assert [r["author"] for r in steps.history(open_sheet(project), key)] == [
        *("rule", "person", "rule")
    ]
    take = project.store.kept()[1].id
    assert captions[take].text == "grace_char, by hand, wearing red coat, place 2"
    authors = [c.author for c in project.store.caption_history(take)]
    assert authors[:3] == ["rule", "person", "person"]
    assert captions[take].author == "person", "compile must not write over what was kept by hand"
    assert not (project.root / JOURNAL).exists()
