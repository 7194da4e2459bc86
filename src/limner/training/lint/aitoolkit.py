"""Faults of an ai-toolkit file: what the run would really do, section by section.

In: a `Setup`. Out: findings. Facts from ai-toolkit 0.12.26; other versions may differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from limner.training.lint.findings import Findings
from limner.training.lint.reading import number, whole
from limner.training.lint.runs import DEFAULTS, check_run
from limner.training.lint.setup import ARCHS, Setup, arch

FOLDER_NUMBER = re.compile(r"^(\d+)_\w")
ABSTRACT = {"sks", "tok", "ohwx", "ohwx_woman", "ohwx_man", "zwx", "xyz"}


def check_setup(setup: Setup, found: Findings, images: int | None, v: Mapping[str, float]) -> None:
    """All faults of one process."""
    _model(setup, found)
    _datasets(setup, found)
    _controls(setup, found)
    _network(setup, found)
    check_run(setup, found, images, v)
    _samples(setup, found)
    _trigger(setup, found)


def _model(setup: Setup, found: Findings) -> None:
    name, stated = setup.text("model", "name_or_path"), setup.text("model", "arch")
    line = setup.line("model", "name_or_path")
    if not name:
        found.add(
            "no-model",
            setup.line("model"),
            "No base model is named",
            "model.name_or_path: Qwen/Qwen-Image-Edit-2509",
        )
    qwen = arch(setup) in ARCHS
    if not stated and qwen:
        found.add(
            "no-arch",
            line,
            "`model.arch` is missing: ai-toolkit takes the model for Stable Diffusion 1, not Qwen",
            "arch: qwen_image_edit_plus with control pictures, or qwen_image without",
        )
    elif stated and stated.split(":")[0] not in ARCHS and "qwen" in name.lower():
        found.add(
            "wrong-arch",
            setup.line("model", "arch"),
            f"`{stated}` is no architecture for {name}",
            f"arch: one of {', '.join(ARCHS)}",
        )
    plain, edit = name.lower(), arch(setup)
    if stated and edit == "qwen_image_edit" and "edit-25" in plain:
        found.add(
            "wrong-arch",
            setup.line("model", "arch"),
            "qwen_image_edit is the first edit model: one control, another template and size",
            "arch: qwen_image_edit_plus",
        )
    if (
        stated
        and edit.startswith("qwen_image_edit")
        and plain.startswith("qwen/")
        and ("edit" not in plain)
    ):
        found.add(
            "wrong-arch",
            setup.line("model", "arch"),
            f"{name} is a text-to-image model; {stated} feeds it references it has never seen",
            "arch: qwen_image, or an edit model",
        )
    if edit == "qwen_image" and "edit" in plain and stated:
        found.add(
            "template",
            setup.line("model", "arch"),
            "Edit weights are trained with the text-to-image template (34 tokens dropped)",
            "Test with the same template; ComfyUI's edit node always uses the other one.",
        )
    if setup.value("train", "noise_scheduler") not in (None, "flowmatch") and qwen:
        found.add(
            "sampler",
            setup.line("train", "noise_scheduler"),
            "Qwen-Image is a flow-matching model",
            "noise_scheduler: flowmatch",
        )


def _datasets(setup: Setup, found: Findings) -> None:
    rows = setup.datasets
    if not rows:
        found.add(
            "no-datasets",
            setup.doc.line(*setup.base, "datasets") if setup.base else 1 + setup.doc.offset,
            "There are no datasets: nothing to train on",
            "datasets: [{folder_path: ..., caption_ext: txt, resolution: [512, 768, 1024]}]",
        )
    for index, row in enumerate(rows):
        folder = row.get("folder_path") or row.get("dataset_path")
        if not isinstance(folder, str) or not folder.strip():
            found.add(
                "no-folder",
                setup.dataset_line(index),
                "The data set has no folder_path",
                "folder_path: the folder with pictures and .txt captions",
            )
            continue
        _folder_number(setup, found, index, folder, row)
        _sizes(setup, found, index, row)
        if row.get("flip_x") is True:
            found.add(
                "flip",
                setup.dataset_line(index, "flip_x"),
                "Mirrored faces teach a second, mirrored person",
                "flip_x: false",
            )
        dropout = number(row.get("caption_dropout_rate"))
        if dropout is not None and not 0 <= dropout <= 1:
            found.add(
                "wrong-type",
                setup.dataset_line(index, "caption_dropout_rate"),
                f"A share of {dropout:g} cannot be",
                "caption_dropout_rate: 0.05",
            )
        elif dropout is not None and dropout > 0.1:
            found.add(
                "dropout-high",
                setup.dataset_line(index, "caption_dropout_rate"),
                f"{100 * dropout:.0f} % of the passes see no caption at all",
                "caption_dropout_rate: 0.05",
            )
    _ratio(setup, found)


def _folder_number(
    setup: Setup, found: Findings, index: int, folder: str, row: dict[str, Any]
) -> None:
    """`40_name` means 40 repeats to kohya's scripts and nothing here."""
    name = PurePosixPath(folder.replace("\\", "/").rstrip("/")).name
    number_ = FOLDER_NUMBER.match(name)
    if number_ and whole(row.get("num_repeats")) in (None, 1) and int(number_[1]) > 1:
        found.add(
            "folder-repeats",
            setup.dataset_line(index, "folder_path"),
            f"The {number_[1]} of `{name}` repeats nothing in ai-toolkit: every picture is shown "
            "once a round; with one folder only train.steps counts, with several the ratio of "
            "passes is another than planned",
            f"num_repeats: {number_[1]}",
        )


