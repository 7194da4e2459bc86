"""Faults of SimpleTuner setups: config.json and the multidatabackend list.

In: a `Doc` of a JSON file. Out: findings and the mended data.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from limner.training.lint.findings import Findings
from limner.training.lint.keys import known
from limner.training.lint.reading import Doc, number, whole

FLAVOURS = ("v1.0", "v2.0", "edit-v1", "edit-v2", "edit-v2+", "edit-v3")
EDIT = FLAVOURS[2:]
KEEP = 5
"""checkpoints_total_limit's default: older checkpoints are deleted."""

MORE_KEYS = {"model_kwargs", "checkpointing_steps", "disable_benchmark", "attention_mechanism"}


def is_config(data: Any) -> bool:
    """A config.json: a mapping with SimpleTuner's arguments, with or without dashes."""
    if not isinstance(data, dict):
        return False
    keys = {str(k).lstrip("-") for k in data}
    return bool(keys & {"model_family", "model_flavour", "data_backend_config"}) or (
        "model_type" in keys and len(keys & set(known()["SimpleTuner"]["arguments"])) >= 4
    )


def is_backends(data: Any) -> bool:
    """A multidatabackend list."""
    return (
        isinstance(data, list)
        and any(isinstance(r, dict) for r in data)
        and any(
            {"instance_data_dir", "dataset_type", "cache_dir_vae"} & set(r)
            for r in data
            if isinstance(r, dict)
        )
    )


def check_config(doc: Doc, found: Findings) -> None:
    """Faults of config.json."""
    data = {str(k).lstrip("-"): v for k, v in doc.data.items()}
    at = {str(k).lstrip("-"): str(k) for k in doc.data}
    names = [*known()["SimpleTuner"]["arguments"], *MORE_KEYS]

    def line(key: str) -> int | None:
        return doc.line(at.get(key, key))

    for key in data:
        if key not in names:
            near = get_close_matches(key, names, n=1, cutoff=0.75)
            found.add(
                "unknown-key",
                line(key),
                f"`{key}` is no option of SimpleTuner",
                f"Did you mean `{near[0]}`?" if near else "Remove it.",
            )
    for key in ("lora_rank", "lora_alpha", "train_batch_size", "gradient_accumulation_steps"):
        if key in data and whole(data[key]) is None and number(data[key]) is None:
            found.add(
                "wrong-type",
                line(key),
                f"`{key}` wants a number, it has {data[key]!r}",
                f'"{key}": 16' if "lora" in key else f'"{key}": 1',
            )
    _alpha(data, line, found)
    _flavour(data, line, found)
    _run(data, line, found)


def _alpha(data: Mapping[str, Any], line: Any, found: Findings) -> None:
    rank, alpha = number(data.get("lora_rank", 16)), number(data.get("lora_alpha"))
    if rank and alpha is not None and alpha != rank and data.get("model_type") == "lora":
        found.add(
            "alpha-scale",
            line("lora_alpha"),
            f"alpha {alpha:g} at rank {rank:g} scales the LoRA by {alpha / rank:.3g}; programs "
            "that read no alpha show it at another strength",
            f'"lora_alpha": {rank:g}',
        )


def _flavour(data: Mapping[str, Any], line: Any, found: Findings) -> None:
    if data.get("model_family") not in (None, "qwen_image"):
        return
    flavour = data.get("model_flavour")
    if flavour is not None and flavour not in FLAVOURS:
        found.add(
            "wrong-arch",
            line("model_flavour"),
            f"There is no flavour {flavour!r} of Qwen-Image",
            f'"model_flavour": one of {", ".join(FLAVOURS)}; edit-v2 is Edit-2509',
        )
    path = str(data.get("pretrained_model_name_or_path", ""))
    if "Edit-2509" in path and flavour not in ("edit-v2", "edit-v2+"):
        found.add(
            "wrong-arch",
            line("model_flavour"),
            f"The weights are Edit-2509, the flavour is {flavour}",
            '"model_flavour": "edit-v2"',
        )
    if not data.get("data_backend_config"):
        found.add(
            "no-datasets",
            line("data_backend_config"),
            "There is no data_backend_config: nothing to train on",
            '"data_backend_config": "config/multidatabackend.json"',
        )


