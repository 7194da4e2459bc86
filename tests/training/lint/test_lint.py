"""`limner check`: every fault at its line, a mended file without faults, never a traceback."""

from __future__ import annotations

import json
import random
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.cli import shell
from limner.errors import UsageError
from limner.training.lint import check
from limner.training.lint.rules import RULES, VALUES

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import setups  # noqa: E402

GUIDE = HERE / "data" / "guide.yaml"


def rules(found: dict[str, Any]) -> dict[str, int | None]:
    return {row["rule"]: row["line"] for row in found["findings"]}


def checked(tmp_path: Path, name: str, text: str, **more: Any) -> dict[str, Any]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return check(tmp_path / name, **more)


def test_the_guides_own_file_yields_all_of_its_faults_at_their_lines() -> None:
    found = check(GUIDE, images=40)
    at = rules(found)
    rows = GUIDE.read_text("utf-8").splitlines()
    for rule, words in {
        "alpha-claim": "linear_alpha",
        "rate-claim": "lr:",
        "length-readings": "steps:",
        "count-claim": "steps:",
        "epochs-key": "epochs:",
        "accumulation": "gradient_accumulation:",
        "no-arch": "name_or_path",
        "missing-control": "name_or_path",
        "quantize-dtype": "quantize_dtype",
    }.items():
        assert words in rows[(at[rule] or 0) - 1], rule
    assert {"no-job", "no-datasets", "no-trigger", "precision"} <= set(at)
    assert {"no-checkpoints", "pruned-checkpoints"} <= set(at)
    moved = {r["line"] for r in found["findings"] if r["rule"] == "moved-key"}
    wanted = ("name: ", "lr: ", "steps: ", "batch_size: ", "gradient_accumulation: ")
    assert {n for n, row in enumerate(rows, 1) if row.strip().startswith(wanted)} == moved
    said = {r["rule"]: r["what"] for r in found["findings"]}
    assert "2800 updates" in said["accumulation"] and "11200 passes" in said["accumulation"]
    assert "there are 40 here" in said["count-claim"]
    assert "28000" in said["length-readings"]
    assert all(
        r["instead"] and r["severity"] in ("error", "warning", "info") for r in found["findings"]
    )