def _sizes(setup: Setup, found: Findings, index: int, row: dict[str, Any]) -> None:
    value = row.get("resolution")
    sides = value if isinstance(value, list) else [value] if value is not None else []
    line = setup.dataset_line(index, "resolution")
    wrong = [s for s in sides if whole(s) is None or not 64 <= (whole(s) or 0) <= 4096]
    if wrong:
        found.add(
            "wrong-type",
            line,
            f"`resolution` wants sides in px, it has {wrong[0]!r}",
            "resolution: [512, 768, 1024]",
        )
        return
    if len(sides) > len(set(sides)):
        found.add(
            "duplicate-resolution",
            line,
            f"Each entry makes another copy of the data set: {sides} shows every picture "
            f"{len(sides)} times a round at {sorted(set(sides))}, it is no width and height",
            f"resolution: {sorted(set(sides))}",
        )
    elif len(sides) > 1:
        found.add("copies", line, f"Every picture is shown {len(sides)} times a round", "As meant?")
    if value is None:
        found.add(
            "size-default",
            setup.dataset_line(index),
            "`resolution` is missing: pictures are trained at 512 px",
            "resolution: [512, 768, 1024]",
        )


def _ratio(setup: Setup, found: Findings) -> None:
    rows = setup.datasets
    numbers = [
        FOLDER_NUMBER.match(PurePosixPath(str(r.get("folder_path", "")).rstrip("/")).name)
        for r in rows
    ]
    if len(rows) > 1 and not all(numbers):
        repeats = [whole(r.get("num_repeats")) or 1 for r in rows]
        found.add(
            "ratio",
            setup.dataset_line(0),
            f"The data sets share the passes as files x num_repeats {repeats}",
            "`limner plan --images N --repeats R --extra NxR` counts it.",
        )


def _controls(setup: Setup, found: Findings) -> None:
    """Edit-Plus cannot train without control pictures."""
    if arch(setup) != "qwen_image_edit_plus":
        return
    rows = list(enumerate(setup.datasets)) or [(-1, {})]
    for index, row in rows:
        paths = [row.get("control_path"), *(row.get(f"control_path_{n}") for n in (1, 2, 3))]
        same = row.get("control_from_same_folder") is True
        if not any(paths) and not same:
            found.add(
                "missing-control",
                setup.dataset_line(index) if index >= 0 else setup.line("model", "name_or_path"),
                "The run stops: `Missing control images for QwenImageEditPlusModel`; pictures and "
                "captions alone are not enough for this architecture",
                "control_path: a folder with a picture of the same name for each, or arch: "
                "qwen_image (text-to-image on the edit weights)",
            )
        if same and setup.flag("train", "cache_text_embeddings"):
            found.add(
                "control-cache",
                setup.dataset_line(index, "control_from_same_folder"),
                "With cache_text_embeddings the cache looks at control_path only and raises",
                "cache_text_embeddings: false, or control_path",
            )
        if isinstance(row.get("control_path"), list) and len(row["control_path"]) > 3:
            found.add(
                "wrong-type",
                setup.dataset_line(index, "control_path"),
                "At most three control folders are read",
                "control_path: one to three folders",
            )
    if (setup.count("train", "batch_size", 1)) > 1:
        found.add(
            "edit-batch",
            setup.line("train", "batch_size"),
            "Batches above 1 on edit_plus failed until September 2026",
            "batch_size: 1 and gradient_accumulation for the rest",
        )
    if setup.value("train", "validation_config") is not None:
        found.add(
            "validation-edit",
            setup.line("train", "validation_config"),
            "Validation encodes a prompt without controls and raises on edit_plus",
            "Remove validation_config.",
        )
    found.add(
        "upstream",
        setup.line("model", "arch"),
        "On edit_plus this version shows the text encoder an almost black control picture (only "
        "the latents carry it) and encodes controls anew every step",
        "Previews will not reveal it; judge in ComfyUI or diffusers.",
    )


