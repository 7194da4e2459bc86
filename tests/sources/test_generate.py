"""Takes: made for every open shot, resumed after a kill, retried after a rejection."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from limner import lexicon
from limner.atelier import abilities as atelier_abilities
from limner.errors import InputError, NotReadyError, WorkFailedError
from limner.events import Notice, Progress, collect
from limner.pipeline.walk import open_folder
from limner.project import Project
from limner.project.files import sha256_file
from limner.shots import plan
from limner.sources import (
    LaterError,
    Note,
    Order,
    Picture,
    Price,
    Request,
    generate,
    identity_of,
    open_source,
)

SIZE = 64
COUNT = 8


def new(root: Path, **settings: object) -> Project:
    project = Project.create(
        root,
        name="Grace",
        trigger="grace_char",
        class_word="woman",
        likeness="synthetic",
        description="Auburn curly hair and green eyes, freckles, 34 years old.",
    )
    project.change_character(shots__count=COUNT, source__size=SIZE, **settings)
    collect(plan(project, abilities=atelier_abilities()))
    return project


class Flat:
    """A source of flat pictures: what it is asked for decides the colour; may fail or be poor."""

    name = "flat"
    at_once = None

    def __init__(
        self, *, fail: tuple[str, ...] = (), able: dict[str, tuple[str, ...]] | None = None
    ):
        self.fail = fail
        self.able = able or {}
        self.asked: list[Request] = []

    def abilities(self) -> dict[str, tuple[str, ...]]:
        return self.able

    def remarks(self) -> list[str]:
        return []

    def order(self, request: Request) -> Order:
        return {}

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        return None

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        self.asked.append(request)
        if request.shot_id in self.fail:
            raise WorkFailedError("the picture did not come out")
        out = io.BytesIO()
        color = tuple(request.seed.to_bytes(4, "big")[1:])
        Image.new("RGB", (request.size, request.size), color).save(out, "PNG")
        return [Picture(out.getvalue(), request.size, request.size, {})]

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Slow(Flat):
    """The first picture comes at once; another is finished only when the run is interrupted."""

    at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = threading.Event()

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        if request.shot_id != "shot_001":
            self.interrupted.wait(20)
            note({"request_id": f"paid {request.shot_id}"})
            if request.shot_id != "shot_002":
                raise LaterError("interrupted while it was under way")
        return super().make(request, order, note)

    def stop(self) -> None:
        self.interrupted.set()


def test_what_was_ordered_while_a_run_is_interrupted_is_kept(tmp_path: Path) -> None:
    """Ctrl-C between an order and its journal: the number and the picture are paid for."""
    project = new(tmp_path)
    run = generate(project, source=Slow())
    next(e for e in run if isinstance(e, Progress) and e.done == 1)
    run.close()  # type: ignore[attr-defined]
    takes = {t.shot_id: t for t in project.store.takes()}
    assert takes["shot_001"].state == "done" and takes["shot_002"].state == "done"
    assert project.path(takes["shot_002"].path or "").is_file()


def test_a_file_that_no_record_knows_is_not_written_over(tmp_path: Path) -> None:
    """Of a lost database, or a person's own; what a killed run left is its own."""
    project = new(tmp_path)
    theirs = project.folder("takes") / "shot_001_a1.png"
    theirs.write_bytes(b"a picture of mine")
    (project.folder("takes") / "shot_002_a1.png").write_bytes(b"half written by a killed run")
    shot = project.store.shot("shot_002")
    assert shot is not None
    request = Request(shot.id, shot.prompt, shot.attributes, shot.seed, SIZE)
    project.store.journal_take(shot.id, "flat", shot.seed, request.as_dict())
    other = {**shot.attributes, "setting": "garage"}
    project.store.update_shot(shot.id, prompt="planned anew", attributes=other)
    source = Flat()
    collect(generate(project, source=source))
    assert theirs.read_bytes() == b"a picture of mine"
    paths = {t.shot_id: t.path for t in project.store.takes()}
    assert paths["shot_001"] == "takes/shot_001_a1_2.png"
    assert paths["shot_002"] == "takes/shot_002_a1.png"
    assert next(r for r in source.asked if r.shot_id == shot.id) == request, "as it was ordered"


