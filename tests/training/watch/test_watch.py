"""A run is read from its files, whoever started it, and what goes wrong in it is flagged."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fakes import peer_trainers
from limner.errors import InputError, UsageError
from limner.pipeline.watching import page, write_page
from limner.project import Project
from limner.training.watch import Watch, logtext, read
from limner.training.watch import flags as flagging
from limner.training.watch.flags import Machine
from limner.training.watch.rules import rules
from limner.training.watch.seen import Point, Seen

CONFIG = """\
job: extension
config:
  name: mia_v1
  process:
    - type: diffusion_trainer
      training_folder: {out}
      network: {{type: lora, linear: 4}}
      save: {{save_every: 20, max_step_saves_to_keep: {keep}}}
      datasets: [{{folder_path: {data}}}]
      train: {{steps: 100, lr: 1.0e-4}}
      model: {{arch: qwen_image}}
      sample: {{samples: [{{prompt: a}}, {{prompt: b}}, {{prompt: c}}]}}
"""


def run_aitoolkit(tmp_path: Path, *, keep: int = 10, **env: str) -> tuple[Path, int]:
    """Run the fake ai-toolkit; (its job folder, exit status)."""
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(data / "a.png")
    config = tmp_path / "cfg.yaml"
    config.write_text(CONFIG.format(out=tmp_path / "out", data=data, keep=keep))
    home = peer_trainers.aitoolkit(tmp_path / "aitk")
    folder = tmp_path / "out" / "mia_v1"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "run.py", str(config)],
            cwd=home,
            stdout=log,
            stderr=log,
            env={**os.environ, **env},
        )
    return folder, done.returncode


def rules_of(found: dict[str, object]) -> set[str]:
    return {f["rule"] for f in found["flags"]}  # type: ignore[attr-defined, index]


def test_an_aitoolkit_folder_is_seen_whole_and_clean(tmp_path: Path) -> None:
    folder, status = run_aitoolkit(tmp_path)
    assert status == 0
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    now = Watch(folder).look(Machine(disk_free_gb=200))
    assert (now["kind"], now["state"], now["step"], now["total"]) == (
        "ai-toolkit",
        "done",
        100,
        100,
    )
    assert [c["step"] for c in now["checkpoints"]] == [20, 40, 60, 80, None]
    assert now["loss"]["count"] == 100 and 0.2 < now["loss"]["now"] < 0.4
    assert len(now["samples"]) == 15 and now["learning_rate"] == 1e-4
    assert now["flags"] == [], now["flags"]
    assert "loss_log.db" in now["sources"]
    json.dumps(now)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert before == {k: v for k, v in after.items() if k in before}


def test_a_killed_run_says_how_far_it_came_and_what_was_deleted(tmp_path: Path) -> None:
    folder, status = run_aitoolkit(tmp_path, keep=2, FAKE_DIE_AT="75")
    assert status == 137
    old = time.time() - 3600
    for file in folder.rglob("*"):
        os.utime(file, (old, old))
    now = Watch(folder).look(Machine(disk_free_gb=200))
    assert {"checkpoints-gone", "will-prune", "silent"} <= rules_of(now)
    gone = next(f for f in now["flags"] if f["rule"] == "checkpoints-gone")
    assert gone["severity"] == "error" and gone["evidence"]["missing"] == [20]
    assert now["eta_s"] is not None and now["step"] == 76
    folder, status = run_aitoolkit(tmp_path, keep=2)  # and it goes on where it was saved
    now = Watch(folder).look(Machine(disk_free_gb=200))
    assert now["state"] == "done" and any(line["kind"] == "resumed" for line in now["log"])


def test_the_ui_says_running_and_the_process_is_dead(tmp_path: Path) -> None:
    folder, _ = run_aitoolkit(tmp_path, FAKE_DIE_AT="50")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    base = sqlite3.connect(tmp_path / "aitk_db.db")
    base.execute("CREATE TABLE Job(id TEXT, name TEXT, status TEXT, pid INTEGER, total_steps INT)")
    base.execute("INSERT INTO Job VALUES('1', 'mia_v1', 'running', ?, 100)", (gone.pid,))
    base.commit()
    base.close()
    dead = next(f for f in Watch(folder).look()["flags"] if f["rule"] == "dead-process")
    assert "aitk_db.db says it is running" in dead["what"] and dead["severity"] == "error"


LOSSES = {
    "nan": "float('nan') if step > 60 else 0.3",
    "no-fall": "0.2 + 0.01 * (step % 3)",
    "plateau": "0.5 if step < 120 else 0.3",
    "fast-fall": "0.9 if step < 15 else 0.1",
    "spike": "0.2 if not 300 <= step < 320 else 1.0",
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_trouble_of_the_loss_is_flagged_with_evidence_and_one_action(
    name: str, tmp_path: Path
) -> None:
    total = 1000 if name == "fast-fall" else 500
    rows = [f'{{"step": {s}, "loss": {json.dumps(_loss(name, s))}}}' for s in range(1, 501)]
    file = tmp_path / "metrics.jsonl"
    file.write_text("\n".join(rows))
    (tmp_path / "train.log").write_text(
        f"x: 50%|#| 500/{total} [01:00<01:00, 1.00s/it, lr: 1e-4 loss: {_loss(name, 500):.3e}]"
    )
    looking = Watch(tmp_path)
    seen = read(file)
    seen.total = total
    found, _ = flagging.flags(seen, looking.values, Machine(disk_free_gb=100))
    mine = [f for f in found if f.rule == name]
    assert len(mine) == 1 and mine[0].evidence and mine[0].do.endswith((".", "?")), found
    others = {f.rule for f in found} - {name}
    assert others <= {"plateau", "no-fall"} if name in ("fast-fall", "spike", "nan") else not others


def _loss(name: str, step: int) -> float:
    return float(eval(LOSSES[name], {"step": step}))


def test_a_healthy_noisy_loss_raises_nothing() -> None:
    rng = random.Random(1)
    points = [
        Point(s, (0.08 + 0.25 * math.exp(-s / 900)) * rng.lognormvariate(0, 0.7), None)
        for s in range(1, 1500)
    ]
    seen = Seen("log", "x", Path(), losses=points, step=1499, total=3000)
    found, looked = flagging.flags(seen, rules(), Machine(disk_free_gb=100))
    assert found == [] and looked["spike"] and looked["plateau"]


def test_samples_that_burn_and_samples_that_repeat(tmp_path: Path) -> None:
    folder, _ = run_aitoolkit(tmp_path)
    for file in (folder / "samples").iterdir():
        file.unlink()
    for step in (20, 40, 60, 80):
        for index in range(3):
            picture = Image.new("RGB", (64, 64), (128, 128 - step, 128 - step))
            shift = index * 14 if step < 80 else 0
            picture.paste((20, 20, 20), (shift, 4, shift + 16, 60))
            picture.save(folder / "samples" / f"17{step}__{step:09d}_{index}.jpg", quality=95)
    (folder / "samples" / f"1799__{90:09d}_0.jpg").write_bytes(b"\xff\xd8 half")
    now = Watch(folder).look(Machine(disk_free_gb=100))
    assert rules_of(now) == {"saturation", "repetition"}, now["flags"]
    assert len(now["samples"]) == 12
    later = Watch(folder).look(Machine(disk_free_gb=100, now=time.time() + 90))  # no longer written
    (lost,) = (f for f in later["flags"] if f["rule"] == "unreadable")
    assert "1799__000000090_0.jpg" in lost["what"] and len(later["samples"]) == 12


def test_machine_limits(tmp_path: Path) -> None:
    nan = "float('nan') if step > 30 else 0.3"  # SQLite keeps it as NULL
    folder, _ = run_aitoolkit(tmp_path, FAKE_DIE_AT="50", FAKE_LOSS=nan)
    now = Watch(folder).look(Machine(0.5, 46000, 46068, "L40S"))
    assert {"disk", "vram", "nan"} <= rules_of(now)
    assert "L40S" in next(f["what"] for f in now["flags"] if f["rule"] == "vram")


def test_musubi_console_tensorboard_and_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "logs" / "x").mkdir(parents=True)
    (out / "mia-step00000050.safetensors").write_bytes(b"x" * 100)
    (out / "train.log").write_text(
        "loading: 100%|#| 3/3 [00:01<00:00, 2.00it/s]\n"
        "steps:  17%|#  | 17/100 [00:34<02:46, 2.00s/it, avr_loss=0.213]\r"
        "steps:  52%|#  | 52/100 [01:44<01:36, 2.00s/it, avr_loss=0.187]"
    )
    now = Watch(out).look(Machine(disk_free_gb=100))
    assert (now["kind"], now["step"], now["total"]) == ("musubi-tuner", 52, 100)
    assert now["eta_s"] == 96 and now["loss"]["averaged"] and now["loss"]["now"] == 0.187
    (out / "train.log").unlink()
    _event_file(out / "logs" / "x" / "events.out.tfevents.1.host", {s: 1 / s for s in (1, 2, 4)})
    now = Watch(out).look(Machine(disk_free_gb=100))
    assert [p[1] for p in now["loss"]["raw"]] == [1.0, 0.5, 0.25]


def _event_file(path: Path, losses: dict[int, float]) -> None:
    """An event file by hand: no TensorBoard in the reader, none in the test."""
    with path.open("wb") as out:
        for step, value in losses.items():
            tag = b"loss/current"
            inner = bytes([10, len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
            summary = bytes([10, len(inner)]) + inner
            event = b"\x09" + struct.pack("<d", 1.0) + bytes([16, step])
            event += bytes([42, len(summary)]) + summary
            out.write(struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4)
        out.write(b"\x05\0\0")  # cut by a kill


def test_limners_own_event_files_and_metrics_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.training import metrics
    from limner.training.metrics import Metrics

    clock = SimpleNamespace(time=itertools.count(1e9, 2.5).__next__)
    monkeypatch.setattr(metrics, "time", clock)
    logs = tmp_path / "logs" / "run_1"
    (tmp_path / "models" / "run_1").mkdir(parents=True)
    log = Metrics(logs, 0)
    for step in (1, 2, 3):
        log.add(step, loss=1.0 / step, learning_rate=1e-4)
    log.close()
    now = Watch(tmp_path / "models" / "run_1").look()
    assert now["kind"] == "limner" and now["step"] == 3
    if list(logs.rglob("events.out.tfevents*")):
        board = Watch(logs / "tensorboard").look()
        assert [round(p[1], 3) for p in board["loss"]["raw"]] == [1.0, 0.5, 0.333]
        assert now["seconds_per_step"] == 2.5, "the metrics have no times, the event files have"


def test_a_projects_own_thresholds_count_for_its_runs(tmp_path: Path) -> None:
    from limner.training.rules import rules as training_rules

    project = Project.create(
        tmp_path / "p", name="Mia", trigger="mia_char", class_word="woman", likeness="synthetic"
    )
    project.change_character(training__thresholds={"watch_spike": 9.0, "sample_steps": 4})
    run = project.root / "models" / "run_1"
    run.mkdir()
    assert Watch(run).values["watch_spike"] == 9.0
    assert Watch(run, {"watch_spike": 3.0}).values["watch_spike"] == 3.0
    assert training_rules(project.character.training.thresholds)["sample_steps"] == 4


def test_a_projects_run_is_done_when_its_record_says_so(tmp_path: Path) -> None:

    project = Project.create(
        tmp_path / "p", name="Mia", trigger="mia_char", class_word="woman", likeness="synthetic"
    )
    project.store.add_dataset(path="dataset", lock_sha256="0", lock={}, train=[], held_out=[])
    project.store.add_plan(dataset_version=1, data={})
    for number, state in ((1, "done"), (2, "stopped")):
        project.store.add_run(
            plan_version=1,
            dataset_version=1,
            trainer="native",
            state=state,
            config={"run": {"steps": 200}},
            path=f"models/run_{number}",
        )
        (project.root / "models" / f"run_{number}").mkdir()
    for place in ("models", "logs"):
        (project.root / place / "run_1").mkdir(exist_ok=True)
        now = Watch(project.root / place / "run_1").look()
        assert (now["state"], now["total"]) == ("done", 200)  # else a live view never ends
    assert Watch(project.root / "models" / "run_2").look()["state"] != "done"


def test_pictures_learned_by_heart_are_told_from_a_healthy_run(tmp_path: Path) -> None:
    def look(held: list[float], trained: list[float]) -> dict[str, Any]:
        rows = [{"step": n, "loss": 0.5, "learning_rate": 1e-4} for n in range(1, 31)]
        for number, (a, b) in enumerate(zip(held, trained, strict=True)):
            by = {"held_out_by_sigma": {"0.9": a}, "trained_by_sigma": {"0.9": b}}
            rows.append({"step": 10 * number, "held_out_loss": a, "trained_loss": b, **by})
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return Watch(tmp_path).look(Machine(disk_free_gb=100))

    healthy = look([1.0, 0.9, 0.85, 0.8], [1.1, 0.98, 0.92, 0.86])
    assert not healthy["flags"] and "by-heart" not in healthy["not_looked"]
    assert healthy["not_looked"]["plateau"] == "fewer than 400 losses"
    ahead = look([1.0, 0.9, 0.85, 0.84], [1.1, 0.9, 0.8, 0.7])["flags"]
    assert [f["rule"] for f in ahead] == ["by-heart"] and "% of the first loss" in ahead[0]["what"]
    risen = look([1.0, 0.8, 0.9, 0.95], [1.1, 0.9, 0.98, 1.0])["flags"]
    assert risen[0]["evidence"]["lowest"] == 10 and "above its lowest" in risen[0]["what"]


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    folder, _ = run_aitoolkit(tmp_path, keep=2)
    bad = folder.rename(folder.with_name("<b>mia & co"))
    now = Watch(bad).look(Machine(disk_free_gb=100))
    plugin = write_page(now, bad / "plugin.html").read_text()
    assert "<b>mia" not in plugin and "&lt;b&gt;mia &amp; co" in plugin
    assert "http-equiv" not in plugin and "http-equiv" in page(now, refresh=20)
    assert "<script" not in plugin and "http://" not in plugin and "https://" not in plugin
    assert plugin.count("data:image/jpeg;base64,") == 15 and "checkpoints gone: steps" in plugin


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="Nothing of a training run"):
        read(tmp_path)
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    with pytest.raises(InputError, match="No step and no loss"):
        read(other)
    (tmp_path / "above" / "grace_v1").mkdir(parents=True)
    (tmp_path / "above" / "grace_v1" / "loss_log.db").write_bytes(b"")
    with pytest.raises(InputError, match="but 1 in it") as found:
        read(tmp_path / "above")
    assert found.value.fix and "above/grace_v1`" in found.value.fix
    project = Project.create(
        tmp_path / "p", name="G", trigger="g_char", class_word="man", likeness="synthetic"
    )
    with pytest.raises(InputError, match="Nothing was trained in this project"):
        read(project.root)
    (tmp_path / "loss_log.db").write_bytes(b"no database")
    assert Watch(tmp_path).look(Machine())["loss"] is None
    with pytest.raises(InputError, match="no value called"):
        Watch(tmp_path, {"watch_nothing": 1})


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_no_log_makes_it_stumble(text: str) -> None:
    logtext.read_text(text)
    logtext.read_text("3/9 [00:01<00:02, 1.0s/it, loss: 1e-1]\r" + text)
