"""What a LoRA file made elsewhere says of itself: step, trainer, settings, pictures.

In: a file's name and the strings of its header. Out: what stands there, and None for what does not;
nothing is guessed. ai-toolkit, musubi-tuner, kohya's and diffusers' scripts, SimpleTuner, Limner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Unit = Literal["updates", "epochs", "order"]
"""What a checkpoint's number counts; order: only its place among the others is known."""

FOLDER = re.compile(r"^checkpoint-(\d+)$")
"""diffusers' scripts and SimpleTuner: one folder a checkpoint."""
_STEP = re.compile(r"[_-]step_?(\d+)$|^step_(\d+)$")
_AITOOLKIT = re.compile(r"_(\d{9})$")
_OTHER = re.compile(r"_(\d{6,8})$")
_EPOCH = re.compile(r"-(\d{6})$")
_LONGEST = 60  # of a header's text in our records
_QWEN = "qwenimage"

EDITIONS = {
    "2511": "Qwen-Image-Edit-2511",
    "2509": "Qwen-Image-Edit-Plus",
    "plus": "Qwen-Image-Edit-Plus",
    "edit": "Qwen-Image-Edit",
}
"""Mark in a name -> the edition it means, the first that fits; without any it is Qwen-Image."""


@dataclass(frozen=True)
class Mark:
    """Where a file stands in its run. number None: neither its name nor its header says it.

    stated: the step in the header where it contradicts the name.
    """

    number: int | None
    unit: Unit = "updates"
    stated: int | None = None


def mark(path: Path, header: Mapping[str, str]) -> Mark:
    """The number of a checkpoint: by its file name, else by its header.

    ai-toolkit counts its files from 0 (`name_000000500` is written after update 501), kohya's and
    musubi-tuner's `-000005` is an epoch, which only their header turns into updates.
    """
    stated, stem = stated_step(header), path.stem
    if found := _STEP.search(stem):
        return _beside(int(found[1] or found[2]), stated)
    if found := _AITOOLKIT.search(stem):
        number = int(found[1])
        exact = header.get("ss_steps") == str(number)  # somebody else's nine digits
        return Mark(number if exact else number + 1)
    if found := _OTHER.search(stem):
        return _beside(int(found[1]), stated)
    if found := FOLDER.match(path.parent.name):
        return _beside(int(found[1]), stated)
    if stated is not None:
        return Mark(stated)
    if found := _EPOCH.search(stem):
        return Mark(int(found[1]), "epochs")
    return Mark(None, "order")


def _beside(number: int, stated: int | None) -> Mark:
    return Mark(number, stated=stated if stated not in (None, number) else None)


def stated_step(header: Mapping[str, str]) -> int | None:
    """Optimizer updates in a header (limner.step, ss_steps, training_info), else None."""
    inner = _json(header.get("training_info")).get("step")
    for value in (header.get("limner.step"), header.get("ss_steps"), inner):
        if value is not None and str(value).isdecimal():
            return int(value)
    return None


def program(header: Mapping[str, str]) -> str:
    """The trainer that a header names, with its version where it does; empty when it names none."""
    software = _json(header.get("software"))
    if name := str(software.get("name") or ""):
        return f"{name} {software.get('version') or ''}".strip()[:_LONGEST]
    if version := header.get("limner.version"):
        return f"Limner {version}"[:_LONGEST]
    module = header.get("ss_network_module", "")
    if module.endswith("_qwen_image"):
        return "musubi-tuner"
    return "a program of kohya's kind" if module else ""


def architecture(header: Mapping[str, str]) -> tuple[str, str]:
    """(header key, what model it names); two empty strings when no key does."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        if value := header.get(key, "").strip():
            return key, value[:_LONGEST]
    return "", ""


def edition(name: str) -> str:
    """Qwen-Image, Qwen-Image-Edit-Plus (2509) or -2511 of an architecture's name; "" for another
    model, and for `qwen_image`, which ai-toolkit writes for all of them."""
    stem, slash, _ = name.partition("/")
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"-\d+x\d+$", "", stem.lower()))
    if not plain.startswith(_QWEN) or not slash:
        return ""
    return next((said for sign, said in EDITIONS.items() if sign in plain), "Qwen-Image")


def is_of_this_model(name: str) -> bool:
    """Whether an architecture's name is one of the Qwen-Image family's."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).startswith(_QWEN)


def settings(header: Mapping[str, str]) -> dict[str, Any]:
    """Settings that kohya's keys state, under the names of our own runs; nothing else."""
    found: dict[str, Any] = {}
    for key, name, read in (
        ("ss_learning_rate", "learning_rate", float),
        ("ss_total_batch_size", "batch", int),
        ("ss_seed", "seed", int),
    ):
        try:
            found[name] = read(header[key])
        except (KeyError, ValueError):
            continue
    side = re.fullmatch(r"\(?\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)?", header.get("ss_resolution", ""))
    if side:
        found["resolution"] = max(int(n) for n in side.groups() if n)
    if header.get("ss_optimizer"):
        found["optimizer"] = header["ss_optimizer"][:_LONGEST]
    return found


def pictures(header: Mapping[str, str]) -> int | None:
    """Pictures that the file was trained on, each once; None when it does not say.

    ss_dataset_dirs counts them; ss_tag_frequency by the tag that most captions of a folder have.
    ai-toolkit's own ss_tag_frequency always says 1.
    """
    counts: list[int] = []
    for row in _json(header.get("ss_dataset_dirs")).values():
        if isinstance(row, dict) and isinstance(row.get("img_count"), int):
            counts.append(row["img_count"])
    if not counts and not header.get("software"):
        for tags in _json(header.get("ss_tag_frequency")).values():
            if isinstance(tags, dict):
                counts.append(max((n for n in tags.values() if isinstance(n, int)), default=0))
    return sum(counts) or None


def words_of_captions(header: Mapping[str, str]) -> list[str]:
    """The tags of ss_tag_frequency; [] when the file has none."""
    rows = _json(header.get("ss_tag_frequency")).values()
    return [str(tag) for tags in rows if isinstance(tags, dict) for tag in tags]


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