def _run(data: Mapping[str, Any], line: Any, found: Findings) -> None:
    steps, epochs = whole(data.get("max_train_steps")), whole(data.get("num_train_epochs"))
    if not steps and not epochs:
        found.add(
            "no-length",
            line("max_train_steps"),
            "Neither max_train_steps nor num_train_epochs is above 0: the run does not start",
            '"max_train_steps": 3000, "num_train_epochs": 0',
        )
    if steps and epochs:
        found.add(
            "length-readings",
            line("num_train_epochs"),
            f"{steps} steps and {epochs} epochs: whichever comes first ends the run",
            '"num_train_epochs": 0',
        )
    every = whole(data.get("checkpoint_step_interval", data.get("checkpointing_steps")))
    keep = whole(data.get("checkpoints_total_limit", KEEP))
    if steps and every and keep and 0 < keep < steps // every:
        stated = "checkpoints_total_limit" in data
        found.add(
            "pruned-checkpoints",
            line("checkpoints_total_limit" if stated else "max_train_steps"),
            f"Of {steps // every} checkpoints only the last {keep} stay"
            f"{'' if stated else ' (the default)'}",
            f'"checkpoints_total_limit": {steps // every}',
        )
    rate = number(data.get("learning_rate"))
    if "learning_rate" in data and rate is None:
        found.add(
            "wrong-type",
            line("learning_rate"),
            f"`learning_rate` wants a number, it has {data['learning_rate']!r}",
            '"learning_rate": 1e-4',
        )
    elif rate is not None and rate > 3e-4 and "prodigy" not in str(data.get("optimizer", "")):
        found.add("rate-high", line("learning_rate"), f"{rate:g} is high", '"learning_rate": 1e-4')
    dropout = number(data.get("caption_dropout_probability"))
    if dropout is not None and dropout > 0.1:
        found.add(
            "dropout-high",
            line("caption_dropout_probability"),
            f"{100 * dropout:.0f} % of the passes see no caption",
            '"caption_dropout_probability": 0.05',
        )
    decay = number(data.get("ema_decay", 0.995))
    if data.get("use_ema") is True and steps and decay is not None and 0 <= decay < 1:
        updates = steps
        if updates < 5 / (1 - decay):
            found.add(
                "ema",
                line("use_ema"),
                f"EMA with decay {decay:g} remembers {1 / (1 - decay):.0f} of {updates} updates",
                '"use_ema": false',
            )


def check_backends(doc: Doc, found: Findings, *, edit: bool = False) -> None:
    """Faults of the data list. edit: the model is an edit flavour and needs conditioning data."""
    rows = [(i, r) for i, r in enumerate(doc.data) if isinstance(r, dict)]
    ids = {str(r.get("id")) for _, r in rows}
    kinds = {str(r.get("dataset_type", "image")) for _, r in rows}
    if "text_embeds" not in kinds:
        found.add(
            "no-text-cache",
            1,
            "No data set of type text_embeds: the text encoder's output has no place",
            '{"id": "text", "dataset_type": "text_embeds", "default": true, "type": "local", '
            '"cache_dir": "cache/text"}',
        )
    for index, row in rows:
        kind = str(row.get("dataset_type", "image"))
        if kind not in ("image", "conditioning"):
            continue
        _backend(doc, found, index, row, kind, ids, edit=edit)


def _backend(
    doc: Doc,
    found: Findings,
    index: int,
    row: dict[str, Any],
    kind: str,
    ids: set[str],
    *,
    edit: bool,
) -> None:
    if not row.get("instance_data_dir") and row.get("type", "local") == "local":
        found.add(
            "no-folder",
            doc.line(index),
            f"The data set {row.get('id', index)!r} has no instance_data_dir",
            '"instance_data_dir": "data/char"',
        )
    if kind != "image":
        return
    repeats = whole(row.get("repeats"))
    if repeats and repeats % 5 == 0:
        found.add(
            "repeats-off-by-one",
            doc.line(index, "repeats"),
            f"SimpleTuner counts extra showings: {repeats} shows every picture {repeats + 1} times",
            f'"repeats": {repeats - 1}',
        )
    given = row.get("conditioning_data")
    if edit and not given:
        found.add(
            "edit-control",
            doc.line(index),
            "The run stops: an edit flavour needs at least one control latent",
            '"conditioning_data": ["references"], and a data set of type conditioning',
        )
    for name in given if isinstance(given, list) else [given] if given else []:
        if str(name) not in ids:
            found.add(
                "edit-control",
                doc.line(index, "conditioning_data"),
                f"There is no data set {name!r}",
                f'Add {{"id": "{name}", "dataset_type": "conditioning", ...}}.',
            )
    if row.get("caption_strategy") == "filename":
        found.add(
            "filename-captions",
            doc.line(index, "caption_strategy"),
            "The file names are used as captions; the .txt files are not read",
            '"caption_strategy": "textfile"',
        )


def mended(data: Any, findings: list[dict[str, Any]]) -> Any:
    """The data with plain mistakes mended: renamed or dropped keys, alpha, repeats, limits."""
    import json
    import re

    made = copy.deepcopy(data)
    for finding in findings:
        said, instead = str(finding["what"]), str(finding["instead"])
        key = re.match(r"`([\w-]+)`", said)
        if finding["rule"] == "unknown-key" and key and isinstance(made, dict):
            target = re.search(r"`(\w+)`", instead)
            real = next((k for k in made if k.lstrip("-") == key[1]), None)
            if real is not None:
                value = made.pop(real)
                if target:
                    made.setdefault(target[1], value)
            continue
        try:
            update = json.loads("{" + instead + "}")
        except ValueError:
            continue
        if isinstance(made, dict):
            plain = {k.lstrip("-"): k for k in made}
            made.update({plain.get(k, k): v for k, v in update.items()})
        elif isinstance(made, list):
            _mend_row(made, finding, update)
    return made


def _mend_row(rows: list[Any], finding: dict[str, Any], update: dict[str, Any]) -> None:
    for row in rows:
        if not isinstance(row, dict) or row.get("dataset_type", "image") != "image":
            continue
        if finding["rule"] == "repeats-off-by-one":
            if row.get("repeats") == update.get("repeats", -2) + 1:
                row.update(update)
        elif finding["rule"] == "filename-captions" and row.get("caption_strategy") == "filename":
            row.update(update)
