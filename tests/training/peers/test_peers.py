"""Other trainers run from here, against fakes that print, write, prune and die as the real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fakes import peer_trainers
from fakes.small_dataset import add_bodies, new
from limner.dataset import build
from limner.errors import UsageError, WorkFailedError
from limner.events import Notice, Progress, collect
from limner.models import lora
from limner.pipeline.handover import train_with
from limner.project import Project
from limner.training.metrics import read as read_metrics
from limner.training.peers import homes as found_homes
from limner.training.peers import musubi, running, taking
from limner.training.watch import Watch

TOTAL = 60


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = new(tmp_path / "p", count=8)
    collect(build(made))
    made.change_character(training__base="Qwen/Qwen-Image-Edit-2509", training__steps=TOTAL)
    made.change_character(training__checkpoints=3, training__rank=4)
    return made


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_TOOLKIT_HOME", str(peer_trainers.aitoolkit(tmp_path / "aitk")))
    place = peer_trainers.musubi(tmp_path / "musubi")
    monkeypatch.setenv("MUSUBI_HOME", str(place))
    for name in ("AI_TOOLKIT_PYTHON", "MUSUBI_PYTHON"):
        monkeypatch.setenv(name, sys.executable)
    for name in ("DIT", "VAE", "TEXT_ENCODER"):
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(b"weights")
        monkeypatch.setenv(f"MUSUBI_{name}", str(file))
    monkeypatch.setenv("PYTHONPATH", str(place / "bin"))
    monkeypatch.setattr(running, "LOOK_EVERY_S", 0.1)


STEPS = {"ai-toolkit": [21, 41, 60], "musubi": [20, 40, 60]}
"""Updates: ai-toolkit's file 20 is written after the 21st."""


@pytest.mark.parametrize("trainer", STEPS)
def test_a_run_of_another_trainer_is_recorded_like_our_own(
    trainer: str, project: Project, homes: None
) -> None:
    events = list(train_with(project, trainer, control="self"))
    found = collect(iter(events))
    assert found["state"] == "done" and found["trainer"] in ("ai-toolkit", "musubi-tuner")
    assert [c["step"] for c in found["checkpoints"]] == STEPS[trainer]
    assert [c["label"] for c in found["checkpoints"]][-1] == "epoch 10 of 10"
    shown = [e for e in events if isinstance(e, Progress) and e.task != "exporting"]
    assert shown[-1].done == TOTAL and shown[-1].total == TOTAL
    record = project.store.run()
    assert record is not None and record.state == "done"
    facts = record.config["run"]
    assert (facts["template"], facts["rank"], facts["steps"]) == ("edit", 4, TOTAL)
    for point in project.store.checkpoints(record.version):
        info = lora.summary(project.path(point.path))
        assert info["naming"] == "diffusers" and info["rank"] == 4
        assert point.data["loss"] is not None and point.data["held_out_loss"] is None
    logs = project.root / "logs" / f"run_{record.version}"
    rows = read_metrics(logs / "metrics.jsonl")
    assert [r["step"] for r in rows] == list(range(1, TOTAL + 1))
    if trainer == "ai-toolkit":
        assert len(list((logs / "samples").glob("step_000021_*.jpg"))) == 3
        said = [e.text for e in events if isinstance(e, Notice)]
        assert any("almost black" in text for text in said)
    now = Watch(project.root).look()
    assert now["state"] == "done" and len(now["checkpoints"]) == 3
    again = collect(train_with(project, trainer, control="self"))
    assert again["run"] == found["run"] and again["seconds"] == 0.0


