"""A run on a tiny base: planned, killed, taken up, loaded by diffusers, and its faults named."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.models import lora
from limner.project import Project, files
from limner.training import metrics, plan, prepare, state, train
from limner.training import run as run_module
from limner.training.data import read_dataset, references
from limner.training.planning import current_plan
from limner.training.trainer import Trainer


def tensors(project: Project, run: int = 1) -> list[str]:
    points = project.store.checkpoints(run)
    return [lora.info(project.path(p.path)).tensor_sha256 for p in points]


def rows(project: Project, run: int = 1) -> list[dict[str, Any]]:
    return metrics.read(project.root / "logs" / f"run_{run}" / "metrics.jsonl")


def _die_at(owner: Any, name: str, call: int) -> None:
    """From its `call`-th call on, a function is this process's death by SIGKILL."""
    original, calls = getattr(owner, name), [0]

    def deadly(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] >= call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)


def _child(root: Path, where: str, call: int) -> None:
    owner, name = {
        "encoding": (prepare.Cache, "get"),
        "update": (Trainer, "step"),
        "fsync": (files.os, "fsync"),  # a temp file is written, not yet renamed
        "state": (state, "save"),  # after a checkpoint, before its state
    }[where]
    _die_at(owner, name, call)
    collect(train(Project.open(root)))


