"""Which keys a trainer reads, of which type, and where a misplaced one belongs.

In: a mapping of a file. Out: findings for keys that nothing reads and values of a wrong type. The
names and defaults were read in the trainers' sources (data/known_keys.json names the versions).
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, cast

from limner.training.lint.findings import Findings
from limner.training.lint.reading import Doc, Path_, number, whole

MOVES: dict[str, str | None] = {
    "optimizer.name": "train.optimizer",
    "optimizer.lr": "train.lr",
    "optimizer.type": "train.optimizer",
    "optimizer.learning_rate": "train.lr",
    "optimizer.weight_decay": "train.optimizer_params.weight_decay",
    "training.steps": "train.steps",
    "training.epochs": None,
    "training.batch_size": "train.batch_size",
    "training.gradient_accumulation": "train.gradient_accumulation",
    "training.gradient_accumulation_steps": "train.gradient_accumulation",
    "training.lr": "train.lr",
    "training.learning_rate": "train.lr",
    "training.optimizer": "train.optimizer",
    "training.resolution": "datasets[].resolution",
    "train.epochs": None,
    "train.learning_rate": "train.lr",
    "train.resolution": "datasets[].resolution",
    "train.trigger_word": "trigger_word",
    "train.save_every": "save.save_every",
    "train.quantize": "model.quantize",
    "model.quantize_dtype": "model.qtype",
    "model.quantization": "model.qtype",
    "model.is_qwen": "model.arch",
    "model.is_qwen_image": "model.arch",
    "network.alpha": "network.linear_alpha",
    "network.dim": "network.linear",
    "network.network_dim": "network.linear",
    "save.dtype_save": "save.dtype",
    "sample.steps": "sample.sample_steps",
    "sample.cfg": "sample.guidance_scale",
    "sample.guidance": "sample.guidance_scale",
}
"""Where the guides and other trainers put a key, and where ai-toolkit reads it (None: nowhere)."""

ANY = {
    *("resolution", "neg", "samples", "prompts", "control_path", "attention_backend", "alpha"),
    *("network_multiplier", "scale", "augmentations", "mask_path", "cache_size_limit", "prompt_2"),
    *("linear_alpha", "validation_sigmas", "replacements", "extra_values", "network_weight"),
    *("dropout", "conv_alpha", "ctrl_img", "ctrl_img_1", "seed", "controls", "random_triggers"),
}
"""Keys of which the default's type says nothing."""


@cache
def known() -> dict[str, Any]:
    """data/known_keys.json: trainer -> version and keys."""
    file = resources.files("limner.training.lint") / "data" / "known_keys.json"
    return cast(dict[str, Any], json.loads(file.read_text("utf-8")))


def sections() -> dict[str, dict[str, Any]]:
    """ai-toolkit's sections: key -> default (None: none, or not plain)."""
    return cast(dict[str, dict[str, Any]], known()["ai-toolkit"]["sections"])


def check_section(
    doc: Doc, found: Findings, section: str, data: dict[str, Any], path: Path_
) -> None:
    """Unknown keys and wrong types of one mapping of an ai-toolkit file."""
    names = sections()[section]
    for key, value in data.items():
        line = doc.line(*path, key)
        if key in names:
            _check_type(found, line, f"{section}.{key}", key, value, names[key])
            continue
        what, instead, rule = unknown(section, key, value, names)
        found.add(rule, line, what, instead)


def unknown(section: str, key: str, value: Any, names: dict[str, Any]) -> tuple[str, str, str]:
    place = f"{section}.{key}"
    shown = _short(value)
    said = f"`{place}` is no key of ai-toolkit: it is ignored in silence"
    if place in MOVES:
        target = MOVES[place]
        if target is None:
            return f"{said}; there are no epochs in it", "Set train.steps alone.", "epochs-key"
        if key in ("quantize_dtype", "quantization"):
            what = f"{said}; `quantize: true` then gives qfloat8, not {shown}"
            return what, f"model.qtype: {shown} (qfloat8 is the default)", "quantize-dtype"
        if key.startswith("is_qwen"):
            return f"{said}; without `arch` the model is taken for SD 1", "model.arch", "no-arch"
        return f"{said}; it is read at `{target}` only", f"{target}: {shown}", "moved-key"
    elsewhere = [s for s, keys in sections().items() if key in keys and s not in ("samples",)]
    near = get_close_matches(key, list(names), n=1, cutoff=0.75)
    if near:
        return said, f"Did you mean `{near[0]}`?", "unknown-key"
    if elsewhere:
        target = key if elsewhere[0] == "process" else f"{elsewhere[0]}.{key}"
        return f"{said}; it is read at `{target}` only", f"{target}: {shown}", "moved-key"
    return said, "Remove it.", "unknown-key"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        text = value
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_type(
    found: Findings, line: int | None, place: str, key: str, value: Any, default: Any
) -> None:
    """A value whose type is not that of the default."""
    wanted = wanted_type(key, default)
    if wanted is None or value is None or fits(value, wanted):
        return
    shown = _short(value)
    quoted = isinstance(value, str) and wanted in ("number", "whole number", "true or false")
    what = f"`{place}` wants a {wanted}, it has {'the text ' if quoted else ''}{shown!r}"
    found.add("wrong-type", line, what, f"{place}: {_converted(value, wanted)}")


def wanted_type(key: str, default: Any) -> str | None:
    """The type a key wants by its default, or None when anything goes."""
    if key in ANY or default is None:
        return None
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return "number"
    if isinstance(default, float):
        return "number"
    if isinstance(default, str):
        return "text"
    return "list" if isinstance(default, list) else "mapping" if isinstance(default, dict) else None


def fits(value: Any, wanted: str) -> bool:
    """Whether a value is of that type."""
    if wanted == "true or false":
        return isinstance(value, bool)
    if wanted == "number":
        return number(value) is not None
    if wanted == "whole number":
        return whole(value) is not None
    kinds: dict[str, type] = {"text": str, "list": list, "mapping": dict}
    return isinstance(value, kinds[wanted])


def _converted(value: Any, wanted: str) -> str:
    if isinstance(value, str):
        text = value.strip()
        if wanted == "true or false" and text.lower() in ("yes", "on", "true", "1"):
            return "true"
        if wanted == "true or false" and text.lower() in ("no", "off", "false", "0"):
            return "false"
        try:
            return f"{float(text):g}"
        except ValueError:
            pass
    return f"<{wanted}>"