def _network(setup: Setup, found: Findings) -> None:
    rank = setup.value("network", "linear") or setup.value("network", "rank")
    kind = setup.text("network", "type") or "lora"
    if kind == "lora" and rank is None:
        found.add(
            "rank-default",
            setup.line("network"),
            f"`network.linear` is missing: the rank is {DEFAULTS['rank']}",
            "network: {type: lora, linear: 16, linear_alpha: 16}",
        )
    alpha = setup.real("network", "linear_alpha")
    alpha = setup.real("network", "alpha") if alpha is None else alpha
    side, line = number(rank), setup.line("network", "linear_alpha")
    if arch(setup) not in ARCHS or kind != "lora" or alpha is None or side is None:
        return
    if alpha != side:
        found.add(
            "alpha-ignored",
            line,
            f"alpha {alpha:g} is ignored for Qwen-Image: alpha = rank = {side:g} is forced and "
            "none is stored",
            f"linear_alpha: {side:g}",
        )
    elif re.search(r"stab|match|scale", setup.comment("network", "linear_alpha"), re.IGNORECASE):
        found.add(
            "alpha-claim",
            line,
            "linear_alpha makes nothing more stable: for Qwen-Image it is ignored and alpha = rank "
            "is forced",
            "Leave it equal to linear; it has no effect.",
        )


def _samples(setup: Setup, found: Findings) -> None:
    sample = setup.data.get("sample")
    if not sample:
        return
    sampler = setup.text("sample", "sampler") or "ddpm"
    if arch(setup) in ARCHS and sampler != "flowmatch":
        stated = setup.text("sample", "sampler")
        found.add(
            "sampler",
            setup.line("sample", "sampler"),
            f"Samples are drawn with {sampler}{'' if stated else ' (the default)'}, which is no "
            "flow-matching sampler; it must be that of train.noise_scheduler",
            "sampler: flowmatch",
        )
    if setup.value("sample", "width") is None or setup.value("sample", "height") is None:
        found.add(
            "sample-size",
            setup.line("sample"),
            "Samples are drawn at 512 x 512, where faces look worse than they are",
            "width: 1024, height: 1024",
        )
    rows = setup.value("sample", "samples") or setup.value("sample", "prompts") or []
    if arch(setup) == "qwen_image_edit_plus" and isinstance(rows, list) and rows:
        bare = [r for r in rows if not (isinstance(r, dict) and r.get("ctrl_img_1"))]
        if bare:
            key = "samples" if setup.value("sample", "samples") else "prompts"
            found.add(
                "sample-control",
                setup.line("sample", key),
                f"{len(bare)} of {len(rows)} samples have no control picture, which edit_plus "
                "needs",
                "samples: [{prompt: ..., ctrl_img_1: reference.png}]",
            )


def _trigger(setup: Setup, found: Findings) -> None:
    words = [setup.process.get("trigger_word"), *(r.get("trigger_word") for r in setup.datasets)]
    given = [w for w in words if isinstance(w, str) and w.strip()]
    if not given:
        found.add(
            "no-trigger",
            setup.doc.line(*setup.base, "trigger_word") if setup.base else 1 + setup.doc.offset,
            "No trigger_word: it is neither put into captions nor written into the file",
            "trigger_word: grace_char",
        )
    for word in given:
        if word.strip().lower() in ABSTRACT:
            found.add(
                "abstract-trigger",
                setup.doc.line(*setup.base, "trigger_word"),
                f"{word!r} is an abstract token; Replicate's Qwen trainer advises against them, "
                "the guides ask for them, nobody tested it",
                "trigger_word: a name such as grace_char",
            )