@pytest.mark.parametrize("trainer", STEPS)
def test_a_trainer_that_dies_is_taken_up_and_nothing_is_lost(
    trainer: str, project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIE_AT", "47")
    with pytest.raises(WorkFailedError, match="ended before its last step"):
        collect(train_with(project, trainer))
    record = project.store.run()
    assert record is not None and record.state == "failed"
    assert [c.step for c in project.store.checkpoints(record.version)] == STEPS[trainer][:2]
    output = project.root / record.path / "peer"
    newest = max(output.rglob("*.safetensors"), key=lambda f: f.stat().st_ctime)
    half = newest.with_name(newest.name.replace("40", "44"))
    half.write_bytes(newest.read_bytes()[:300])  # cut by the kill: ai-toolkit would load it
    events = list(train_with(project, trainer))
    found = collect(iter(events))
    assert found["run"] == record.version and found["state"] == "done"
    assert [c["step"] for c in found["checkpoints"]] == STEPS[trainer]
    console = (project.root / "logs" / "run_1" / "console.log").read_text()
    resumed = "starting from there" if trainer == "ai-toolkit" else "resume training from"
    assert resumed in console and console.count("# cache_latents") == (trainer == "musubi")
    assert any("laid aside" in e.text for e in events if isinstance(e, Notice))
    rows = read_metrics(project.root / "logs" / "run_1" / "metrics.jsonl")
    assert [r["step"] for r in rows] == list(range(1, TOTAL + 1))


def _in_a_process(project: Project, trainer: str) -> subprocess.Popen[bytes]:
    """`train --with`, to be killed."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom limner.project import Project\n"
        "from limner.pipeline.handover import train_with\nfrom limner.events import collect\n"
        "collect(train_with(Project.open(Path(sys.argv[1])), sys.argv[2]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(project.root), trainer])


def test_limner_dies_and_the_trainer_goes_on(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.05")
    ours = _in_a_process(project, "ai-toolkit")
    console = project.root / "logs" / "run_1" / "console.log"
    _wait(lambda: console.is_file() and "/60 [" in console.read_text())
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    events = list(train_with(project, "ai-toolkit"))
    assert any("at work already" in e.text for e in events if isinstance(e, Notice))
    found = collect(iter(events))
    assert found["state"] == "done" and len(found["checkpoints"]) == 3
    assert console.read_text().count("# train") == 1  # never a second one beside it


def test_limner_dies_while_pictures_are_cached_and_the_run_goes_on_from_there(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CACHE_S", "2")
    ours = _in_a_process(project, "musubi")
    caches = project.root / "logs" / "run_1" / "process.json"
    _wait(lambda: caches.is_file() and '"running"' in caches.read_text())
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    monkeypatch.setenv("FAKE_CACHE_S", "0")
    events = list(train_with(project, "musubi"))
    assert any("at work already" in e.text for e in events if isinstance(e, Notice))
    found = collect(iter(events))
    assert found["state"] == "done" and found["run"] == 1
    console = (project.root / "logs" / "run_1" / "console.log").read_text()
    assert [console.count(f"# {step}") for step in musubi.STEPS] == [1, 1, 1]


def test_a_trainer_started_in_the_moment_limner_dies_is_found(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.05")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom limner.project import Project\n"
        "from limner.pipeline.handover import train_with\nfrom limner.events import collect\n"
        "from limner.training.peers import running\n"
        "write = running._note_process\n"
        "def cut(work, state, *rest):\n"
        "    os.kill(os.getpid(), 9) if state == 'running' else write(work, state, *rest)\n"
        "running._note_process = cut\n"
        "collect(train_with(Project.open(Path(sys.argv[1])), 'ai-toolkit'))"
    )
    ours = subprocess.run([sys.executable, "-c", code, str(project.root)], check=False)
    assert ours.returncode == -signal.SIGKILL
    logs = project.root / "logs" / "run_1"
    assert '"starting"' in (logs / "process.json").read_text()
    events = list(train_with(project, "ai-toolkit"))
    assert any("at work already" in e.text for e in events if isinstance(e, Notice))
    assert collect(iter(events))["state"] == "done"
    assert (logs / "console.log").read_text().count("# train") == 1


def test_an_interrupt_ends_the_trainer_too(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.2")
    events: Any = train_with(project, "ai-toolkit")
    for event in events:
        if isinstance(event, Progress) and event.task == "ai-toolkit":
            break
    told = (project.root / "logs" / "run_1" / "process.json").read_text()
    pid = int(told.split('"pid": ')[1].split(",")[0])
    events.close()
    _wait(lambda: not _lives(pid))
    record = project.store.run()
    assert record is not None and record.state == "stopped"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def _wait(done: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_pruning_by_the_trainer_loses_nothing_and_ratios_are_kept(
    tmp_path: Path, homes: None
) -> None:
    project = new(tmp_path / "two", count=8)
    add_bodies(project)
    collect(build(project))
    project.change_character(training__base="Qwen/Qwen-Image-Edit-2509", training__steps=TOTAL)
    found = collect(train_with(project, "ai-toolkit", control="blank"))
    record = project.store.run()
    assert record is not None and found["state"] == "done"
    assert [g[1:] for g in record.config["run"]["groups"]] == [[7, 40], [2, 20]]
    with pytest.raises(UsageError, match="would delete the first"):
        project.change_character(training__keep=2)
        collect(train_with(project, "ai-toolkit", control="blank"))


def test_what_lacks_is_said_before_anything_starts(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def go(trainer: str, **more: Any) -> None:
        collect(train_with(project, trainer, **more))

    with pytest.raises(UsageError, match="not run from here"):
        go("kohya")
    with pytest.raises(UsageError, match=r"run\.py is missing"):
        go("ai-toolkit", home=tmp_path)
    monkeypatch.delenv("MUSUBI_VAE")
    with pytest.raises(UsageError, match="needs the file of its vae"):
        go("musubi")
    monkeypatch.delenv("AI_TOOLKIT_PYTHON")
    with pytest.raises(UsageError, match="no environment of its own"):
        go("ai-toolkit")
    monkeypatch.delenv("AI_TOOLKIT_HOME")
    with pytest.raises(UsageError, match="AI_TOOLKIT_HOME"):
        go("ai-toolkit")
    assert project.store.run() is None
    place = tmp_path / "aitk"
    (place / "own" / "bin").mkdir(parents=True)
    (place / "own" / "bin" / "python").symlink_to(sys.executable)
    inside = str(place / "own" / "bin" / "python")
    for named in ("own/bin/python", inside):  # as seen from the trainer's folder, or whole
        assert found_homes.find("ai-toolkit", folder=place, python=named).python == inside
    monkeypatch.chdir(place / "own")
    assert found_homes.find("ai-toolkit", folder=place, python="bin/python").python == inside
    assert found_homes.find("ai-toolkit", folder=place, python="python3").python == "python3"
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"\xff" * 20)
    assert not taking.whole(broken) and not taking.whole(tmp_path / "none")


def test_the_trainers_own_words_are_in_the_error(
    project: Project, homes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_LOSS", "1 / 0")
    with pytest.raises(WorkFailedError, match="division by zero"):
        collect(train_with(project, "ai-toolkit"))
