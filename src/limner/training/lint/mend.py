"""The mended ai-toolkit file: the same run with valid keys in their places.

In: a checked `Doc` with its `Setup`s. Out: YAML text. A file with `job` keeps its comments and
order; one without is written anew with the guide's values where they are valid.
"""

from __future__ import annotations

import io
import math
import re
from difflib import get_close_matches
from typing import Any

from limner.training.lint.keys import MOVES, fits, sections, wanted_type
from limner.training.lint.reading import Doc, number, whole
from limner.training.lint.runs import ask_of
from limner.training.lint.setup import ARCHS, NESTED, PROCESS_TYPES, Setup, arch
from limner.training.trainers import count

EXAMPLE_SAMPLE = "close-up portrait, black turtleneck, indoor setting, serene expression"


def mended(doc: Doc, setups: list[Setup]) -> str | None:
    """The mended text, or None when nothing can be said about the file."""
    if not setups:
        return None
    if setups[0].bare:
        return _dump(_anew(setups[0]))
    data = _load(doc.text)
    if data is None:
        return None
    for setup in setups:
        node = data
        for key in setup.base:
            node = node[key]
        _mend_keys(node)
        _mend_values(node, setup)
    if not isinstance(data["config"].get("name"), str):
        data["config"]["name"] = "my_char_v1"
    return _dump(data)


def _load(text: str) -> Any:
    from ruamel.yaml import YAML

    reader = YAML(typ="rt")
    reader.allow_duplicate_keys = True
    try:
        return reader.load(text)
    except Exception:  # what the check could read but ruamel cannot keep is not mended
        return None


def _dump(data: Any) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="rt")
    writer.width = 1000
    writer.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    writer.dump(data, out)
    return out.getvalue()


def _section(process: Any, name: str) -> Any:
    if not isinstance(process.get(name), dict):
        process[name] = {}
    return process[name]


