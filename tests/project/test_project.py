"""A project folder from its making to its faults."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputError, NotAProjectError, StoreError, UsageError, WorkFailedError
from limner.project import Project, Store, yamlfile
from limner.project.files import write_text
from limner.project.records import Measure, Shot
from limner.project.schema import MIGRATIONS


def new(root: Path) -> Project:
    return Project.create(
        root, name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )


def shot(n: int) -> Shot:
    return Shot(f"shot_{n:03d}", n, {"angle": "front"}, "a prompt", seed=n)


def test_a_new_project_opens_and_keeps_comments_when_changed(tmp_path: Path) -> None:
    project = new(tmp_path / "grace")
    again = Project.open(project.root)
    assert again.character.trigger == "grace_char"
    again.change_character(shots__count=24)
    text = (project.root / "character.yaml").read_text()
    assert "# the word that calls the character" in text and again.character.shots.count == 24
    with pytest.raises(UsageError, match="project here already"):
        new(tmp_path / "grace")


def test_a_character_is_an_adult(tmp_path: Path) -> None:
    refused = (
        ("child", "Ada"),
        ("girl", "Ada"),
        ("woman", "a 12-year-old with red hair"),
        ("woman", "a little girl with red hair"),
    )
    for word, said in refused:
        with pytest.raises(InputError, match="adults only"):
            Project.create(
                tmp_path / "q",
                name="a",
                trigger="a",
                class_word=word,
                likeness="synthetic",
                description=said,
            )
    harmless = "baby blue eyes, a minor scar on one hand, kid gloves, 28 years old"
    new(tmp_path / "p").change_character(description=harmless)


def test_a_consent_is_written_in_the_letters_it_was_given_in(tmp_path: Path) -> None:
    evidence = "Verträge/Jürgen 同意书 \U0001f4dd.pdf"
    made = Project.create(
        tmp_path / "j",
        name="Jürgen",
        trigger="juergen_p",
        class_word="man",
        likeness="consented_person",
        consent={"evidence": evidence, "date": "2026-03-01"},
    )
    assert evidence in (made.root / "character.yaml").read_text("utf-8")
    assert made.character.consent is not None and made.character.consent.evidence == evidence


def test_errors_name_line_and_field(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    file = project.root / "character.yaml"
    good = file.read_text()
    line = next(i for i, t in enumerate(good.splitlines(), 1) if "count:" in t)
    file.write_text(good.replace("count: 40", "count: 4000"))
    with pytest.raises(InputError) as error:
        _ = Project.open(project.root).character
    assert f"shots.count (line {line})" in error.value.what
    assert error.value.where == f"{file}:{line}"
    file.write_text(good.replace("  count", "\tcount"))
    with pytest.raises(InputError, match="not valid YAML"):
        _ = Project.open(project.root).character
    file.write_text(good + "colour: red\n")
    with pytest.raises(InputError, match="colour"):
        _ = Project.open(project.root).character
    with pytest.raises(InputError, match="consent"):
        Project.create(
            tmp_path / "q", name="a", trigger="a", class_word="man", likeness="consented_person"
        )
    assert not (tmp_path / "q" / "character.yaml").exists()


def test_faults_of_the_file_name_the_line_and_the_cure(tmp_path: Path) -> None:
    project = new(tmp_path / "grace")
    file = project.root / "character.yaml"
    good = file.read_text()
    line = good.splitlines().index('name: "Grace"') + 1
    file.write_bytes(good.replace('name: "Grace"', 'name: "Gr\u00e2ce"').encode("latin-1"))
    with pytest.raises(InputError, match="not saved as UTF-8") as found:
        _ = Project.open(project.root).character
    assert f"line {line}" in str(found.value.where) and "UTF-8" in str(found.value.fix)
    file.write_text(f"{good}\nnotes: 2026-02-30\n")
    with pytest.raises(InputError, match="not valid YAML") as found:
        _ = Project.open(project.root).character
    assert str(found.value.where).endswith(f":{len(good.splitlines()) + 2}")
    assert "a day that there is" in str(found.value.fix)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        yamlfile.read(tmp_path)
    bare = "name: Grace\ntrigger: grace_char\nclass_word: woman\nlikeness: synthetic\n"
    file.write_text(bare)
    assert Project.open(project.root).character.name == "Grace"
    for words, wrong in (
        ("dataset:\n  repeats: true", "repeats"),
        ("dataset:\n  repeats: '40'", "repeats"),
        ("evaluation:\n  strengths: [0.8, 2.5]", "strengths"),
        ("evaluation:\n  strengths: [0]", "strengths"),
    ):
        file.write_text(f"{bare}{words}\n")
        with pytest.raises(InputError, match=wrong):
            _ = Project.open(project.root).character


def test_a_path_through_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(WorkFailedError, match="is a file, not a folder") as found:
        write_text(tmp_path / "file" / "inside.txt", "text")
    assert "another place" in str(found.value.fix)


def test_a_day_needs_no_quotes_and_a_number_must_be_one(tmp_path: Path) -> None:
    file = new(tmp_path / "p").root / "character.yaml"
    good = file.read_text()
    person = good.replace("likeness: synthetic", "likeness: consented_person")
    file.write_text(person + "consent:\n  evidence: signed.pdf\n  date: 2026-01-02\n")
    consent = Project.open(file.parent).character.consent
    assert consent is not None and consent.date == "2026-01-02"
    file.write_text(file.read_text() + "  revoked: 5.3.2026\n")
    with pytest.raises(InputError, match=r"'5\.3\.2026' should be a day, YYYY-MM-DD"):
        _ = Project.open(file.parent).character
    for day in ("2026-02-30", '"2026-02-30"'):  # unquoted it is no day to YAML either
        file.write_text(person + f"consent:\n  evidence: signed.pdf\n  date: {day}\n")
        with pytest.raises(InputError, match=r"no day 2026-02-30|day is out of range"):
            _ = Project.open(file.parent).character
    for odd in (".nan", ".inf"):
        file.write_text(good + f"evaluation:\n  thresholds: {{goal: {odd}}}\n")
        with pytest.raises(InputError, match="finite number"):
            _ = Project.open(file.parent).character


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.json", [letter * 200_000 for letter in "abcd"]

    def work(text: str) -> None:
        for _ in range(8):
            write_text(path, text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, texts))
    assert path.read_text() in texts and not list(tmp_path.glob(".*"))


def test_what_a_killed_process_left_half_written_goes_and_the_rest_stays(tmp_path: Path) -> None:
    gone = multiprocessing.get_context("spawn").Process(target=print)
    gone.start()
    gone.join()
    left = tmp_path / f".prompts.txt.{gone.pid}-1.part"
    other = [tmp_path / f".prompts.txt.{os.getppid()}-1.part", tmp_path / ".mine.part"]
    for path in (left, *other):
        path.write_text("half")
    write_text(tmp_path / "prompts.txt", "whole")
    assert not left.exists() and all(path.exists() for path in other)


def test_no_project_and_newer_or_broken_database(tmp_path: Path) -> None:
    with pytest.raises(NotAProjectError):
        Project.open(tmp_path)
    with pytest.raises(NotAProjectError):
        Project.open(tmp_path / "nowhere")
    project = new(tmp_path / "p")
    project.store.close()
    path = project.root / "limner.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match="newer Limner"):
        _ = Project.open(project.root).store
    path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreError):
        _ = Project.open(project.root).store


def test_an_emptied_database_is_no_new_project(tmp_path: Path) -> None:
    """SQLite takes an empty file for a new database: shots would be planned over the pictures."""
    project = Project.create(
        tmp_path / "g", name="G", trigger="g_char", class_word="woman", likeness="synthetic"
    )
    project.store.close()
    (project.root / "limner.db").write_bytes(b"")
    with pytest.raises(StoreError, match="empty"):
        Project.open(project.root)


def test_every_schema_migrates_forward(tmp_path: Path) -> None:
    for have in range(1, len(MIGRATIONS) + 1):
        path = tmp_path / f"{have}.db"
        with sqlite3.connect(path) as db:
            for script in MIGRATIONS[:have]:
                db.executescript(script)
            db.execute(
                "INSERT INTO shots (id, position, attributes, prompt, seed) "
                "VALUES ('shot_001', 1, '{\"angle\": \"front\"}', 'kept', 7)"
            )
            db.execute(f"PRAGMA user_version = {have}")
        store = Store(path)
        assert [s.prompt for s in store.shots()] == ["kept"]
        store.decide(store.journal_take("shot_001", "atelier", 1, {}).id, "keep", [], "rule")
        assert len(store.kept()) == 0, "a pending take is no picture"


def test_not_measured_stays_not_measured_and_a_person_wins(tmp_path: Path) -> None:
    store = new(tmp_path / "p").store
    store.replace_shots([shot(1)])
    take = store.journal_take("shot_001", "atelier", 5, {"size": 64})
    store.update_take(take.id, state="done", path="takes/a.png")
    store.put_measures(take.id, [Measure("identity", None, reason="no face"), Measure("x", 0.0)])
    assert store.measures(take.id)["identity"].value is None
    assert store.measures(take.id)["x"].value == 0.0
    store.decide(take.id, "keep", ["person says so"], "person")
    store.decide(take.id, "reject", ["rule"], "rule")
    assert [t.id for t in store.kept()] == [take.id]
    assert store.undo_decision(take.id) is not None
    assert store.undo_decision(take.id) is not None
    assert store.standing_decisions() == {}


def _write_many(path: str, worker: int) -> None:
    store = Store(Path(path))
    for n in range(40):
        store.log("test", "tick", worker=worker, n=n)
        store.journal_take("shot_001", f"w{worker}", n, {})


def test_two_processes_write_without_loss(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    project.store.replace_shots([shot(1)])
    context = multiprocessing.get_context("spawn")
    path = str(project.root / "limner.db")
    workers = [context.Process(target=_write_many, args=(path, w)) for w in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0]
    assert len(project.store.diary()) == 80 and len(project.store.takes()) == 80


def test_a_stage_is_held_by_one_process(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    with (
        project.exclusive("generate"),
        pytest.raises(UsageError, match="already running"),
        project.exclusive("generate"),
    ):
        pass
    with project.exclusive("generate"):
        pass


def test_paths_never_leave_the_project(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    with pytest.raises(InputError):
        project.path("../secret")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_in_the_file_is_read_or_refused_clearly(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "p"
        project = new(root)
        project.store.close()
        file = root / "character.yaml"
        file.write_text(file.read_text() + text, encoding="utf-8", errors="surrogatepass")
        try:
            _ = Project.open(root).character
        except InputError as error:
            assert error.what and error.where
        shutil.rmtree(root)