def test_the_atelier_draws_who_the_character_is(tmp_path: Path) -> None:
    project = new(tmp_path / "p", traits={"eyes": "blue"})
    identity = identity_of(project.character)
    assert (identity.sex, identity.hair_color, identity.hair_style) == ("female", "auburn", "curly")
    assert (identity.eyes, identity.marks, identity.age) == ("blue", "freckles", 34)
    events = list(generate(project, limit=2, workers=1))
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2]
    assert events[-1].value["open"] == COUNT - 2  # type: ignore[union-attr]
    for take, shot in zip(project.store.takes(), project.store.shots()[:2], strict=True):
        file = project.path(take.path or "")
        with Image.open(file) as picture:
            assert picture.size == (SIZE, SIZE) == (take.width, take.height)
            assert "drawing" in picture.text["Description"]  # type: ignore[attr-defined]
        assert take.sha256 == sha256_file(file) and take.seed == shot.seed
        assert take.labels["drawing"] and take.labels["outfit"] == shot.attributes["outfit"]
        variant = int(shot.attributes["expression_variant"])
        assert take.labels["expression_variant"] == variant
    with pytest.raises(InputError, match=r"traits\.eyes"):
        open_source(new(tmp_path / "q", traits={"eyes": "violet"}))


def test_the_demos_description_says_whom_its_numbers_were_measured_on(tmp_path: Path) -> None:
    project, _ = open_folder(tmp_path / "demo")
    found = identity_of(project.character)
    assert (found.sex, found.age, found.skin, found.face) == ("female", 59, "fair", "heart")
    assert (found.hair_color, found.hair_style) == ("auburn", "curly")
    assert (found.eyes, found.marks, found.seed) == ("green", "freckles", 658943756)
    said = project.character.description
    assert "of 59" in said and "curly auburn" in said and "freckles" in said