def kill(project: Project, where: str, call: int) -> None:
    """Train in a process of its own that is killed at one exact place."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_child, args=(project.root, where, call))
    child.start()
    child.join(timeout=600)
    assert child.exitcode == -signal.SIGKILL, "it was to be killed there"


def test_a_run_killed_anywhere_ends_with_the_same_weights(make_project: Any) -> None:
    settings = {"steps": 30, "checkpoints": 3, "thresholds": {"state_every_s": 1000}}
    calm = make_project("calm", **settings)
    plan(calm, measure=False)
    done = collect(train(calm))
    assert [p["step"] for p in done["checkpoints"]] == [10, 20, 30]

    settings["thresholds"]["sample_steps"] = 2
    torn = make_project("torn", samples=1, **settings)  # samples must not move the weights
    plan(torn, measure=False)
    kill(torn, "encoding", 9)
    kill(torn, "update", 4)  # before any state: from the start
    kill(torn, "update", 14)  # the state of step 10 stands
    kill(torn, "fsync", 2)  # while the checkpoint of step 20 is written
    assert list(torn.root.glob("models/run_1/.*.part")), "a temp file is left over"
    kill(torn, "state", 1)  # checkpoint 20 is whole, its state is not
    assert torn.store.run().state == "running", "nobody could write that it died"
    again = collect(train(torn))
    assert again["run"] == 1 and again["state"] == "done"
    assert tensors(torn) == tensors(calm)

    def measured(project: Project) -> list[dict[str, Any]]:
        return [r for r in rows(project) if "loss" in r or "held_out_loss" in r]

    assert measured(torn) == measured(calm), "every step is measured once, with the same numbers"
    fixed = [r for r in measured(calm) if "held_out_loss" in r]
    assert len(fixed) == 4 and fixed[0]["trained_loss"] != fixed[-1]["trained_loss"]
    assert all(r["gap"] == r["trained_loss"] - r["held_out_loss"] for r in fixed)
    assert all(r["trained_by_sigma"].keys() == r["held_out_by_sigma"].keys() for r in fixed)
    assert not list(torn.root.rglob("*.part"))
    assert len(list(torn.root.glob("logs/run_1/samples/*.png"))) == 3
    assert "done already" in str(next(iter(train(torn))))


def test_the_file_restores_the_adapter_exactly_in_diffusers(
    make_project: Any, tiny_base: Path
) -> None:
    import torch

    from limner.models import open_base
    from limner.models.base import collate

    project = make_project("grace", steps=6, checkpoints=2)
    plan(project, measure=False)
    kept: dict[str, Any] = {}
    original = Trainer.held_out_loss

    def spy(self: Trainer) -> Any:
        embeds, mask = collate([e.embeds[0] for e in self.examples[:1]])
        kept["latents"], kept["embeds"] = self.examples[0].latents[None], embeds
        kept["size"] = (self.examples[0].height, self.examples[0].width)
        with torch.no_grad():
            kept["out"] = self.base.velocity(
                kept["latents"], torch.tensor([0.7]), embeds, mask, kept["size"]
            )
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "held_out_loss", spy)
        done = collect(train(project))
    path = project.path(done["checkpoints"][-1]["path"])
    base = open_base(str(tiny_base))
    assert lora.check(path, lora.base_modules(tiny_base)) == []
    base.pipeline("t2i").load_lora_weights(str(path), adapter_name="grace")

    def velocity() -> Any:
        with torch.no_grad():
            return base.velocity(
                kept["latents"], torch.tensor([0.7]), kept["embeds"], None, kept["size"]
            )

    assert torch.equal(velocity(), kept["out"])
    base.pipeline("t2i").set_adapters(["grace"], [0.0])
    assert not torch.equal(velocity(), kept["out"]), "it had learned something"
    header = lora.info(path).metadata
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.trigger_phrase"] == "grace_char"
    assert header["limner.step"] == "6" and header["limner.template"] == "t2i"
    assert header["limner.lock_sha256"] == "0" * 64
    assert json.loads(header["ss_tag_frequency"]) == {"1_grace_char": {"grace_char": 6}}
    assert json.loads(header["ss_dataset_dirs"]) == {
        "40_grace_char": {"n_repeats": 1, "img_count": 6}
    }
    assert str(project.root) not in json.dumps(header)


def test_training_lowers_the_fixed_noise_loss_and_is_written_for_tensorboard(
    make_project: Any,
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    project = make_project("grace", steps=12)
    plan(project, measure=False)
    stopped = collect(train(project, stop_after=5))
    assert stopped["state"] == "stopped" and project.store.run().state == "stopped"
    done = collect(train(project))
    assert done["run"] == 1
    fixed = [r["held_out_loss"] for r in rows(project) if "held_out_loss" in r]
    assert len(fixed) == 4 and fixed[-1] < fixed[0]
    board = EventAccumulator(str(project.root / "logs" / "run_1" / "tensorboard"))
    board.Reload()
    assert [e.step for e in board.Scalars("loss")] == list(range(1, 13))


def test_what_is_encoded_once_is_not_encoded_again(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.models import Base

    project = make_project("grace", steps=4, checkpoints=1)
    plan(project, measure=False)
    first = collect(train(project))

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("encoded again")

    monkeypatch.setattr(Base, "encode_images", fail)
    monkeypatch.setattr(Base, "encode_prompts", fail)
    second = collect(train(project, resume=False))
    assert second["run"] == 2
    assert tensors(project, 1) == tensors(project, 2), "same plan, same weights"
    assert first["checkpoints"][0]["path"] != second["checkpoints"][0]["path"]
    caption = project.root / "dataset" / "40_grace_char" / "img_001.txt"
    caption.write_text("grace_char, a caption changed by hand")
    assert current_plan(project) is None
    with pytest.raises(AssertionError, match="encoded again"):
        collect(train(project))


def test_the_edit_template_shows_another_picture_of_the_character(make_project: Any) -> None:
    project = make_project("grace", steps=4, checkpoints=2, template="edit")
    pictures, _ = read_dataset(project, project.store.dataset())
    for index, others in enumerate(references(pictures, 3, seed=1)):
        assert len(set(others)) == 3 and index not in others
    plan(project, measure=False)
    done = collect(train(project))
    header = lora.info(project.path(done["checkpoints"][-1]["path"])).metadata
    assert header["limner.template"] == "edit"
    plain = make_project("plain", steps=4, checkpoints=2)
    plan(plain, measure=False)
    collect(train(plain))
    assert tensors(plain) != tensors(project)
    with pytest.raises(InputError, match="at least two pictures"):
        references(pictures[:1], 3, seed=1)


def test_a_plan_is_one_arithmetic_and_measures_this_machine(make_project: Any) -> None:
    project = make_project("grace", precision="auto", thresholds={"timing_steps": 1})
    found = plan(project)
    assert (found["images"], found["held_out"], found["image_passes"]) == (6, 2, 48)
    assert [c["step"] for c in found["checkpoints"]] == [4, 8, 12]
    assert sum(b["images"] for b in found["buckets"]) == 6 and len(found["buckets"]) == 2
    assert found["seconds"] > 0 and found["seconds_reason"] is None
    assert found["pace_origin"] == "timing" and found["guide"]["images_times_repeats"] == 240
    began = time.monotonic()
    again = plan(project)
    assert again["version"] == 1 and again["seconds"] == found["seconds"]
    assert time.monotonic() - began < 2, "a pace is measured once"
    assert current_plan(project).version == 1, "an equal plan keeps its version"
    large = make_project("large", thresholds={"timing_limit_mb": 0})
    unmeasured = plan(large)
    assert (
        unmeasured["seconds"] is None and "would have to be loaded" in unmeasured["seconds_reason"]
    )
    project.change_character(training__keep=2)
    with pytest.raises(UsageError, match="would delete"):
        plan(project)


def test_faults_are_named_and_lose_nothing(
    make_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project("grace", steps=6, checkpoints=3)
    plan(project, measure=False)
    original = Trainer.batch

    def poisoned(self: Trainer, step: int) -> Any:
        chosen, slots, drop, noise, sigmas = original(self, step)
        return chosen, slots, drop, noise * (float("nan") if step == 5 else 1), sigmas

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "batch", poisoned)
        done = collect(train(project, stop_after=5))
    assert done["state"] == "stopped" and "step 5 is left out" in done["changes"][0]
    assert [p.step for p in project.store.checkpoints(1)] == [2, 4]
    usage = shutil.disk_usage(project.root)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(run_module.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(WorkFailedError, match="MB of disk"):
            collect(train(project))
    assert collect(train(project))["state"] == "done"
    lost = project.store.checkpoints(1)[1].path
    project.path(lost).unlink()
    said = [e.text for e in train(project) if isinstance(e, Notice)]
    assert said[-1] == f"1 of its checkpoints lie no longer where they were written, first {lost}."
    train_on, away = read_dataset(project, project.store.dataset())
    listed = [
        {"path": f"{p.path.parent.name}/{f.name}", "sha256": files.sha256_file(f)}
        for p in (*train_on, *away)
        for f in (p.path, p.path.with_suffix(".txt"))
    ]
    facts = {"lock_sha256": "1" * 64, "lock": {"files": listed}, "train": [], "held_out": []}
    project.store.add_dataset(path="dataset", **facts)
    assert plan(project, measure=False)["dataset_version"] == 2
    caption = project.root / "dataset" / "40_grace_char" / "img_001.txt"
    caption.write_text("grace_char, another caption than the lock's")
    with pytest.raises(InputError, match="1 files are not as dataset 2 was built"):
        plan(project)
    caption.unlink()
    with pytest.raises(InputError, match="has no caption"):
        plan(project)
