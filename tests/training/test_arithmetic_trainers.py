"""One arithmetic for every trainer: held against a trainer's loop played out draw by draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.cli import shell
from limner.errors import UsageError
from limner.training import hardware
from limner.training.forecast import explain, forecast
from limner.training.trainers import TRAINERS, Ask, DataSet, count


def ask(trainer: str, images: int = 40, repeats: int = 40, **more: object) -> Ask:
    given = {"epochs": 10, "accumulation": 4, **more}
    return Ask(sets=(DataSet(images, repeats),), trainer=trainer, **given)  # type: ignore[arg-type]


def played(a: Ask) -> tuple[int, int, int]:
    """(logged steps, updates, passes) of the trainer's own loop, batch by batch."""
    items = a.sets[0].images * a.sets[0].repeats
    if a.trainer == "ai-toolkit":
        items *= len(a.resolutions)
    sizes = [a.batch] * (items // a.batch) + ([items % a.batch] if items % a.batch else [])
    logged = updates = passes = 0
    if TRAINERS[a.trainer].flush:  # accelerate: the end of the loader always makes an update
        for _ in range(a.epochs or 0):
            for index, size in enumerate(sizes, start=1):
                passes += size
                if index % a.accumulation == 0 or index == len(sizes):
                    logged, updates = logged + 1, updates + 1
        return logged, updates, passes
    stream = [size for _ in range((a.epochs or 0) + a.accumulation) for size in sizes]
    drawn, wanted = 0, (a.epochs or 0) * len(sizes)
    while drawn < wanted:
        group = stream[drawn : drawn + (1 if a.legacy else a.accumulation)]
        drawn, passes, logged = drawn + len(group), passes + sum(group), logged + 1
        updates += not a.legacy or drawn % a.accumulation == 0
    return logged, updates, passes


small = st.integers(1, 12)


@given(
    st.sampled_from(["ai-toolkit", "musubi-tuner", "SimpleTuner", "kohya"]),
    small,
    small,
    st.integers(1, 5),
    st.integers(1, 5),
    small,
    st.integers(1, 3),
    st.booleans(),
)
def test_counts_are_those_of_the_trainers_own_loop(
    trainer: str,
    images: int,
    repeats: int,
    batch: int,
    accumulation: int,
    epochs: int,
    sizes: int,
    legacy: bool,
) -> None:
    a = Ask(
        (DataSet(images, repeats),),
        batch=batch,
        accumulation=accumulation,
        epochs=epochs,
        trainer=trainer,
        resolutions=(512, 768, 1024)[:sizes],
        legacy=legacy and trainer == "ai-toolkit",
    )
    found = count(a)
    if trainer == "ai-toolkit" or sizes == 1:
        counted = (found.logged_steps, found.optimizer_steps, found.image_passes)
        assert counted == played(a)
    saves = found.checkpoints
    assert [s.step for s in saves] == sorted({s.step for s in saves})
    assert len(saves) <= 10 and saves[-1].step == found.logged_steps
    assert saves[-1].passes == found.image_passes and saves[-1].label == "epoch 10 of 10"
    assert len({s.file for s in saves}) == len(saves)


def test_the_guides_two_accumulation_keys_are_two_runs() -> None:
    new = count(ask("ai-toolkit", epochs=None, steps=2800))
    old = count(ask("ai-toolkit", epochs=None, steps=2800, legacy=True))
    assert (new.optimizer_steps, new.image_passes) == (2800, 11200)
    assert (old.optimizer_steps, old.image_passes) == (700, 2800)
    assert old.settings["train.gradient_accumulation_steps"] == 4


def test_the_guides_run_leaves_nine_numbered_files_and_one_more() -> None:
    found = count(ask("ai-toolkit", epochs=None, steps=3400, output="grace"))
    files = [s.file for s in found.checkpoints]
    assert files[0] == "grace_000000340.safetensors" and files[-1] == "grace.safetensors"
    assert len(files) == 10 and "grace_000003400.safetensors" not in files
    assert found.checkpoints[0].updates == 341, "file 340 is written after the 341st update"
    assert found.keep_needed == 9 == found.settings["save.max_step_saves_to_keep"]
    for keep in (0, 9):
        count(ask("ai-toolkit", epochs=None, steps=3400, keep=keep))
    with pytest.raises(UsageError, match="delete the first 4"):
        count(ask("ai-toolkit", epochs=None, steps=3400, keep=5))


def test_repeats_are_written_as_each_trainer_counts_them() -> None:
    written = {t: count(ask(t)).settings[TRAINERS[t].repeats_key] for t in list(TRAINERS)[:4]}
    assert written == {
        "ai-toolkit": 40,
        "musubi-tuner": 40,
        "SimpleTuner": 39,  # it counts the extra showings
        "kohya": "40_character",
    }
    native = count(ask("native"))
    assert native.settings["training.batch"] == 4 and native.image_passes == 16000


def test_two_folders_have_the_ratio_of_their_passes_not_of_their_files() -> None:
    both = Ask((DataSet(70, 40), DataSet(30, 20, "body")), epochs=1, trainer="kohya")
    assert count(both).shares == {"character": 0.8235, "body": 0.1765}
    plain = Ask((DataSet(70), DataSet(30, 1, "body")), epochs=1, trainer="ai-toolkit")
    assert count(plain).shares["body"] == 0.3


@pytest.mark.parametrize(
    ("gpu", "resolution", "control", "seconds"),
    [
        *(("H100", r, c, s) for r, c, s in ((512, 0, 0.09), (1024, 0, 0.40), (1024, 1024, 1.00))),
        *(("A100", r, c, s) for r, c, s in ((512, 0, 0.26), (1024, 0, 1.14), (1024, 1024, 2.87))),
        *(("L40S", r, c, s) for r, c, s in ((512, 0, 0.31), (1024, 0, 1.31), (1024, 1024, 3.27))),
    ],
)
def test_the_step_model_gives_the_worked_figures(
    gpu: str, resolution: int, control: int, seconds: float
) -> None:
    case = hardware.Case(resolution, control)
    found = hardware.seconds_a_pass(hardware.gpu_named(gpu), case, "native")
    assert found["seconds"] == pytest.approx(seconds, rel=0.04) and found["tag"] == "modelled"
    assert found["floor"] < found["seconds"]
    work = hardware.teraflops(hardware.tokens(1024, 0), checkpointing=True)
    assert work["forward"] == pytest.approx(73, rel=0.01)


def test_a_48_gb_card_needs_8_bit_weights_and_a_24_gb_card_less() -> None:
    rows = forecast(ask("ai-toolkit"))["gpus"]
    chosen = {r["gpu"]: (r["precision"], r["fits"]) for r in rows}
    assert chosen["L40S"] == ("8bit", True) and chosen["H100"] == ("bf16", True)
    assert chosen["RTX4090"] == ("4bit", True)
    tight = forecast(ask("ai-toolkit"), hardware.Case(precision="bf16"), gpu="L40S")
    assert [f["severity"] for f in tight["findings"] if f["rule"] == "vram"] == ["error"]
    published = forecast(ask("musubi"), hardware.Case(precision="8bit"), gpu="H100")
    assert (published["vram_gb"], published["tags"]["vram_gb"]) == (30, "published")


def test_every_number_of_the_table_has_a_tag_and_every_price_a_date() -> None:
    tags = {"published", "measured", "assumed"}
    for row in hardware.table()["gpus"].values():
        assert row["usd"] is None or (
            row["price"] in tags and row["priced"] and row["price_source"]
        )
    for row in (*hardware.table()["paces"], *hardware.table()["memory"]):
        assert row["tag"] in tags and row["source"]


def test_the_command_needs_no_project_and_explains_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "plan --images 40 --repeats 40 --batch 1 --accumulation 4 --epochs 10"
    args = ["-C", str(tmp_path), *line.split(), "--trainer", "ai-toolkit", "--gpu", "L40S"]
    assert shell.run([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["optimizer_steps"], found["image_passes"]) == (4000, 16000)
    assert found["hours"] == pytest.approx(16000 * 1.31 / 3600, rel=0.01)
    assert found["usd"] == pytest.approx(found["hours"] * 0.9, abs=0.01)
    assert found["vram_gb"] < 48 and len(found["checkpoints"]) == 10
    rules = {f["rule"] for f in found["findings"]}
    assert rules == {"length-readings", "pruned-checkpoints", "folder-repeats", "mode"}
    assert {"vram_gb", "hours", "usd", "optimizer_steps"} <= {
        text.split(" ")[0].split(":")[0] for text in explain(found)
    }
    assert shell.run([*args, "--explain"]) == 0
    assert "[modelled]" in capsys.readouterr().out
    for wrong in (["--keep", "5"], ["--gpu", "Z80"], ["--steps", "9"], ["--images", "0"]):
        assert shell.run([*args, *wrong, "--json"]) == 2, wrong
        assert "error" in json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shell.run(["-C", str(tmp_path), "plan", "--gpu", "L40S", "--json"]) == 2


def test_defaults_follow_the_data_set_and_say_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan(*more: str) -> dict[str, Any]:
        line = ["-C", str(tmp_path), "plan", "--trainer", "ai-toolkit", "--json", *more]
        assert shell.run(line) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    small, large = plan("--images", "40"), plan("--images", "150")
    assert small["optimizer_steps"] == 3000 and large["optimizer_steps"] == 4000

    def rate(found: dict[str, Any]) -> float:
        return {r["name"]: r["value"] for r in found["defaults"]}["learning_rate"]

    assert (rate(small), rate(large)) == (1e-4, 5e-5)
    assert all(row["why"] and row["tag"] for row in small["defaults"])
    guide = plan("--images", "40", "--preset", "seed")
    assert guide["optimizer_steps"] == 3400 and guide["save_every"] == 340
    assert rate(guide) == 2e-4
    assert plan("--images", "40", "--accumulation", "4")["image_passes"] == 3000
    assert shell.run(["-C", str(tmp_path), "plan", "--images", "4", "--preset", "x"]) == 2
