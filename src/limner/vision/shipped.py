"""Where the data that comes with Limner's eyes lies: networks, centres, calibrations."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from limner.errors import LimnerError


def data_file(name: str) -> Path:
    """A file of limner/vision/data. Raises LimnerError when the installation lacks it."""
    path = _path(name)
    if not path.is_file():
        raise LimnerError(f"Limner's own file {name} is missing", fix="Install Limner again.")
    return path


def network_missing(name: str) -> str | None:
    """None when a shipped network can run here, else the reason in words."""
    if find_spec("onnxruntime") is None:
        return "install limner[vision]"
    return None if _path(name).is_file() else f"{name} is missing: install Limner again"


def _path(name: str) -> Path:
    return Path(str(resources.files("limner.vision"))) / "data" / name