def test_the_mended_guide_has_no_faults_left_and_keeps_its_run(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    fixed = check(GUIDE)["fixed"]
    again = checked(tmp_path, "fixed.yaml", fixed)
    assert again["findings"] == [] and again["fixed"] is None
    process = YAML(typ="safe").load(fixed)["config"]["process"][0]
    assert (process["train"]["steps"], process["train"]["lr"]) == (2800, 0.0002)
    assert process["model"]["arch"] == "qwen_image", "no control pictures: text to image"
    assert process["save"]["max_step_saves_to_keep"] >= 9


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("job: extension\n", "", "no-job"),
        ("  name: grace_char_v1   # folder and prefix\n", "", "no-name"),
        ("type: diffusion_trainer", "type: lora_trainer", "unknown-process"),
        ("steps: 3000", "steps: '3000'", "wrong-type"),
        ("steps: 3000", "step: 3000", "unknown-key"),
        ("steps: 3000", "steps: 3000\n        epochs: 10", "epochs-key"),
        ("steps: 3000", "steps: 34000", "long-run"),
        ("batch_size: 1", "learning_rate: 2e-4", "moved-key"),
        ("batch_size: 1", "batch_size: 1\n        batch_size: 2", "duplicate-key"),
        ("        lr: 1.0e-4\n", "", "no-rate"),
        ("lr: 1.0e-4", "lr: 1.0e-2", "rate-high"),
        ("gradient_accumulation: 1", "gradient_accumulation_steps: 4", "accumulation"),
        (
            "gradient_accumulation: 1",
            "gradient_accumulation: 2\n        gradient_accumulation_steps: 4",
            "two-accumulations",
        ),
        ("dtype: bf16\n        cache", "dtype: fp32\n        cache", "precision"),
        ("max_step_saves_to_keep: 999", "max_step_saves_to_keep: 4", "pruned-checkpoints"),
        (", max_step_saves_to_keep: 999", "", "pruned-checkpoints"),
        ("save_every: 250", "save_every: 5000", "no-checkpoints"),
        ("{dtype: bf16, save", "{dtype: float16, save", "save-dtype"),
        ("linear_alpha: 16", "linear_alpha: 1", "alpha-ignored"),
        ("linear: 16, ", "", "rank-default"),
        ("resolution: [512, 768, 1024]", "resolution: [1024, 1024]", "duplicate-resolution"),
        ("dataset/grace_char", "dataset/40_grace_char", "folder-repeats"),
        ("caption_ext: txt", "caption_ext: txt\n          flip_x: true", "flip"),
        ("caption_ext: txt", "caption_dropout_rate: 0.5", "dropout-high"),
        ("arch: qwen_image", "is_qwen: true", "no-arch"),
        ("arch: qwen_image", "arch: qwen_image_edit_plus", "missing-control"),
        ("arch: qwen_image", "arch: qwen_image_edit", "wrong-arch"),
        ("arch: qwen_image", "arch: qwen", "wrong-arch"),
        ("qtype: qfloat8", "quantize_dtype: int8", "quantize-dtype"),
        ("quantize: true", "quantize: false", "vram"),
        ("noise_scheduler: flowmatch", "noise_scheduler: ddpm", "sampler"),
        ("sampler: flowmatch", "sampler: euler", "sampler"),
        ("        width: 1024\n", "", "sample-size"),
        ("      trigger_word: grace_char\n", "", "no-trigger"),
        ("trigger_word: grace_char", "trigger_word: sks", "abstract-trigger"),
        ("cache_text_embeddings: true", "unload_text_encoder: true", "captions-unused"),
        ("cache_text_embeddings: true", "cache_text_embeddings: false", "text-encoder"),
        ("batch_size: 1", "ema_config: {use_ema: true}", "ema"),
        ("batch_size: 1", "attention_backend: flash", "mask-attention"),
        ("batch_size: 1", "gradient_checkpointing: false", "vram"),
        (
            "batch_size: 1",
            "diff_output_preservation: true\n        blank_prompt_preservation: true",
            "two-preservations",
        ),
        (
            "      datasets:\n        - folder_path: dataset/grace_char",
            "      data:\n        - f: d",
            "no-datasets",
        ),
        ("meta: {", "\tmeta: {", "syntax"),
    ],
)
def test_one_fault_is_found_where_it_stands_and_mended(
    tmp_path: Path, old: str, new: str, rule: str
) -> None:
    assert checked(tmp_path, "good.yaml", setups.AITOOLKIT)["findings"] == []
    assert old in setups.AITOOLKIT
    text = setups.AITOOLKIT.replace(old, new, 1)
    found = checked(tmp_path, "bad.yaml", text)
    assert rule in rules(found), rules(found)
    line = rules(found)[rule]
    if new and rule not in ("no-name", "rank-default", "missing-control", "syntax", "no-datasets"):
        first = text[: text.index(new)].count("\n") + 1
        assert line is not None and line <= first + new.count("\n") + 1
    if rule in ("syntax", "long-run", "abstract-trigger"):
        return
    left = checked(tmp_path, "fixed.yaml", found["fixed"])["findings"]
    assert [r for r in left if r["severity"] != "info"] == [], left
    if rule not in ("no-job", "duplicate-key"):
        assert "# folder and prefix" in found["fixed"] or rule == "no-name", "comments stay"


