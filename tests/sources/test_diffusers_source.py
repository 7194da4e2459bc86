"""`generate --with diffusers`: a character from one picture, with a model on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.models import build_random
from limner.project import Project
from limner.project.files import sha256_file
from limner.sources import LaterError, generate, open_source

Grace = Callable[..., Project]
QUICK = {"source__diffusers__steps": 2, "source__diffusers__true_cfg_scale": 2.0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_random(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def face(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    Image.radial_gradient("L").convert("RGB").save(path)
    return path


def pixels(project: Project, shot: str) -> np.ndarray:  # type: ignore[type-arg]
    take = project.store.takes(shot_id=shot)[-1]
    return np.asarray(Image.open(project.path(take.path or "")))


def test_one_picture_makes_the_others_and_the_same_order_the_same(
    grace: Grace, tiny: Path, face: Path, tmp_path: Path
) -> None:
    project = grace("one", **QUICK)
    run = {"name": "diffusers", "model": str(tiny)}
    found = collect(generate(project, **run, references=[face], limit=2))  # type: ignore[arg-type]
    assert found["made"] == 2
    take = project.store.takes()[0]
    assert (take.width, take.height) == (64, 64) and take.labels["drawing"] is True
    assert take.sha256 == sha256_file(project.path(take.path or ""))
    order = take.request["order"]
    assert order["settings"]["template"] == "edit" == take.labels["template"]
    assert order["prompt"] == project.store.shots()[0].prompt and order["seed"] == take.seed
    assert order["model"] == "tiny" == take.labels["model"]  # no path of this machine
    assert str(tiny) not in str(take.request) + str(take.labels)
    with Image.open(project.path(take.path or "")) as picture:
        assert str(tiny) not in str(picture.info)
    again = grace("again", **QUICK)
    told = list(generate(again, **run, references=[face], limit=1))  # type: ignore[arg-type]
    assert any("grace_char, a word this model does not know" in str(e) for e in told)
    assert again.store.takes()[0].sha256 == take.sha256
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64), "navy").save(other)
    unlike = grace("unlike", **QUICK)
    collect(generate(unlike, **run, references=[other], limit=1))  # type: ignore[arg-type]
    assert np.any(pixels(unlike, "shot_001") != pixels(again, "shot_001"))
    plain = grace("plain", **QUICK)
    events = list(generate(plain, **run, limit=1))  # type: ignore[arg-type]
    assert any("every picture shows another person" in str(e) for e in events)
    assert plain.store.takes()[0].labels["template"] == "t2i"


def test_an_order_of_a_killed_run_is_made_as_it_was_asked(
    grace: Grace, tiny: Path, face: Path
) -> None:
    project = grace(**QUICK)
    source = open_source(project, name="diffusers", model=str(tiny), references=[face])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    source.make = die  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        collect(generate(project, source=source, limit=1))
    pending = project.store.takes(state="pending")[0]
    with pytest.raises(LaterError, match=r"other settings \(references, template\)"):
        collect(generate(project, name="diffusers", model=str(tiny), limit=1))
    assert project.store.takes(state="pending")[0].id == pending.id
    found = collect(
        generate(project, name="diffusers", model=str(tiny), references=[face], limit=1)
    )
    assert (found["made"], found["resumed"]) == (1, 1)
    assert project.store.takes(state="done")[0].id == pending.id


def test_what_is_missing_is_said_before_a_take_is_written(
    grace: Grace, tiny: Path, face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    project = grace(**QUICK)

    def fails(model: str, said: str, **more: object) -> None:
        with pytest.raises(InputError, match=said):
            collect(generate(project, name="diffusers", model=model, **more))  # type: ignore[arg-type]

    fails("somebody/some-model", r"not on this machine.*hf download somebody/some-model")
    fails(str(tmp_path / "nowhere"), r"model_index.json is missing")
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    shutil.rmtree(broken / "vae")
    fails(str(broken), r"lacks vae/")
    text_only = tmp_path / "text_only"
    shutil.copytree(tiny, text_only)
    index = json.loads((text_only / "model_index.json").read_text())
    index["_class_name"] = "QwenImagePipeline"
    (text_only / "model_index.json").write_text(json.dumps(index))
    fails(str(text_only), r"from text alone", references=[face])
    fails(str(tiny), r"cannot be read", references=[tmp_path / "no.png"])
    with pytest.raises(UsageError, match=r"--workflow means nothing"):
        collect(generate(project, name="diffusers", workflow=face))
    assert not project.store.takes()
    told = [
        e.text
        for e in generate(project, name="diffusers", model=str(text_only), dry_run=True)
        if isinstance(e, Notice)
    ]
    assert any("64 x 64 px, 2 steps, t2i" in text for text in told)


def test_a_machine_without_memory_is_told_so(
    grace: Grace, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 41 GiB")

    monkeypatch.setattr("limner.render.DiffusersRenderer.pictures", full)
    with pytest.raises(WorkFailedError, match=r"does not fit into this machine's memory"):
        collect(generate(grace(**QUICK), name="diffusers", model=str(tiny)))
