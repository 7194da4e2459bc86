"""A run under bad luck: kills, bad numbers, no memory, a full disk, a second thought."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import random
import signal
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.models import lora, tensorfile
from limner.project import Project, files
from limner.training import control, data, heldout, metrics, order, plan, state, train
from limner.training import loop as loop_module
from limner.training.planning import current_plan
from limner.training.rules import rules
from limner.training.trainer import Trainer


def tensors(project: Project, run: int = 1) -> list[str]:
    points = project.store.checkpoints(run)
    return [lora.info(project.path(p.path)).tensor_sha256 for p in points]


def values(project: Project) -> dict[str, np.ndarray]:
    newest = project.store.checkpoints(1)[-1]
    return {k: t.floats() for k, t in tensorfile.read(project.path(newest.path))[0].items()}


def rows(project: Project) -> list[dict[str, Any]]:
    return metrics.read(project.root / "logs" / "run_1" / "metrics.jsonl")


def planned(make: Any, name: str, **settings: Any) -> Project:
    project: Project = make(name, **settings)
    plan(project, measure=False)
    return project


PLACES: list[tuple[Any, str]] = [
    (Trainer, "step"),
    (Trainer, "update"),
    (Trainer, "held_out_loss"),
    (state, "save"),
    (state, "keep_good"),
    (files.os, "fsync"),
    (loop_module.lora, "save"),
]


def _dies(root: Path, place: int, call: int) -> None:
    owner, name = PLACES[place]
    original, calls = getattr(owner, name), [0]

    def deadly(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] >= call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)
    collect(train(Project.open(root)))


def _trial(make: Any, kills: int, **settings: Any) -> None:
    settings = {"ema": 0.9, "caption_dropout": 0.3, "thresholds": {"state_every_s": 0}, **settings}
    calm = planned(make, "calm", **settings)
    collect(train(calm))
    draw, died, turn = random.Random(kills), 0, 0
    context = multiprocessing.get_context("fork")
    while died < kills:
        turn += 1
        torn = planned(make, f"torn_{turn}", **settings)
        code = -signal.SIGKILL
        while code and died < kills:  # code 0: this one ended before the place of its kill
            arguments = (torn.root, draw.randrange(len(PLACES)), draw.randint(1, 3))
            child = context.Process(target=_dies, args=arguments)
            child.start()
            child.join(timeout=600)
            code = child.exitcode
            assert code in (0, -signal.SIGKILL)
            died += code != 0
        assert collect(train(torn))["run"] == 1
        assert tensors(torn) == tensors(calm)
        kept = [r for r in rows(torn) if "loss" in r]
        assert kept == [r for r in rows(calm) if "loss" in r]


def test_killed_at_random_places_the_weights_are_the_same_bytes(make_project: Any) -> None:
    _trial(make_project, 4, steps=8, checkpoints=2)


def test_the_fast_choices_are_resumed_to_the_bit_too(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    fast = {"precision": "int8", "whole": 1, "optimizer_bits": 8}
    calm = planned(make_project, "calm", steps=6, checkpoints=2, fast=fast)
    collect(train(calm))
    torn = planned(make_project, "torn", steps=6, checkpoints=2, fast=fast)
    collect(train(torn, stop_after=2))
    collect(train(torn, stop_after=2))
    collect(train(torn))
    assert tensors(torn) == tensors(calm)
    plain = planned(make_project, "plain", steps=6, checkpoints=2)
    collect(train(plain))
    ours, theirs = values(calm), values(plain)
    assert any(not np.array_equal(ours[k], theirs[k]) for k in theirs), "the choices were used"
    tight = planned(make_project, "tight", steps=2, checkpoints=1, fast={"optimizer_bits": 32})
    original, room = Trainer.loss, [3]

    def loss(self: Trainer, chosen: Any, *rest: Any, **how: Any) -> Any:
        if room[0] and torch.is_grad_enabled():  # in an update, not in the fixed-noise losses
            room[0] -= 1
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return original(self, chosen, *rest, **how)

    monkeypatch.setattr(Trainer, "loss", loss)
    said = collect(train(tight))["changes"]
    assert "no score matrix" in said[0] and "rung 1" in said[1] and "rung 2" in said[2]
    with pytest.raises(InputError, match=r"training\.fast has no speed"):
        plan(make_project("wrong", fast={"speed": 9}), measure=False)


def test_as_on_a_gpu_sums_have_a_fixed_order_in_a_step_and_nowhere_else(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    original, seen = Trainer.loss, []

    def loss(self: Trainer, *rest: Any, **how: Any) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(self, *rest, **how)

    def batch(self: Trainer, step: int) -> Any:
        self.exact = True  # what a GPU sets by itself
        return drawn(self, step)

    drawn = Trainer.batch
    monkeypatch.setattr(Trainer, "loss", loss)
    monkeypatch.setattr(Trainer, "batch", batch)
    fast = {"precision": "nf4", "optimizer_bits": 8, "whole": 1}
    project = planned(make_project, "grace", steps=2, checkpoints=1, fast=fast)
    assert collect(train(project))["state"] == "done", "no kernel refuses"
    assert seen[-1] and not seen[0], "the loss of step 0 came before"
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.long
def test_thirty_random_kills(make_project: Any) -> None:
    _trial(make_project, 30, steps=60, checkpoints=6, template="edit", control_pictures=2)


def _poisoned(patch: pytest.MonkeyPatch, *steps: int) -> None:
    original = Trainer.batch

    def batch(self: Trainer, step: int) -> Any:
        chosen, slots, drop, noise, sigmas = original(self, step)
        return chosen, slots, drop, noise * (float("nan") if step in steps else 1), sigmas

    patch.setattr(Trainer, "batch", batch)


def test_a_bad_number_goes_back_to_the_checkpoint_and_stays_repeatable(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"steps": 9, "checkpoints": 3, "thresholds": {"state_every_s": 1000}}
    calm = planned(make_project, "calm", **settings)
    torn = planned(make_project, "torn", **settings)
    _poisoned(monkeypatch, 5)
    events = list(train(calm))
    warned = [e.text for e in events if isinstance(e, Notice) and e.level == "warning"]
    assert len(warned) == 1 and "back to step 3; step 5 is left out" in warned[0]
    told = {r["step"]: r for r in rows(calm) if "learning_rate" in r}
    assert sorted(told) == list(range(1, 10)) and told[5]["skipped"] == 1
    assert told[3]["learning_rate"] == pytest.approx(3 * told[1]["learning_rate"])
    assert told[4]["learning_rate"] == pytest.approx(2 * told[1]["learning_rate"]), "halved"
    collect(train(torn, stop_after=7))  # stopped after the rollback, taken up again
    collect(train(torn))
    assert tensors(torn) == tensors(calm)

    lost = planned(make_project, "lost", **settings)
    _poisoned(monkeypatch, 6, 7, 8, 9)
    with pytest.raises(WorkFailedError, match="no longer a finite number at step 8, after 3"):
        collect(train(lost))
    assert [p.step for p in lost.store.checkpoints(1)] == [3, 6]
    assert lost.store.run().state == "failed"


def test_too_little_memory_is_met_by_a_ladder_that_says_what_it_changed(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = planned(make_project, "calm", steps=4, checkpoints=1)
    collect(train(calm))
    tight = planned(make_project, "tight", steps=4, checkpoints=1)
    original = Trainer.loss
    room = [2]

    held: list[weakref.ref[Any]] = []

    def loss(self: Trainer, chosen: Any, *rest: Any, **how: Any) -> Any:
        assert all(ref() is None for ref in held), "what the failed step had made is still there"
        if len(chosen) > room[0]:
            activations = np.zeros(9)
            held.append(weakref.ref(activations))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
        return original(self, chosen, *rest, **how)

    monkeypatch.setattr(Trainer, "loss", loss)
    done = collect(train(tight, stop_after=2))
    said = " ".join(done["changes"])
    assert "no score matrix" in said and "gradient checkpointing" in said and "2 at a time" in said
    collect(train(tight))  # the changes are in force from the beginning
    assert len(collect(train(tight))["changes"]) == 3
    ours, theirs = values(tight), values(calm)
    assert all(np.allclose(ours[k], theirs[k], atol=2e-4) for k in theirs)
    room[0] = 0
    none = planned(make_project, "none", steps=4, checkpoints=1)
    with pytest.raises(WorkFailedError, match="not enough for one picture"):
        collect(train(none))


def test_a_finished_run_is_extended_as_if_planned_so_long(make_project: Any) -> None:
    project = planned(make_project, "short", steps=8, checkpoints=2)
    collect(train(project))
    longer = collect(train(project, steps=12))
    assert longer["run"] == 1 and longer["state"] == "done"
    assert [p["step"] for p in longer["checkpoints"]] == [4, 8, 12]
    assert longer["checkpoints"][-1]["label"] == "epoch 15 of 10"
    whole = planned(make_project, "long", steps=12, checkpoints=3)
    collect(train(whole))
    assert tensors(project) == tensors(whole)
    assert current_plan(project) is not None and "done already" in str(next(iter(train(project))))
    with pytest.raises(UsageError, match="has made 12 steps already"):
        collect(train(project, steps=6))


def test_a_run_of_an_earlier_end_says_so_and_goes_on_to_the_planned_one(make_project: Any) -> None:
    project = planned(make_project, "early", steps=8, checkpoints=4)
    said = [e.text for e in train(project, steps=5) if isinstance(e, Notice)]
    assert any("ends at step 5 of 8 planned; `limner train --steps 8`" in text for text in said)
    assert [p.step for p in project.store.checkpoints(1)] == [2, 4, 5]
    assert collect(train(project, steps=8))["run"] == 1
    assert [p.step for p in project.store.checkpoints(1)] == [2, 4, 5, 6, 8]
    whole = planned(make_project, "whole", steps=8, checkpoints=4)
    collect(train(whole))
    assert tensors(project)[-1] == tensors(whole)[-1]


def test_a_rate_that_falls_ends_where_planned_and_is_taken_up_again(make_project: Any) -> None:
    rules = {"warmup_steps": 2}
    falling = {"steps": 8, "checkpoints": 2, "schedule": "cosine", "thresholds": rules}
    whole = planned(make_project, "whole", **falling)
    torn = planned(make_project, "torn", **falling)
    with pytest.raises(UsageError, match="planned to fall until step 8"):
        collect(train(torn, steps=12))
    assert torn.store.run() is None
    collect(train(whole))
    collect(train(torn, stop_after=5))
    collect(train(torn))
    assert tensors(torn) == tensors(whole)
    told = [r["learning_rate"] for r in rows(whole) if "learning_rate" in r]
    assert told[1] == max(told) and told[2:] == sorted(told[2:], reverse=True)
    assert 0 < told[-1] < 0.06 * told[1]
    assert told[4] == pytest.approx(told[1] * 0.5 * (1 + math.cos(math.pi * 3 / 7)))
    first = whole.path(whole.store.checkpoints(1)[0].path)
    assert tensorfile.header(first)[1]["ss_lr_scheduler"] == "cosine"


def test_an_equal_plan_keeps_its_version_and_its_run(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = planned(make_project, "grace", steps=4, checkpoints=2)
    assert [plan(project, measure=False)["version"] for _ in range(2)] == [1, 1]
    collect(train(project, stop_after=2))
    timed = plan(project)["version"]  # the run has left a pace: known now, and only now
    assert timed == plan(project)["version"] == project.store.run().plan_version
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # another terminal, less free memory
    monkeypatch.setattr("limner.training.planning._needs_checkpointing", lambda *_: True)
    assert plan(project)["version"] == timed
    assert collect(train(project))["run"] == 1 and project.store.run(2) is None
    project.change_character(training__rank=4)
    assert plan(project, measure=False)["version"] == timed + 1


def test_fixed_noise_losses_bracket_the_useful_steps() -> None:
    levels = [("0.1", 1.0), ("0.9", 1.0)]

    def at(step: int, loss: float, high: float = 1.0) -> dict[str, Any]:
        by = {level: start * (high if level == "0.9" else loss) for level, start in levels}
        return {"step": step, "held_out_loss": loss, "held_out_by_sigma": by}

    rows = [at(0, 1.0), {"step": 1, "loss": 0.3}, at(100, 0.8), at(200, 0.7), at(300, 0.72, 1.2)]
    found = heldout.bracket(heldout.points(rows), rules())
    assert found is not None and found["lowest"] == 200 and found["window"] == [140, 300]
    assert not found["still_falling"] and found["relative"] == 0.72
    assert found["relative_by_level"] == {"0.1": 0.72, "0.9": 1.2}, "layout got worse"
    falling = heldout.bracket(heldout.points(rows[:4]), rules())
    assert falling is not None and falling["still_falling"]
    assert "more steps may help" in heldout.words(falling)
    assert heldout.bracket(heldout.points(rows[1:2]), rules()) is None


def test_what_is_learned_by_heart_shows_as_a_gap_to_the_training_pictures() -> None:
    def at(step: int, held: float, high: float, low: float) -> dict[str, Any]:
        by = {"0.200": held, "0.900": held}
        own = {"0.200": 2 * low, "0.900": 2 * high}  # harder pictures from the start
        loss = {"held_out_loss": held, "held_out_by_sigma": by}
        return {"step": step, **loss, "trained_loss": low + high, "trained_by_sigma": own}

    alike = heldout.bracket(heldout.points([at(0, 1, 1, 1), at(9, 0.8, 0.8, 0.8)]), rules())
    assert alike is not None and alike["ahead"] == 0.0
    found = heldout.bracket(heldout.points([at(0, 1, 1, 1), at(9, 0.8, 0.4, 0.8)]), rules())
    assert found is not None and found["ahead"] == pytest.approx(0.2)
    assert found["ahead_by_level"] == pytest.approx({"0.200": 0.0, "0.900": 0.4})
    assert "20.0 % of step 0's loss ahead" in heldout.words(found)
    assert "high noise levels: layout" in heldout.words(found)
    older = [{**at(n, 1, 1, 1), "trained_loss": None} for n in (0, 9)]  # by an older Limner
    before = heldout.bracket(heldout.points(older), rules())
    assert before is not None and before["ahead"] is None
    assert "ahead" not in heldout.words(before)


def test_stop_pause_and_ctrl_c_finish_the_step_and_save(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = planned(make_project, "grace", steps=9, checkpoints=3)
    place = project.root / "models" / "run_1" / state.FILE
    original = Trainer.step

    def step(self: Trainer, number: int) -> Any:
        if number == 2:
            control.ask(project, "stop")
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        if number == 6:
            control.ask(project, "pause")
        return original(self, number)

    monkeypatch.setattr(loop_module, "PAUSE_LOOK_S", 0.05)
    monkeypatch.setattr(Trainer, "step", step)
    assert collect(train(project))["state"] == "stopped" and state.step_of(place) == 2
    with pytest.raises(KeyboardInterrupt):
        collect(train(project))
    assert state.step_of(place) == 4 and project.store.run().state == "stopped"
    said = []
    for event in train(project):
        if isinstance(event, Notice):
            said.append(event.text)
            if event.text.startswith("Paused"):
                assert state.step_of(place) == 6
                threading.Timer(0.1, control.ask, (project, None)).start()
    assert any("Paused after step 6" in text for text in said)
    assert any("Going on after step 6" in text for text in said)
    monkeypatch.setattr(Trainer, "step", original)
    calm = planned(make_project, "calm", steps=9, checkpoints=3)
    collect(train(calm))
    assert tensors(project) == tensors(calm)


def test_a_full_disk_is_named_and_loses_nothing(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = planned(make_project, "grace", steps=6, checkpoints=3)
    original = lora.save

    def full(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.name == "step_000004.safetensors":
            raise files.explain_os_error(OSError(errno.ENOSPC, "No space left"), path)
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module.lora, "save", full)
        with pytest.raises(WorkFailedError, match="disk is full"):
            collect(train(project))
    assert [p.step for p in project.store.checkpoints(1)] == [2]
    assert collect(train(project))["state"] == "done"
    calm = planned(make_project, "calm", steps=6, checkpoints=3)
    collect(train(calm))
    assert tensors(project) == tensors(calm)


def test_two_processes_give_the_result_of_one(make_project: Any) -> None:
    one = planned(make_project, "one", steps=4, checkpoints=2)
    collect(train(one))
    two = planned(make_project, "two", steps=4, checkpoints=2, processes=2)
    done = collect(train(two))
    assert done["state"] == "done"
    alone, shared = values(one), values(two)
    assert all(np.allclose(alone[k], shared[k], atol=2e-4) for k in alone)
    losses = [[r["loss"] for r in rows(p) if "loss" in r] for p in (one, two)]
    assert np.allclose(losses[0], losses[1], rtol=1e-4)
    base = {"precision": "int8", "optimizer_bits": 32}
    small = {"steps": 2, "checkpoints": 1, "thresholds": {"sample_steps": 2}}
    whole = planned(make_project, "whole", fast=base, **small)
    collect(train(whole))
    shard = {**base, "shard": True, "ring": 1}
    halves = planned(make_project, "halves", fast=shard, processes=2, samples=1, **small)
    assert collect(train(halves))["state"] == "done", "losses and samples need both halves too"
    alone, shared = values(whole), values(halves)
    assert all(np.allclose(alone[k], shared[k], atol=2e-4) for k in alone)
    assert list((halves.root / "logs" / "run_1" / "samples").glob("*.png"))
    with pytest.raises(InputError, match="shared between processes"):
        plan(make_project("single", fast={"shard": True}), measure=False)
    with pytest.raises(InputError, match="cannot be shared evenly by 3"):
        plan(make_project("three", processes=3), measure=False)


def test_averaged_weights_are_what_a_checkpoint_holds(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = planned(make_project, "grace", steps=4, checkpoints=1, ema=0.5)
    mean: dict[str, Any] = {}
    original = Trainer.update

    def update(self: Trainer, step: int, rate: float) -> None:
        if not mean:
            mean.update({n: p.detach().clone() for n, p in self.weights.items()})
        original(self, step, rate)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, parameter in self.weights.items():
            mean[name] = decay * mean[name] + (1 - decay) * parameter.detach()

    monkeypatch.setattr(Trainer, "update", update)
    collect(train(project))
    found = values(project)
    for name, value in mean.items():
        assert np.allclose(found[f"transformer.{name}"], value.numpy(), atol=1e-6)


def test_controls_and_two_folders_reach_the_trainer(make_project: Any) -> None:
    project = make_project("grace", template="edit", control="blank", steps=2, checkpoints=1)
    body = project.root / "dataset" / "20_grace_char_realbody"
    body.mkdir()
    for name in ("img_004", "img_005"):
        for ending in (".png", ".txt"):
            (project.root / "dataset" / "40_grace_char" / f"{name}{ending}").rename(
                body / f"{name}{ending}"
            )
    pictures, held_out = data.read_dataset(project, project.store.dataset())
    pictures.sort(key=lambda p: not p.own)
    assert [(p.weight, p.own) for p in pictures] == [(2, True)] * 4 + [(1, False)] * 2
    often = {i: p.weight for i, p in enumerate(pictures) if p.weight != 1}
    shown = [i for row in order.schedule(data.buckets(pictures, 32), 2, 100, 1, often) for i in row]
    counts = [shown.count(i) for i in range(6)]
    assert sum(counts[:4]) == pytest.approx(4 * sum(counts[4:]), rel=0.05), "2 x 4 against 1 x 2"
    choices, fixed = data.controls(pictures, held_out, control="self", pictures=2, each=3, seed=1)
    assert choices[5] == [(data.BLANK, data.BLANK)], "a real body has no picture of its person"
    for picture, own in zip(pictures[:4], choices[:4], strict=True):
        assert all(len(pair) == 2 and picture not in pair for pair in own)
        assert all(p.own for pair in own for p in pair)
    assert all(p.own for p in fixed[0][0])

    plan(project, measure=False)
    done = collect(train(project))
    header = lora.info(project.path(done["checkpoints"][-1]["path"])).metadata
    assert header["limner.control"] == "blank" and header["limner.template"] == "edit"
    project.change_character(training__control="none")
    plan(project, measure=False)
    done = collect(train(project))
    header = lora.info(project.path(done["checkpoints"][-1]["path"])).metadata
    assert done["run"] == 2 and header["limner.control"] == "none"
    project.change_character(training__template="t2i", training__control="self")
    with pytest.raises(InputError, match="shows no picture"):
        plan(project, measure=False)


@pytest.mark.parametrize(
    ("family", "template"), [("qwen-image", "t2i"), ("qwen-image-edit-2511", "edit")]
)
def test_the_other_editions_go_the_same_way_samples_included(
    make_project: Any, families: dict[str, Path], family: str, template: str
) -> None:
    project = planned(
        make_project, "grace", base=str(families[family]), template=template, steps=2,
        checkpoints=1, samples=1, control_pictures=2, control_size=48, ema=0.5,
        thresholds={"sample_steps": 2},
    )  # fmt: skip
    done = collect(train(project))
    path = project.path(done["checkpoints"][0]["path"])
    assert lora.check(path, lora.base_modules(families[family])) == []
    header = lora.info(path).metadata
    named = {"qwen-image": "Qwen-Image-2x", "qwen-image-edit-2511": "Qwen-Image-Edit-2511-2x"}
    assert header["modelspec.architecture"].startswith(named[family])
    assert header["limner.control_size"] == ("48" if template == "edit" else "")
    assert len(list((project.root / "logs" / "run_1" / "samples").glob("*.png"))) == 1
    if family == "qwen-image":
        with pytest.raises(InputError, match="no edit template"):
            plan(make_project("edit", base=str(families[family]), template="edit"))


def test_weights_and_biases_gets_the_measures_offline(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is an optional package and not installed here")
    monkeypatch.setenv("WANDB_MODE", "offline")
    project = planned(make_project, "grace", steps=2, checkpoints=1, wandb="limner-test")
    collect(train(project))
    assert list((project.root / "logs" / "run_1" / "wandb").glob("offline-run-*/*.wandb"))


def test_weights_and_biases_without_its_package_is_said(make_project: Any) -> None:
    import importlib.util

    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed here")
    project = planned(make_project, "grace", steps=2, checkpoints=1, wandb="limner-test")
    with pytest.raises(Exception, match="wandb is not installed"):
        collect(train(project))