def test_edit_plus_wants_controls_everywhere(tmp_path: Path) -> None:
    edit = setups.AITOOLKIT.replace("arch: qwen_image", "arch: qwen_image_edit_plus")
    paired = edit.replace("caption_ext: txt", "control_path: data/ctrl")
    assert set(rules(checked(tmp_path, "a.yaml", paired))) == {"sample-control"}
    shown = paired.replace(
        "grace_char, close-up portrait", "grace_char\n            ctrl_img_1: r.png"
    )
    found = checked(tmp_path, "b.yaml", shown)
    assert found["findings"] == []
    assert any("almost black" in note["what"] for note in found["notes"])
    same = edit.replace("caption_ext: txt", "control_from_same_folder: true")
    assert "control-cache" in rules(checked(tmp_path, "c.yaml", same))
    two = shown.replace("batch_size: 1", "batch_size: 2\n        validation_config: {}")
    assert {"edit-batch", "validation-edit"} <= set(rules(checked(tmp_path, "d.yaml", two)))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("num_repeats = 1", "repeats = 40", "unknown-key"),
        ("batch_size = 1", 'batch_size = "1"', "wrong-type"),
        ("resolution = [1024, 1024]\ncap", "cap", "size-default"),
        ('caption_extension = ".txt"\n', "", "missing-caption"),
        ("control_resolution = [1024, 1024]\n", "", "control-size"),
        ("data/grace", "data/40_grace", "folder-repeats"),
        ('image_directory = "data/grace"\n', "", "no-folder"),
        ("[[datasets]]", "[[dataset]]", "no-datasets"),
        (
            "num_repeats = 1\n",
            '[[datasets]]\nimage_directory="b"\ncache_directory="cache/grace"\n',
            "shared-cache",
        ),
        ("enable_bucket = true", "enable_bucket = yes", "syntax"),
    ],
)
def test_musubi_data_sets(tmp_path: Path, old: str, new: str, rule: str) -> None:
    assert checked(tmp_path, "good.toml", setups.MUSUBI)["findings"] == []
    found = checked(tmp_path, "d.toml", setups.MUSUBI.replace(old, new, 1))
    assert rule in rules(found) and found["kind"] in ("musubi-tuner", "unreadable")
    if rule in ("unknown-key", "wrong-type", "size-default", "control-size", "folder-repeats"):
        assert checked(tmp_path, "f.toml", found["fixed"])["findings"] == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (" --network_alpha 16", "", "alpha-trap"),
        ("--network_alpha 16", "--network_alpha 1", "alpha-scale"),
        ("networks.lora_qwen_image", "networks.lora", "no-network"),
        ("edit-2509 ", "original ", "model-version"),
        ("--learning_rate 5e-5", "", "no-rate"),
        ("--gradient_checkpointing", "--gradient_checkpoint", "unknown-key"),
        ("--sdpa", "--fp8_base", "fp8"),
        (
            "--save_every_n_epochs 1",
            "--save_every_n_epochs 1 --save_last_n_epochs 4",
            "pruned-checkpoints",
        ),
    ],
)
def test_musubi_commands_and_their_alpha_trap(
    tmp_path: Path, old: str, new: str, rule: str
) -> None:
    assert checked(tmp_path, "good.sh", setups.COMMAND)["findings"] == []
    found = checked(tmp_path, "train.sh", setups.COMMAND.replace(old, new, 1))
    assert rule in rules(found)
    if rule == "alpha-trap":
        assert "1/16" in found["findings"][0]["what"]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"lora_alpha": 16', '"lora_alpha": 1', "alpha-scale"),
        ('"edit-v2"', '"edit-2509"', "wrong-arch"),
        ('"checkpoints_total_limit": 10', '"checkpoints_total_limit": 3', "pruned-checkpoints"),
        ('"num_train_epochs": 0', '"num_train_epochs": 10', "length-readings"),
        ('"learning_rate": 1e-4', '"lerning_rate": 1e-4', "unknown-key"),
        ('"learning_rate": 1e-4', '"learning_rate": "1e-4"', "wrong-type"),
        ('"max_train_steps": 3000', '"max_train_steps": 0', "no-length"),
        ('"model_type"', '"--model_type" "', "syntax"),
    ],
)
def test_simpletuner_configs(tmp_path: Path, old: str, new: str, rule: str) -> None:
    assert checked(tmp_path, "good.json", setups.SIMPLETUNER)["findings"] == []
    text = setups.SIMPLETUNER.replace(old, new, 1)
    found = checked(tmp_path, "config.json", text)
    line = text[: text.index(new)].count("\n") + 1
    assert rules(found).get(rule) == line, found["findings"]
    if rule != "syntax":
        left = checked(tmp_path, "fixed.json", found["fixed"])["findings"]
        assert rule not in {r["rule"] for r in left} or rule == "wrong-arch"


