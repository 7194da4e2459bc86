"""Faults of musubi-tuner setups: the data set TOML, and the training arguments.

In: a `Doc` of a TOML file, or the arguments of a command. Out: findings and the mended text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from limner.training.lint.findings import Findings
from limner.training.lint.keys import known
from limner.training.lint.reading import Doc, number, whole

VERSIONS = ("original", "edit", "edit-2509", "edit-2511", "layered")
MOST_ROWS = 60
"""Rows that one value is looked for in (starting value)."""
_WHOLE = ("batch_size", "num_repeats", "fp_latent_window_size", "fp_1f_target_index")
_FLAGS = ("enable_bucket", "bucket_no_upscale", "no_resize_control", "multiple_target")
_PAIRS = ("resolution", "control_resolution")


def is_dataset(data: Any) -> bool:
    """A data set file: [general] or [[datasets]]."""
    return isinstance(data, dict) and ("datasets" in data or "general" in data)


def is_arguments(data: Any) -> bool:
    """A training file for --config_file: flat or in tables, with arguments of the trainer."""
    if not isinstance(data, dict):
        return False
    return len(set(flat(data)) & set(known()["musubi-tuner"]["arguments"])) >= 3


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in data.items():
        made.update(value if isinstance(value, dict) else {key: value})
    return made


def check_dataset(doc: Doc, found: Findings) -> None:
    """Faults of the data set TOML; the trainer refuses unknown keys here."""
    data = doc.data
    names = known()["musubi-tuner"]
    for key in data:
        if key not in ("general", "datasets"):
            _unknown(doc, found, (key,), key, ["general", "datasets"])
    general = data.get("general", {})
    general = general if isinstance(general, dict) else {}
    _keys(doc, found, ("general",), general, names["general"])
    rows = data.get("datasets", [])
    rows = rows if isinstance(rows, list) else []
    if not rows:
        found.add(
            "no-datasets",
            doc.line("datasets") or 1,
            "There is no [[datasets]]: nothing to train on",
            "[[datasets]] with image_directory",
        )
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            video = "video_directory" in row or "video_jsonl_file" in row
            more = names["video"] if video else []
            path = ("datasets", index)
            _keys(doc, found, path, row, [*names["general"], *names["dataset"], *more])
            _dataset(doc, found, index, row, general)
    _caches(doc, found, [r for r in rows if isinstance(r, dict)])


def _keys(
    doc: Doc, found: Findings, path: tuple[str | int, ...], row: dict[str, Any], names: list[str]
) -> None:
    for key, value in row.items():
        if key not in names:
            _unknown(doc, found, (*path, key), key, names)
            continue
        pair = isinstance(value, list) and len(value) == 2 and all(whole(v) for v in value)
        good = (
            (key in _WHOLE and whole(value) is not None and (whole(value) or 0) > 0)
            or (key in _FLAGS and isinstance(value, bool))
            or (key in _PAIRS and (pair or (whole(value) or 0) > 0))
            or (key not in (*_WHOLE, *_FLAGS, *_PAIRS))
        )
        if not good:
            kind = "true or false" if key in _FLAGS else "[width, height]"
            kind = "whole number" if key in _WHOLE else kind
            found.add(
                "wrong-type",
                doc.line(*path, key),
                f"`{key}` wants a {kind}, it has {value!r}: the trainer refuses the file",
                f"{key} = {'true' if key in _FLAGS else '1' if key in _WHOLE else '[1024, 1024]'}",
            )


def _unknown(
    doc: Doc, found: Findings, path: tuple[str | int, ...], key: str, names: list[str]
) -> None:
    near = get_close_matches(key, names, n=1, cutoff=0.7)
    more = {"repeats": "num_repeats", "caption_ext": "caption_extension"}.get(key)
    more = more or {"folder_path": "image_directory", "image_dir": "image_directory"}.get(key)
    target = more or (near[0] if near else None)
    found.add(
        "unknown-key",
        doc.line(*path),
        f"`{key}` is no key of musubi-tuner's data sets: the trainer refuses the file",
        f"Did you mean `{target}`?" if target else "Remove it.",
    )


def _dataset(
    doc: Doc, found: Findings, index: int, row: dict[str, Any], general: dict[str, Any]
) -> None:
    path = ("datasets", index)

    def value(key: str) -> Any:
        return row.get(key, general.get(key))

    folder = row.get("image_directory")
    video = "video_directory" in row or "video_jsonl_file" in row
    if not folder and not row.get("image_jsonl_file") and not video:
        found.add(
            "no-folder",
            doc.line(*path),
            "The data set has neither image_directory nor image_jsonl_file",
            'image_directory = "data/char"',
        )
    if folder and not value("caption_extension"):
        found.add(
            "missing-caption",
            doc.line(*path, "image_directory"),
            "`caption_extension` is missing: no caption file is found",
            'caption_extension = ".txt"',
        )
    if value("resolution") is None:
        found.add(
            "size-default",
            doc.line(*path),
            "`resolution` is missing: pictures are trained at 960 x 544",
            "resolution = [1024, 1024]",
        )
    if isinstance(folder, str):
        name = PurePosixPath(folder.replace("\\", "/").rstrip("/")).name
        number_ = re.match(r"^(\d+)_\w", name)
        if number_ and int(number_[1]) > 1 and value("num_repeats") in (None, 1):
            found.add(
                "folder-repeats",
                doc.line(*path, "image_directory"),
                f"The {number_[1]} of `{name}` repeats nothing in musubi-tuner",
                f"num_repeats = {number_[1]}",
            )
    if row.get("control_directory"):
        if value("control_resolution") is None:
            found.add(
                "control-size",
                doc.line(*path, "control_directory"),
                "`control_resolution` is missing: the control is resized to the target's size; "
                "the model was made with 1024 x 1024",
                "control_resolution = [1024, 1024]",
            )
    else:
        found.add(
            "template",
            doc.line(*path),
            "Without control pictures an edit model is trained with the text-to-image template",
            "Test it the same way, or give control_directory.",
        )


def _caches(doc: Doc, found: Findings, rows: list[dict[str, Any]]) -> None:
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        cache = row.get("cache_directory")
        if isinstance(cache, str) and cache in seen:
            found.add(
                "shared-cache",
                doc.line("datasets", index, "cache_directory"),
                f"Data sets {seen[cache] + 1} and {index + 1} share a cache: pictures of the same "
                "name overwrite each other",
                f'cache_directory = "{cache}_{index + 1}"',
            )
        elif isinstance(cache, str):
            seen[cache] = index


def check_arguments(
    given: Mapping[str, Any],
    line: Callable[[str], int | None],
    found: Findings,
    *,
    command: bool,
) -> None:
    """Faults of the training arguments, of a command line or of a --config_file."""
    names = known()["musubi-tuner"]["arguments"]
    for key in given:
        if key not in names and key not in ("edit", "edit_plus"):
            near = get_close_matches(key, names, n=1, cutoff=0.75)
            fate = "the command stops" if command else "it is ignored in silence"
            found.add(
                "unknown-key",
                line(key),
                f"`{key}` is no argument of musubi-tuner: {fate}",
                f"Did you mean `{near[0]}`?" if near else "Remove it.",
            )
    _alpha(given, line, found)
    _version(given, line, found)
    _optimisation(given, line, found)
    _lengths(given, line, found)


def _alpha(given: Mapping[str, Any], line: Callable[[str], int | None], found: Findings) -> None:
    rank, alpha = number(given.get("network_dim")), number(given.get("network_alpha"))
    if rank is None:
        found.add(
            "rank-default",
            line("network_dim"),
            "`network_dim` is missing: the rank is 4",
            "--network_dim 16 --network_alpha 16",
        )
    if alpha is None and (rank or 4) > 1:
        found.add(
            "alpha-trap",
            line("network_dim"),
            f"`network_alpha` is missing and 1 by default: the LoRA is trained and applied at "
            f"1/{rank or 4:g} of its strength",
            f"--network_alpha {rank or 4:g}",
        )
    elif alpha is not None and rank and alpha != rank:
        found.add(
            "alpha-scale",
            line("network_alpha"),
            f"alpha {alpha:g} at rank {rank:g} scales the LoRA by {alpha / rank:.3g}: with the "
            "same learning rate it learns that much less",
            f"--network_alpha {rank:g}",
        )
    module = given.get("network_module")
    if module != "networks.lora_qwen_image" and not str(module).startswith("networks.lo"):
        found.add(
            "no-network",
            line("network_module"),
            f"The network module is {module or 'missing'}",
            "--network_module networks.lora_qwen_image",
        )
    elif module in ("networks.lora", "networks.lora_flux"):
        found.add(
            "no-network",
            line("network_module"),
            f"{module} is made for another model: it finds no layer of Qwen-Image",
            "--network_module networks.lora_qwen_image",
        )


def _version(given: Mapping[str, Any], line: Callable[[str], int | None], found: Findings) -> None:
    weights = str(given.get("dit", ""))
    version = given.get("model_version")
    wanted = "edit-2509" if "2509" in weights else "edit-2511" if "2511" in weights else None
    if wanted and version != wanted and not given.get("edit_plus"):
        found.add(
            "model-version",
            line("model_version" if version else "dit"),
            f"The weights are {wanted}, the version is {version or 'original (the default)'}: "
            "another template and another treatment of references",
            f"--model_version {wanted}",
        )
    elif version is not None and version not in VERSIONS:
        found.add(
            "model-version",
            line("model_version"),
            f"There is no version {version!r}",
            f"--model_version one of {', '.join(VERSIONS)}",
        )


def _optimisation(
    given: Mapping[str, Any], line: Callable[[str], int | None], found: Findings
) -> None:
    rate = number(given.get("learning_rate"))
    if rate is None:
        found.add(
            "no-rate",
            line("learning_rate"),
            "`learning_rate` is missing: the default 2e-6 learns next to nothing",
            "--learning_rate 5e-5",
        )
    elif rate > 3e-4:
        found.add("rate-high", line("learning_rate"), f"{rate:g} is high", "--learning_rate 5e-5")
    if given.get("mixed_precision") not in ("bf16", "fp16"):
        found.add(
            "precision",
            line("mixed_precision"),
            "`mixed_precision` is missing: everything is computed in fp32",
            "--mixed_precision bf16",
        )
    if given.get("fp8_base") and not given.get("fp8_scaled"):
        found.add(
            "fp8",
            line("fp8_base"),
            "fp8_base alone casts the weights without scales",
            "--fp8_base --fp8_scaled",
        )
    if not given.get("gradient_checkpointing"):
        found.add(
            "vram",
            line("gradient_checkpointing"),
            "Without gradient checkpointing about 35 GB of activations are added at 1024 px",
            "--gradient_checkpointing",
        )


def _lengths(given: Mapping[str, Any], line: Callable[[str], int | None], found: Findings) -> None:
    if whole(given.get("max_train_epochs")) and whole(given.get("max_train_steps")):
        found.add(
            "length-readings",
            line("max_train_steps"),
            "max_train_epochs overrides max_train_steps: the steps are "
            "epochs x ceil(batches / accumulation)",
            "Give one of the two.",
        )
    if not any(given.get(k) for k in ("max_train_epochs", "max_train_steps")):
        found.add("no-length", line("dit"), "1,600 steps by default", "--max_train_steps 3000")
    if not any(given.get(k) for k in ("save_every_n_epochs", "save_every_n_steps")):
        found.add(
            "no-checkpoints",
            line("output_dir"),
            "Nothing is saved before the end",
            "--save_every_n_steps: a tenth of the steps",
        )
    last = whole(given.get("save_last_n_epochs"))
    epochs, every = whole(given.get("max_train_epochs")), whole(given.get("save_every_n_epochs"))
    if last and epochs and every and last < epochs // every:
        found.add(
            "pruned-checkpoints",
            line("save_last_n_epochs"),
            f"Of {epochs // every} checkpoints only the last {last} stay",
            "Leave save_last_n_epochs out.",
        )
    steps_kept, step_every = (
        whole(given.get("save_last_n_steps")),
        whole(given.get("save_every_n_steps")),
    )
    total = whole(given.get("max_train_steps"))
    if steps_kept and step_every and total and steps_kept < total:
        found.add(
            "pruned-checkpoints",
            line("save_last_n_steps"),
            f"save_last_n_steps counts steps, not files: what is older than {steps_kept} steps is "
            "deleted",
            "Leave save_last_n_steps out.",
        )


def mended_dataset(text: str, findings: list[dict[str, Any]]) -> str | None:
    """The TOML with what a line tells mended: keys renamed or dropped, missing ones added.

    None where what comes out is no TOML: no file is better than a broken one.
    """
    rows = text.splitlines()
    drop: set[int] = set()
    add: dict[int, list[str]] = {}
    for finding in findings:
        line, rule, instead = finding["line"], finding["rule"], str(finding["instead"])
        if line is None or not 1 <= line <= len(rows):
            continue
        at = line - 1
        if rule == "unknown-key":
            target = re.search(r"`(\w+)`", instead)
            if target and "=" in rows[at]:
                rows[at] = re.sub(r"^(\s*)[\w\"'-]+", rf"\g<1>{target[1]}", rows[at])
            elif "=" in rows[at]:
                drop.update(_value_rows(rows, at))
        elif rule in ("wrong-type", "shared-cache") and " = " in instead and "=" in rows[at]:
            drop.update(_value_rows(rows, at)[1:])
            rows[at] = instead
        elif rule in ("size-default", "control-size", "folder-repeats", "missing-caption"):
            key = instead.split(" = ")[0]
            same = next((i for i in _table_rows(rows, at) if _key_of(rows[i]) == key), None)
            if same is None:
                add.setdefault(at, []).append(instead)
            else:
                drop.update(_value_rows(rows, same)[1:])
                rows[same] = instead
    made: list[str] = []
    for index, row in enumerate(rows):
        if index not in drop:
            made.append(row)
        made += add.get(index, [])
    mended = "\n".join(made) + "\n"
    try:
        tomllib.loads(mended)
    except tomllib.TOMLDecodeError:
        return None
    return mended


def _value_rows(rows: list[str], at: int) -> list[int]:
    """Numbers of the rows that one value takes: a list may go over several."""
    for end in range(at + 1, min(at + MOST_ROWS, len(rows)) + 1):
        try:
            tomllib.loads("\n".join(rows[at:end]))
        except tomllib.TOMLDecodeError:
            continue
        return list(range(at, end))
    return [at]


def _key_of(row: str) -> str:
    return row.partition("=")[0].strip().strip("\"'")


def _table_rows(rows: list[str], at: int) -> range:
    """Numbers of the rows of the table that row `at` belongs to."""
    heads = [i for i, row in enumerate(rows) if row.lstrip().startswith("[") and "=" not in row]
    first = max((i for i in heads if i <= at), default=0)
    return range(first, min((i for i in heads if i > at), default=len(rows)))
