"""Which base model: its folder, its fingerprint and its numbers, without loading torch.

A base folder may carry `limner_base.json` with numbers that differ from Qwen-Image-Edit-2509's (the
miniature does). Without it the published numbers of the real model stand.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.project.files import canonical_json, sha256_bytes

MINIATURE = Path(__file__).parent / "data" / "miniature"
NUMBERS_FILE = "limner_base.json"
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class BaseInfo:
    """One base model. Areas in pixels, times in optimizer steps; sources in `docs/training.md`."""

    name: str
    path: str
    fingerprint: str = ""
    resolution: int = 1024
    """Side of the pictures it was made for."""
    sampling_steps: int = 50
    true_cfg_scale: float = 4.0
    learning_rate: float = 1e-4
    train_steps: int = 2000
    batch: int = 1
    condition_area: int = 384 * 384
    """Area to which the text encoder's picture of a reference is resized (diffusers constant)."""
    reference_area: int = 1024 * 1024
    """Area to which a reference is resized before the autoencoder (diffusers constant)."""
    smallest_face_px: int = 64
    """Faces narrower than this are not assessable."""
    is_drawing: bool = False
    """Its pictures are drawings: shown wherever they appear."""

    def as_dict(self) -> dict[str, Any]:
        """For records; the path stays out, it belongs to one machine."""
        return {k: v for k, v in asdict(self).items() if k != "path"}


def resolve_base(name: str) -> BaseInfo:
    """`miniature`, a folder in diffusers layout, or a Hugging Face id already downloaded.

    Raises InputError: not there, files missing; says how to get it.
    """
    folder = MINIATURE if name == "miniature" else Path(name).expanduser()
    if not folder.is_dir() and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return BaseInfo(name, _downloaded(name), fingerprint=_fingerprint(Path(_downloaded(name))))
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"No base model at {name!r}: model_index.json is missing",
            where=str(folder),
            fix="Name a folder in diffusers layout, a Hugging Face id, or `miniature`.",
        )
    missing = [p for p in ("transformer", "vae", "text_encoder") if not (folder / p).is_dir()]
    if missing:
        raise InputError(f"The base model lacks {', '.join(missing)}/", where=str(folder))
    info = BaseInfo(name, str(folder), fingerprint=_fingerprint(folder))
    numbers = folder / NUMBERS_FILE
    if not numbers.is_file():
        return info
    known = {f.name for f in fields(BaseInfo)} - {"name", "path", "fingerprint"}
    try:
        given = json.loads(numbers.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{NUMBERS_FILE} cannot be read: {error}", where=str(numbers)) from None
    return replace(info, **{k: v for k, v in given.items() if k in known})


def _downloaded(repo_id: str) -> str:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            f"{repo_id} is a Hugging Face id, and huggingface_hub is not installed",
            fix="pip install 'limner[train]', or name a local folder.",
        ) from None
    try:
        return str(snapshot_download(repo_id, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        raise InputError(
            f"{repo_id} is not on this machine",
            fix=f"Download it (about 58 GB for Qwen-Image-Edit-2509): hf download {repo_id}",
        ) from None


def _fingerprint(folder: Path) -> str:
    """SHA-256 over name, size and the first and last MiB of every weight and config file.

    Reading 58 GB for a hash would take minutes; a change inside a weight file that keeps its size,
    header and both ends is not seen.
    """
    parts = []
    for file in sorted(folder.rglob("*")):
        if file.suffix not in (".safetensors", ".json", ".txt") or file.name == "measured.json":
            continue
        size = file.stat().st_size
        with file.open("rb") as source:
            head = source.read(_EDGE_BYTES)
            source.seek(max(size - _EDGE_BYTES, 0))
            tail = source.read(_EDGE_BYTES)
        parts.append([file.relative_to(folder).as_posix(), size, sha256_bytes(head + tail)])
    return sha256_bytes(canonical_json(parts).encode())