def test_simpletuners_data_list_is_read_with_its_config(tmp_path: Path) -> None:
    (tmp_path / "multidatabackend.json").write_text(setups.BACKENDS)
    assert checked(tmp_path, "config.json", setups.SIMPLETUNER)["findings"] == []
    text = setups.BACKENDS.replace('"repeats": 9', '"repeats": 40').replace('["refs"]', '["ref"]')
    (tmp_path / "multidatabackend.json").write_text(text.replace('"textfile"', '"filename"'))
    found = checked(tmp_path, "config.json", setups.SIMPLETUNER)
    assert {"repeats-off-by-one", "edit-control", "filename-captions"} == set(rules(found))
    assert {r["file"] for r in found["findings"]} == {"multidatabackend.json"}
    assert rules(found)["repeats-off-by-one"] == 2


def test_a_guide_is_read_block_by_block(tmp_path: Path) -> None:
    page = (
        "# Guide\n\n```bash\npython joy_caption.py --input_dir d\npip install torch==2.7.0\n"
        "rsync -avz dataset/ runpod:/workspace/\n```\n\n```yaml\n"
        + GUIDE.read_text("utf-8")
        + "```\nUse grace_char_lora_epoch7.safetensors.\n"
    )
    found = checked(tmp_path, "guide.md", page)
    at = rules(found)
    assert (at["no-such-script"], at["old-torch"], at["alias"]) == (4, 5, 6)
    assert at["quantize-dtype"] == 9 + 20, "lines are those of the page"
    assert at["epoch-names"] == page.count("\n") and "job: extension" in found["fixed"]


def test_pieces_in_a_guide_and_other_jobs_are_not_taken_for_runs(tmp_path: Path) -> None:
    command = setups.COMMAND.replace(" --network_alpha 16", "")
    page = (
        "Use `qwen_image_train_network.py --fp8_base` so:\n\n```bash\naccelerate launch "
        "qwen_image_train_network.py --dit D --sdpa\n```\n\n```json\n"
        '{"model_flavour": "edit-v2", "lora_rank": 16}\n```\n\n```json\n'
        '{"image_path": "a"}\n{"image_path": "b"}\n```\n\n```bash\n' + command + "```\n"
    )
    found = checked(tmp_path, "page.md", page)
    line = page[: page.index("--network_dim")].count("\n") + 1
    assert rules(found) == {"alpha-trap": line, "no-datasets": 8}
    other = "job: generate\nconfig: {name: a, process: [{type: to_folder}]}\n"
    assert set(rules(checked(tmp_path, "g.yaml", other))) == {"other-job"}


def mutate(text: str, rng: random.Random) -> str:
    """One to three edits a hurried hand could make, and some that none would."""
    junk = ["{", "]", "'", "\t", "&a ", "*a", "<<: *a", "!!python/name:os", "2001-99-99", "1e999"]
    junk += [".inf", "null", "[]", "{}", "\x00", "\u2028", "9" * 400, "-1", "true", "'3'", "|", ">"]
    rows = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        i, kind = rng.randrange(len(rows)), rng.randrange(7)
        if kind == 0 and len(rows) > 1:
            rows.pop(i)
        elif kind == 1:
            rows.insert(i, rng.choice(rows))
        elif kind == 2:
            j = rng.randrange(len(rows[i]) + 1)
            rows[i] = rows[i][:j] + rng.choice(junk) + rows[i][j:]
        elif kind == 3:
            for sign in (": ", "= "):
                head, found, _ = rows[i].partition(sign)
                if found:
                    rows[i] = head + sign + rng.choice(junk)
                    break
        elif kind == 4:
            words = rows[i].split()
            if words:
                word = rng.choice(words)
                rows[i] = rows[i].replace(word, word[::-1], 1)
        elif kind == 5:
            j = rng.randrange(len(rows))
            rows[i], rows[j] = rows[j], rows[i]
        else:
            rows[i] = rows[i][: rng.randrange(len(rows[i]) + 1)]
    return "\n".join(rows)