def _data_rows(process: Any) -> list[Any]:
    listed = process.get("datasets")
    return [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []


def _put(process: Any, target: str, value: Any) -> None:
    """Set `section.key` of a process unless it is set; `datasets[].key` in every data set."""
    section, _, key = target.rpartition(".")
    if section == "datasets[]":
        for row in _data_rows(process):
            row.setdefault(key, value)
    elif section == "train.optimizer_params":
        _section(_section(process, "train"), "optimizer_params").setdefault(key, value)
    elif section:
        _section(process, section).setdefault(key, value)
    else:
        process.setdefault(key, value)


def _mend_keys(process: Any) -> None:
    """Move, rename or drop the keys that nothing reads; convert quoted numbers and switches."""
    for section in ("optimizer", "training", *NESTED):
        rows = process.get(section)
        if not isinstance(rows, dict):
            continue
        names = sections().get(section, {})
        for key in [k for k in rows if k not in names]:
            value = rows.pop(key)
            _rescue(process, section, str(key), value, names)
        if section in ("optimizer", "training"):
            del process[section]
        else:
            _convert(rows, names)
    lists = [("datasets", process.get("datasets"))]
    if isinstance(process.get("sample"), dict):
        lists.append(("samples", process["sample"].get("samples")))
    for section, listed in lists:
        for row in listed if isinstance(listed, list) else []:
            if isinstance(row, dict):
                for key in [k for k in row if k not in sections()[section]]:
                    near = get_close_matches(str(key), list(sections()[section]), n=1, cutoff=0.75)
                    value = row.pop(key)
                    if near:
                        row.setdefault(near[0], value)
                _convert(row, sections()[section])
    for key in [k for k in process if k not in sections()["process"]]:
        value = process.pop(key)
        homes = [s for s in NESTED if key in sections()[s]]
        if homes and not isinstance(value, dict | list):
            _put(process, f"{homes[0]}.{key}", value)


def _rescue(process: Any, section: str, key: str, value: Any, names: dict[str, Any]) -> None:
    place = f"{section}.{key}"
    if place in MOVES:
        target = MOVES[place]
        if target and not key.startswith("is_qwen"):
            _put(process, target, value)
        return
    near = get_close_matches(key, list(names), n=1, cutoff=0.75)
    homes = [s for s in (*NESTED, "process") if key in sections()[s]]
    if near:
        _put(process, f"{section}.{near[0]}", value)
    elif homes:
        _put(process, key if homes[0] == "process" else f"{homes[0]}.{key}", value)


def _convert(rows: Any, names: dict[str, Any]) -> None:
    for key, value in list(rows.items()):
        wanted = wanted_type(str(key), names.get(key))
        if wanted is None or value is None or fits(value, wanted):
            continue
        made = _converted(value, wanted)
        if made is None:
            del rows[key]
        else:
            rows[key] = made


def _converted(value: Any, wanted: str) -> Any:
    text = str(value).strip().lower()
    if wanted == "true or false":
        return {"true": True, "yes": True, "on": True, "false": False, "no": False}.get(text)
    if wanted == "number":
        try:
            found = float(text)
        except ValueError:
            return None
        if not math.isfinite(found):
            return None
        return int(found) if found == int(found) and "." not in text and "e" not in text else found
    return str(value) if wanted == "text" and not isinstance(value, dict | list) else None


def _mend_values(process: Any, setup: Setup) -> None:
    """Values that make the run do something else than it says."""
    if process.get("type") not in PROCESS_TYPES:
        process["type"] = "diffusion_trainer"
    again = Setup(setup.doc, setup.name, False, (), process)
    for section in NESTED:
        if isinstance(process.get(section), dict):
            again.data[section] = dict(process[section])
    _mend_model(process, again)
    _mend_data(process)
    _mend_train(process, again)
    _mend_save(process, again)
    _mend_sample(process, again)
    words = [process.get("trigger_word"), *(r.get("trigger_word") for r in again.datasets)]
    if not any(isinstance(w, str) and w.strip() for w in words):
        process["trigger_word"] = "my_char"


def _controlled(process: Any) -> bool:
    rows = _data_rows(process)
    keys = ("control_path", "control_path_1", "control_path_2", "control_path_3")
    return bool(rows) and all(
        any(r.get(k) for k in keys) or r.get("control_from_same_folder") is True for r in rows
    )


def _mend_model(process: Any, setup: Setup) -> None:
    model = _section(process, "model")
    model.setdefault("name_or_path", "Qwen/Qwen-Image-Edit-2509")
    setup.data["model"] = dict(model)
    meant = arch(setup)
    name = str(model.get("name_or_path"))
    if "qwen" in name.lower() and meant not in ARCHS:
        meant = "qwen_image"
    if meant == "qwen_image_edit" and "edit-25" in name.lower():
        meant = "qwen_image_edit_plus"
    if meant.startswith("qwen_image_edit") and name.lower().startswith("qwen/"):
        meant = meant if "edit" in name.lower() else "qwen_image"
    if meant == "qwen_image_edit_plus" and not _controlled(process):
        meant = "qwen_image"  # text to image on the edit weights: the way without controls
    stated = str(model.get("arch", "")).split(":")[0]
    if meant and meant != stated:
        model["arch"] = meant
    if meant in ARCHS and model.get("quantize") is not True:
        model["quantize"] = True
        model.setdefault("low_vram", True)
    if model.get("quantize") is True:
        model.setdefault("qtype", "qfloat8")
        if model["qtype"] == "int8":
            model["qtype"] = "qfloat8"
    setup.data["model"] = dict(model)


def _mend_data(process: Any) -> None:
    rows = process.get("datasets")
    if not isinstance(rows, list) or not any(isinstance(r, dict) for r in rows):
        process["datasets"] = [_data_set("my_char")]
        return
    for row in rows:
        if not isinstance(row, dict):
            continue
        folder = row.get("folder_path") or row.get("dataset_path")
        if not isinstance(folder, str) or not folder.strip():
            row["folder_path"] = "dataset/my_char"
        value = row.get("resolution")
        sides = [whole(s) for s in (value if isinstance(value, list) else [value])]
        good = sorted({s for s in sides if s is not None and 64 <= s <= 4096})
        if value is None or not good:
            row["resolution"] = [512, 768, 1024]
        elif isinstance(value, list) and (len(good) < len(value)):
            row["resolution"] = good
        folder = re.search(r"(?:^|/)(\d+)_[^/]*/?$", str(row.get("folder_path", "")))
        if folder and whole(row.get("num_repeats")) in (None, 1) and int(folder[1]) > 1:
            row["num_repeats"] = int(folder[1])
        if row.get("flip_x") is True:
            row["flip_x"] = False
        dropout = number(row.get("caption_dropout_rate"))
        if dropout is not None and not 0 <= dropout <= 0.1:
            row["caption_dropout_rate"] = 0.05


def _data_set(name: str) -> dict[str, Any]:
    return {
        "folder_path": f"dataset/{name}",
        "caption_ext": "txt",
        "caption_dropout_rate": 0.05,
        "num_repeats": 1,
        "resolution": [512, 768, 1024],
        "cache_latents_to_disk": True,
    }


def _mend_train(process: Any, setup: Setup) -> None:
    train = _section(process, "train")
    if whole(train.get("steps")) is None or (whole(train.get("steps")) or 0) < 1:
        train["steps"] = 3000
    rate = number(train.get("lr"))
    if rate is None or not 0 < rate <= 3e-4:
        train["lr"] = 1e-4
    if arch(setup) in ARCHS and train.get("dtype") in (None, "fp32", "float32"):
        train["dtype"] = "bf16"
    setup.data["train"] = dict(train)
    old, new = (
        whole(train.get("gradient_accumulation_steps")),
        whole(train.get("gradient_accumulation")),
    )
    if old is not None and old != 1 and (new or 1) > 1:
        del train["gradient_accumulation_steps"]
    elif old is not None and old > 1:  # the same updates and passes with the key of today
        del train["gradient_accumulation_steps"]
        train["gradient_accumulation"] = old
        train["steps"] = max(int(train["steps"]) // old, 1)
    if train.get("unload_text_encoder") is True:
        train["unload_text_encoder"] = False
    if not any(r.get("control_from_same_folder") for r in setup.datasets):
        train["cache_text_embeddings"] = True
    elif train.get("cache_text_embeddings") is True:
        train["cache_text_embeddings"] = False
    if train.get("gradient_checkpointing") is False:
        train["gradient_checkpointing"] = True
    if train.get("noise_scheduler") not in (None, "flowmatch") and arch(setup) in ARCHS:
        train["noise_scheduler"] = "flowmatch"
    if train.get("diff_output_preservation") and train.get("blank_prompt_preservation"):
        train["blank_prompt_preservation"] = False
    if "flash" in str(train.get("attention_backend", "")):
        train["attention_backend"] = "native"
    _mend_edit(process, train)
    setup.data["train"] = dict(train)


def _mend_edit(process: Any, train: Any) -> None:
    ema = train.get("ema_config")
    if isinstance(ema, dict) and ema.get("use_ema") is True:
        decay = number(ema.get("ema_decay", 0.999)) or 0.0
        if not 0 <= decay < 1 or int(train["steps"]) < 5 / (1 - decay):
            ema["use_ema"] = False
    if str(process["model"].get("arch", "")).startswith("qwen_image_edit_plus"):
        train.pop("validation_config", None)
        if (whole(train.get("batch_size")) or 1) > 1:
            train["gradient_accumulation"] = (whole(train.get("gradient_accumulation")) or 1) * int(
                train["batch_size"]
            )
            train["batch_size"] = 1


def _mend_save(process: Any, setup: Setup) -> None:
    save = _section(process, "save")
    steps = int(process["train"]["steps"])
    every = whole(save.get("save_every"))
    if every is None or not 0 < every < steps:
        every = save["save_every"] = max(steps // 10, 1)
    keep = whole(save.get("max_step_saves_to_keep"))
    numbered = (steps - 1) // every
    if keep is None or 0 < keep < numbered:
        save["max_step_saves_to_keep"] = max(numbered, 10)
    if process["train"].get("dtype") == "bf16" and save.get("dtype") in (None, "float16", "fp16"):
        save["dtype"] = "bf16"
    network = _section(process, "network")
    if not network.get("linear") and not network.get("rank"):
        network.setdefault("type", "lora")
        network["linear"] = 16
    side = number(network.get("linear") or network.get("rank"))
    alpha = number(network.get("linear_alpha", network.get("alpha")))
    if alpha is not None and side is not None and alpha != side:
        network["linear_alpha"] = int(side) if side == int(side) else side
    setup.data["save"] = dict(save)


def _mend_sample(process: Any, setup: Setup) -> None:
    sample = process.get("sample")
    if not isinstance(sample, dict) or not sample:
        return
    if arch(setup) in ARCHS and sample.get("sampler") != "flowmatch":
        sample["sampler"] = "flowmatch"
    sample.setdefault("width", 1024)
    sample.setdefault("height", 1024)


def _anew(setup: Setup) -> dict[str, Any]:
    """A valid file for what a file without `job` means; updates stay, passes are said."""
    ask, _ = ask_of(setup, 40)
    run = count(ask)
    steps = run.logged_steps
    trigger = setup.process.get("trigger_word")
    trigger = trigger if isinstance(trigger, str) and trigger.strip() else "my_char"
    rank = whole(setup.value("network", "linear")) or 16
    rate = number(setup.value("train", "lr"))
    optimizer = setup.text("train", "optimizer") or "adamw8bit"
    name = setup.text("model", "name_or_path") or "Qwen/Qwen-Image-Edit-2509"
    process: dict[str, Any] = {
        "type": "diffusion_trainer",
        "training_folder": setup.process.get("training_folder") or "output",
        "device": "cuda:0",
        "trigger_word": trigger,
        "network": {"type": "lora", "linear": rank, "linear_alpha": rank},
        "save": {"dtype": "bf16", "save_every": max(steps // 10, 1)},
        "datasets": _data_rows(setup.process) or [_data_set(trigger)],
        "train": {
            "batch_size": ask.batch,
            "steps": steps,
            "gradient_accumulation": 1 if ask.legacy else ask.accumulation,
            "train_unet": True,
            "train_text_encoder": False,
            "gradient_checkpointing": True,
            "noise_scheduler": "flowmatch",
            "timestep_type": "weighted",
            "optimizer": optimizer,
            "lr": rate if rate and 0 < rate <= 3e-4 else 1e-4,
            "dtype": "bf16",
            "cache_text_embeddings": True,
        },
        "model": {
            "name_or_path": name,
            "arch": arch(setup) or "qwen_image",
            "quantize": True,
            "qtype": "qfloat8",
            "quantize_te": True,
            "qtype_te": "qfloat8",
            "low_vram": True,
        },
        "logging": {"log_every": 1, "use_ui_logger": True},
        "sample": {
            "sampler": "flowmatch",
            "sample_every": max(steps // 10, 1),
            "width": 1024,
            "height": 1024,
            "guidance_scale": 3,
            "sample_steps": 25,
            "seed": 42,
            "walk_seed": True,
            "samples": [{"prompt": f"{trigger}, {EXAMPLE_SAMPLE}"}],
        },
    }
    inner = Setup(setup.doc, setup.name, False, (), process)
    _mend_keys(process)
    _mend_values(process, inner)
    return {
        "job": "extension",
        "config": {"name": f"{trigger}_v1", "process": [process]},
        "meta": {"name": "[name]", "version": "1.0"},
    }
