"""kill -9 at any moment of a paid run: afterwards every picture is there, none paid twice."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_higgsfield import FAST, MODELS, FakeHiggsfield
from runner import Runner

from limner.events import collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.shots import plan

SHOTS = 40


@pytest.fixture
def runner(keys: None) -> Iterator[Runner]:
    found = Runner()
    yield found
    found.close()


class Watched:
    """A service that looks into the journal at every order, and kills the client as told."""

    def __init__(self, runner: Runner, root: Path) -> None:
        self.runner, self.root = runner, root
        self.fatal = (0, "")
        self.begun = 0
        self.unjournaled: list[str] = []
        self.fake = FakeHiggsfield(
            picture=(64, 64), times=(0.005, 0.005), before=self.before, after=self.after
        )

    def arm(self, request: int, moment: str) -> None:
        """Kill the client at its n-th request from now, before or after it is carried out."""
        self.begun = len(self.fake.requests)
        self.fatal = (request, moment)

    def before(self, number: int) -> None:
        method, path, headers, _ = self.fake.requests[number - 1]
        if method == "POST" and path.strip("/") in MODELS:
            key = headers["Idempotency-Key"]
            with sqlite3.connect(f"file:{self.root}/limner.db?mode=ro", uri=True) as db:
                sql = "SELECT count(*) FROM takes WHERE json_extract(request, '$.order.key') = ?"
                if db.execute(sql, [key]).fetchone() != (1,):
                    self.unjournaled.append(key)
        self._kill(number, "before")

    def after(self, number: int) -> None:
        self._kill(number, "after")

    def _kill(self, number: int, moment: str) -> None:
        if (number - self.begun, moment) == self.fatal:
            self.runner.kill()


def kill_many_times(runner: Runner, temp: Path, kills: int, seed: int) -> None:
    """Runs of 40 shots, each killed until it has nothing left to do; as many runs as it takes."""
    project = Project.create(
        temp / "plan", name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    project.change_character(
        shots__count=SHOTS, source__limits=FAST, source__short_side=64, source__max_cost=5.0
    )
    collect(plan(project))
    project.store.close()
    dice = random.Random(seed)
    died = 0
    for number in range(kills):
        if died >= kills:
            return
        root = temp / f"run_{number}"
        shutil.copytree(project.root, root)
        died += killed_run(runner, root, kills - died, dice)
        shutil.rmtree(root)


def killed_run(runner: Runner, root: Path, kills: int, dice: random.Random) -> int:
    """One run of 40 shots, killed at most so often, then left in peace; how often it died."""
    watched = Watched(runner, root)
    died, done = 0, False
    with watched.fake as fake:
        while died < kills and not done:
            if dice.random() < 0.3:  # between two writes of the journal or of a file
                watched.arm(0, "")
                said = runner.run(root, fake.url, die_at=dice.randint(5, 40))
            else:  # around a request: sent but not answered is the dangerous moment
                watched.arm(dice.randint(1, 6), dice.choice(("before", "after")))
                said = runner.run(root, fake.url)
            assert said["signal"] in (0, signal.SIGKILL) and not said["error"], said
            done = said["signal"] == 0
            died += not done
        watched.arm(0, "")
        assert runner.run(root, fake.url) == {"signal": 0, "error": ""}
        assert not watched.unjournaled, "an order was sent before its key was journaled"
        assert len(fake.jobs) == SHOTS == fake.charged, "an order was paid twice"
        check_all_there(Project.open(root), fake)
    return died


def check_all_there(project: Project, fake: FakeHiggsfield) -> None:
    """40 takes, one a shot, each with its own file as recorded and its own paid order."""
    takes = project.store.takes()
    assert [t.state for t in takes] == ["done"] * SHOTS
    assert len({t.shot_id for t in takes}) == SHOTS
    orders = {t.request["order"]["request_id"] for t in takes}
    assert orders == set(fake.jobs) and all(t.request["order"]["charged"] for t in takes)
    for take in takes:
        assert sha256_file(project.path(take.path or "")) == take.sha256
    assert len({t.sha256 for t in takes}) == SHOTS
    assert not list((project.root / "takes").glob(".*"))


def test_a_killed_run_of_paid_orders_loses_and_doubles_nothing(
    runner: Runner, tmp_path: Path
) -> None:
    kill_many_times(runner, tmp_path, kills=6, seed=1)


@pytest.mark.long
def test_fifty_kills_lose_and_double_nothing(runner: Runner, tmp_path: Path) -> None:
    kill_many_times(runner, tmp_path, kills=50, seed=100)