def test_values_of_any_shape_are_findings_and_never_make_a_mended_file_worse(
    tmp_path: Path,
) -> None:
    for wrong in ("datasets: 5", "datasets: text", "datasets: {folder_path: here}"):
        start = setups.AITOOLKIT.index("      datasets:")
        end = setups.AITOOLKIT.index("      train:")
        text = f"{setups.AITOOLKIT[:start]}      {wrong}\n{setups.AITOOLKIT[end:]}"
        found = checked(tmp_path, "a.yaml", text)
        said = [f["what"] for f in found["findings"] if f["rule"] == "wrong-type"]
        assert said == ["`datasets` must be a list"]
        again = checked(tmp_path, "a.yaml", found["fixed"])
        assert not any(f["rule"] == "wrong-type" for f in again["findings"])
    for steps in (".inf", ".nan", "-5", "0"):
        text = setups.AITOOLKIT.replace("steps: 3000", f"steps: {steps}")
        found = checked(tmp_path, "a.yaml", text)
        assert any("train.steps` wants a" in f["what"] for f in found["findings"]), steps
        assert "steps: -5" not in (found["fixed"] or "") and "inf" not in (found["fixed"] or "")
    several = setups.MUSUBI.replace(
        "resolution = [1024, 1024]\ncap", 'resolution = [\n  960,\n  "544",\n]\ncap', 1
    )
    found = checked(tmp_path, "d.toml", several)
    assert any(f["rule"] == "wrong-type" for f in found["findings"])
    assert found["fixed"] and tomllib.loads(found["fixed"])["general"]["batch_size"] == 1
    (tmp_path / "dataset" / "grace_char").mkdir(parents=True)
    for number in range(4):
        place = tmp_path / "dataset" / "grace_char" / f"{number}.png"
        Image.new("RGB", (1024, 1024), (number, 9, 9)).save(place)
        place.with_suffix(".txt").write_text("grace_char, a photo")
    text = setups.AITOOLKIT.replace("steps: 3000", "steps: 3000  # 40 images x 75 = 3000")
    told = json.dumps(checked(tmp_path, "a.yaml", text, images=4)["findings"])
    assert "there are 8" not in told and "there are 4" in told


def test_500_mutated_files_give_findings_and_never_a_traceback(tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = {
        "guide.yaml": GUIDE.read_text("utf-8"),
        "a.yaml": setups.AITOOLKIT,
        "d.toml": setups.MUSUBI,
        "t.sh": setups.COMMAND,
        "c.json": setups.SIMPLETUNER,
        "b.json": setups.BACKENDS,
    }
    names = [*texts, "d.toml", "t.sh", "c.json", "b.json"]
    kinds = set()
    for number in range(500):
        name = names[number % len(names)]
        found = checked(tmp_path, name, mutate(texts[name], rng))
        kinds.add(found["kind"])
        json.dumps(found)
        for row in found["findings"]:
            assert row["rule"] in RULES and row["what"] and row["instead"]
            assert row["line"] is None or row["line"] >= 1
    assert {"ai-toolkit", "musubi-tuner", "SimpleTuner", "unreadable"} <= kinds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a: &a [*a]",
        "[" * 2000,
        "- " * 2000,
        "{" * 500,
        "a: " + "[" * 90 + "]" * 90,
        "- 1\n- 2",
        "\ufeff",
    ],
)
def test_odd_texts_are_findings(tmp_path: Path, text: str) -> None:
    for name in ("x.yaml", "x.json", "x.toml", "x.sh", "x.md", "x"):
        found = checked(tmp_path, name, text)
        assert found["findings"] or name in ("x.sh", "x.md")
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(256)))
    assert rules(check(tmp_path / "bytes.yaml")).keys() == {"syntax"}
    with pytest.raises(UsageError):
        check(tmp_path / "none.yaml")


def test_the_command_exits_1_on_findings_and_writes_the_mended_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fixed.yaml"
    assert shell.run(["check", str(GUIDE), "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = {"rule", "severity", "file", "line", "what", "instead"}
    assert all(keys <= set(row) for row in found["findings"]) and found["fixed"]
    assert shell.run(["check", str(GUIDE), "--fixed", str(out)]) == 1
    assert "guide.yaml:20: " in capsys.readouterr().out
    assert shell.run(["check", str(out)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert shell.run(["check", str(out), "--fixed", str(out)]) == 2
    assert shell.run(["check", str(tmp_path / "none"), "--json"]) == 2


def test_every_rule_is_said_in_the_manual() -> None:
    manual = (HERE.parents[2] / "docs" / "check.md").read_text("utf-8")
    for name, fault in RULES.items():
        row = f"| `{name}` | {fault.severity} | {fault.meaning} | {fault.source} | {fault.tag} |"
        assert row in manual, row
    for name, rule in VALUES.items():
        assert f"| `{name}` | {rule.value:g} | {rule.tag} | {rule.meaning} |" in manual, name