def test_own_words_are_swapped_and_missing_ones_named(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    words = project.root / lexicon.OWN_FOLDER
    words.mkdir()
    (words / "outfits.yaml").write_text(
        "blue_kimono: {phrase: blue kimono, pieces: [[a blue silk kimono]], formality: formal, "
        "wear: neutral, season: any}\n"
    )
    first = project.store.shots()[0]
    project.store.update_shot(first.id, attributes={**first.attributes, "outfit": "blue_kimono"})
    events = list(generate(project, limit=1, workers=1))
    said = [e.text for e in events if isinstance(e, Notice)]
    assert any("no outfit 'blue_kimono'" in text for text in said)
    assert any(text.startswith("The atelier draws a woman of 34") for text in said)
    made = project.store.takes()[0].labels
    assert made["substituted"]["outfit"]["asked"] == "blue_kimono"
    project.store.decide(1, "reject", [], "person")
    (words / "outfits.yaml").unlink()
    with pytest.raises(InputError, match="'blue_kimono', which is no word any more"):
        list(generate(project, limit=1, workers=1))


def test_there_must_be_a_plan(tmp_path: Path) -> None:
    project = Project.create(
        tmp_path, name="a", trigger="a", class_word="man", likeness="synthetic"
    )
    with pytest.raises(NotReadyError, match="no plan"):
        collect(generate(project))


def test_a_rejected_take_is_made_again_with_another_seed(tmp_path: Path) -> None:
    project = new(tmp_path)
    source = Flat()
    assert collect(generate(project, source=source))["made"] == COUNT
    assert collect(generate(project, source=source))["made"] == 0
    first = project.store.takes(shot_id="shot_003")[0]
    project.store.decide(first.id, "reject", ["blurred"], "person")
    assert collect(generate(project, source=source)) | {"takes": 0} == {
        **{"made": 1, "failed": 0, "resumed": 0, "later": 0, "open": 0, "takes": 0}
    }
    again = project.store.takes(shot_id="shot_003")[1]
    assert again.attempt == 2 and again.seed != first.seed and again.sha256 != first.sha256
    assert again.path == "takes/shot_003_a2.png"


def test_one_failure_is_told_and_many_stop_the_run(tmp_path: Path) -> None:
    project = new(tmp_path)
    events = list(generate(project, source=Flat(fail=("shot_002",)), workers=1))
    assert [e.level for e in events if isinstance(e, Notice)] == ["error"]
    assert events[-1].value["made"] == COUNT - 1  # type: ignore[union-attr]
    assert collect(generate(project, source=Flat()))["made"] == 1
    broken = new(tmp_path / "broken")
    ids = tuple(s.id for s in broken.store.shots())
    with pytest.raises(WorkFailedError, match="3 times in a row"):
        collect(generate(broken, source=Flat(fail=ids), workers=1))
    assert len(broken.store.takes(state="failed")) == 3


def test_what_a_source_lacks_is_replaced_and_said(tmp_path: Path) -> None:
    project = new(tmp_path)
    source = Flat(able={"angle": ("front", "three_quarter"), "lighting": ("softbox", "overcast")})
    events = list(generate(project, source=source, workers=1))
    told = [e.text for e in events if isinstance(e, Notice)]
    assert any("no angle 'side'; 'three_quarter' is the nearest" in t for t in told)
    assert len(told) == len(set(told))
    take = project.store.takes(shot_id="shot_006")[0]
    shot = project.store.shot("shot_006")
    assert shot is not None and shot.attributes["angle"] == "side"
    assert take.labels["substituted"]["angle"] == {"asked": "side", "made": "three_quarter"}
    assert {r.attributes["lighting"] for r in source.asked} <= {"softbox", "overcast"}


RUN = """
import sys
from pathlib import Path
from limner.events import collect
from limner.pipeline.walk import open_folder
from limner.project import Project
from limner.sources import generate
collect(generate(Project.open(Path(sys.argv[1])), workers=2))
"""


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = new(tmp_path / "whole")
    collect(generate(whole, workers=1, limit=3))
    project = new(tmp_path / "killed")
    mark = {"LIMNER_TEST_RUN": str(project.root)}
    code = [sys.executable, "-c", RUN, str(project.root)]
    run = subprocess.Popen(code, env={**os.environ, **mark})
    deadline = time.monotonic() + 60
    while not project.store.takes(state="done") and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    done = project.store.takes(state="done")
    assert 1 <= len(done) < COUNT and not project.store.takes(state="failed")
    pending = project.store.takes(state="pending")
    # a kill may also leave half a file beside the takes
    (project.root / "takes" / ".shot_007_a1.png.1.part").write_bytes(b"half")
    finished = {t.id: t.finished_at for t in done}
    found = collect(generate(project, workers=1, limit=len(pending) + 1))
    assert found["resumed"] == len(pending) and found["made"] == len(pending) + 1
    takes = project.store.takes()
    assert len(takes) == len({t.shot_id for t in takes}) == len(done) + found["made"]
    assert all(t.attempt == 1 and t.state == "done" for t in takes)
    assert {t.id: t.finished_at for t in takes if t.id in finished} == finished
    same = {t.shot_id: t.sha256 for t in takes}
    for take in whole.store.takes():
        assert same.get(take.shot_id, take.sha256) == take.sha256
    assert not list((project.root / "takes").glob(".*"))
    assert_ended(f"LIMNER_TEST_RUN={project.root}".encode())


def assert_ended(mark: bytes) -> None:
    """No process with this mark in its environment lives on: children end with their parent."""
    alive: list[str] = []
    for _ in range(100):
        alive = [e.parent.name for e in Path("/proc").glob("[0-9]*/environ") if mark in _bytes(e)]
        if not alive:
            return
        time.sleep(0.1)
    raise AssertionError(f"drawing processes live on: {alive}")


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_ctrl_c_is_heard_once(tmp_path: Path) -> None:
    """A terminal sends it to the whole group; the drawing processes must not print their end."""
    project = new(tmp_path / "p")
    project.change_character(source__size=128)  # smaller ones would be refused at once
    command = (  # whoever runs the tests in the background has told their children to ignore it
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from limner.cli import main; main()"
    )
    args = ["-C", str(project.root), "generate", "--workers", "2"]
    run = subprocess.Popen(
        [sys.executable, "-c", command, *args],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not project.store.takes() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # the children are at work, or still starting
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130 and "Stopped; what is done is kept" in said
    assert "Traceback" not in said, said
