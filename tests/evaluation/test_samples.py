"""A trainer's sample folder judged without a new render: which step, how sure, what is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner import evaluation
from limner.cli.shell import run as limner
from limner.errors import InputError
from limner.evaluation import existing
from limner.evaluation.samples import read_folder, read_name
from limner.events import Notice, collect
from limner.project import Project
from limner.render import png_bytes

from .conftest import picture_of

LIKENESS = {0: 0.0, 250: 0.2, 500: 0.9, 750: 0.9}
KEYS = ("chosen", "tied", "match_rate", "interval", "n", "threshold", "far", "ceiling", "statement")


def ai_toolkit(step: int, prompt: int, seed: int) -> str:
    return f"17000000{step:05d}__{step:09d}_{prompt}.png"


def musubi(step: int, prompt: int, seed: int) -> str:
    return f"grace_{step:06d}_{prompt:02d}_20251101{step:06d}_{seed}.png"


def by_folder(step: int, prompt: int, seed: int) -> str:
    return f"checkpoint-{step}/prompt{prompt}_seed{seed}.png"


def aloud(step: int, prompt: int, seed: int) -> str:
    return f"step_{step}_p{prompt}_seed{seed}.png"


def folders(
    root: Path,
    name: Callable[[int, int, int], str],
    *,
    prompts: int = 12,
    seeds: int = 2,
    likeness: dict[int, float] = LIKENESS,
) -> tuple[Path, Path]:
    samples, references = root / "samples", root / "references"
    references.mkdir(parents=True)
    for i in range(6):
        (references / f"r{i}.png").write_bytes(png_bytes(picture_of(1, 0.95, 300 + i)))
    for step, value in likeness.items():
        for prompt in range(prompts):
            for seed in range(seeds):
                path = samples / name(step, prompt, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = picture_of(1 if step else 2, value, 1000 * prompt + 10 * seed + step)
                path.write_bytes(png_bytes(picture))
    return samples, references


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("name", [musubi, by_folder, aloud])
def test_the_good_step_is_found_and_proved(
    tmp_path: Path, name: Callable[[int, int, int], str]
) -> None:
    samples, references = folders(tmp_path, name)
    data = collect(evaluation.evaluate_samples(samples, references, kind="drawing"))
    assert "samples" in data["rates"][0]["note"] and "fresh" not in data["rates"][0]["note"]
    assert all(key in data for key in KEYS)
    assert data["chosen"]["step"] == 500 and data["chosen"]["strength"] == 1.0
    assert [t["step"] for t in data["tied"]] == [750]
    assert data["word"] == "the same person" and data["established"]
    assert data["n"] == 24 and data["base_n"] == 24 and data["base_hits"] <= 1
    assert data["interval"][0] > data["base_interval"][1]
    missing = {one["what"] for one in data["not_measured"]}
    assert {"other strengths", "negative control", "trigger leakage"} <= missing
    assert "base model" not in missing and all(one["reason"] for one in data["not_measured"])
    assert not list(tmp_path.rglob("*.json"))  # nothing is written
    json.dumps(data)


@pytest.mark.usefixtures("reading")
def test_one_seed_names_the_step_and_claims_nothing(tmp_path: Path) -> None:
    samples, references = folders(tmp_path, ai_toolkit, seeds=1)
    newer = samples / "1800000000000__000000500_3.png"  # sampled again after a resume
    newer.write_bytes((samples / ai_toolkit(500, 3, 0)).read_bytes())
    (samples / "cover.png").write_bytes(newer.read_bytes())
    (samples / ai_toolkit(750, 1, 0)).write_bytes(b"cut off")
    data = collect(evaluation.evaluate_samples(samples, references, kind="drawing"))
    assert data["word"] == "not enough evidence" and not data["established"]
    assert data["chosen"]["step"] == 500 and "step 500 is taken" in data["statement"]
    assert "12 pictures" in data["statement"] and "1 seed a prompt," in data["statement"]
    assert data["samples"]["trainer"] == "ai-toolkit" and data["samples"]["replaced"] == 1
    assert data["samples"]["unread"] == ["cover.png"] and len(data["samples"]["damaged"]) == 1


@pytest.mark.usefixtures("reading")
def test_no_step_is_better_by_luck_and_a_stranger_is_not_the_person(tmp_path: Path) -> None:
    nobody = dict.fromkeys(LIKENESS, 0.0)
    samples, references = folders(tmp_path, musubi, likeness=nobody)
    data = collect(evaluation.evaluate_samples(samples, references, kind="drawing"))
    assert data["word"] == "not the same person" and data["hits"] <= 2
    assert len(data["tied"]) == 2  # all three are alike


@pytest.mark.usefixtures("reading")
def test_strangers_and_copies_when_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "strangers_drawing.npz").unlink()
    samples, references = folders(tmp_path, musubi)
    bare = collect(evaluation.evaluate_samples(samples, references, kind="drawing"))
    assert bare["word"] == "not enough evidence" and bare["far"] is None
    assert bare["threshold"] is None and "copies of training pictures" in {
        m["what"] for m in bare["not_measured"]
    }
    others = tmp_path / "others"
    others.mkdir()
    for i in range(120):
        (others / f"{i}.png").write_bytes(png_bytes(picture_of(0, 0.0, 5000 + i)))
    learnt = tmp_path / "learnt"
    learnt.mkdir()
    for i in range(6):
        (learnt / f"img_{i}.png").write_bytes(png_bytes(picture_of(1, 0.95, 310 + i)))
    data = collect(
        evaluation.evaluate_samples(
            samples, references, strangers=others, training=learnt, kind="drawing"
        )
    )
    assert data["word"] == "the same person" and data["far_n"] == 120 and data["far"] is not None
    assert "copies of training pictures" not in {m["what"] for m in data["not_measured"]}


@pytest.mark.usefixtures("reading")
def test_the_command_works_outside_a_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    references = folders(tmp_path, musubi)[1]
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--samples", "samples", "--kind", "drawing", "--json"]
    assert limner([*words, "--references", "references"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"]["step"] == 500
    assert limner(words) == 2  # no project to take references from
    assert "--references" in json.loads(capsys.readouterr().out)["error"]["fix"]
    assert limner(["-C", "elsewhere", *words, "--references", "references"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"]["step"] == 500, "named from here"
    assert limner(["evaluate", "--references", str(references), "--json"]) == 2
    assert limner(["evaluate", "--samples", "nowhere", "--references", str(references)]) == 2


def test_what_is_no_sample_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no picture"):
        read_folder(tmp_path)
    (tmp_path / "holiday.png").write_bytes(b"")
    with pytest.raises(InputError, match="holds a training step"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("path", "trainer", "step", "prompt", "seed"),
    [
        ("1699999999999__000000250_3.jpg", "ai-toolkit", 250, "3", None),
        ("grace_v2_001500_04_20250101120000_42.png", "musubi-tuner", 1500, "4", 42),
        ("grace_e000003_00_20250101120000.png", "musubi-tuner", 3, "0", None),
        ("step_000100_0.png", "step in the name", 100, "0", None),
        ("step_500_portrait_1024x1024.png", "step in the name", 500, "portrait_1024x1024", None),
        ("grace-step00250-p3_seed7.webp", "step in the name", 250, "grace_p3", 7),
        ("1 - a cafe/training-sample-2025-01-01_10-00-00-400-2-100.jpg", "OneTrainer", 400,
         "1 - a cafe", None),
        ("checkpoint-500/cafe.png", "a folder a step", 500, "cafe", None),
    ],
)  # fmt: skip
def test_names_of_trainers(path: str, trainer: str, step: int, prompt: str, seed: int) -> None:
    found = read_name(Path(path))
    assert found is not None
    sample = found[1]
    assert (found[0], sample.step, sample.prompt_id, sample.seed) == (trainer, step, prompt, seed)


@given(st.text(min_size=1, max_size=40).filter(lambda t: "/" not in t and "\0" not in t))
def test_any_name_is_read_or_not_but_never_breaks(name: str) -> None:
    found = read_name(Path(f"{name}.png"))
    assert found is None or found[1].step >= 0


@given(st.integers(0, 999_999), st.integers(0, 99), st.integers(0, 2**32))
def test_a_cell_keeps_its_prompt_at_every_step(step: int, prompt: int, seed: int) -> None:
    for name in (ai_toolkit, musubi, by_folder, aloud):
        first, other = (
            read_name(Path(name(step, prompt, seed))),
            read_name(Path(name(7, prompt, 1))),
        )
        assert first is not None and other is not None
        assert first[1].step == step and first[1].prompt_id == other[1].prompt_id


@pytest.mark.usefixtures("reading")
def test_references_that_were_trained_on_do_not_judge(tmp_path: Path) -> None:
    samples, references = folders(tmp_path, aloud, prompts=4)
    training = tmp_path / "training"
    training.mkdir()
    for number in range(2):  # the same pixels in another file
        picture = png_bytes(picture_of(1, 0.95, 300 + number), {"made": "elsewhere"})
        (training / f"img_{number}.png").write_bytes(picture)
    said: list[str] = []
    events = evaluation.evaluate_samples(samples, references, training=training, kind="drawing")
    data = collect(events, lambda e: said.append(e.text) if isinstance(e, Notice) else None)
    assert data["references"] == 4
    assert "2 of 6 references are training pictures and do not judge: r0.png, r1.png." in said
    for number in range(2, 6):
        (references / f"r{number}.png").unlink()
    with pytest.raises(InputError, match="All references are training pictures"):
        collect(evaluation.evaluate_samples(samples, references, training=training))


def test_what_a_run_learnt_from_is_no_reference_though_a_later_set_holds_it_back(
    project: Project,
) -> None:
    held_out = existing.held_out_files(project)
    assert len(held_out) == 4
    more = {"path": "dataset", "lock_sha256": "1", "lock": {}}
    project.store.add_dataset(**more, train=list(range(7, 17)), held_out=[1, 2, 3, 4, 5, 6])
    assert existing.held_out_files(project) == held_out  # 5 and 6 were trained on by run 1
