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

T2I, EDIT_2509, EDIT_2511 = "qwen-image", "qwen-image-edit-2509", "qwen-image-edit-2511"
_PIPELINES = {"QwenImagePipeline": T2I, "QwenImageEditPlusPipeline": EDIT_2509}
WEIGHTS = ("transformer", "vae", "text_encoder")
_PARTS = (*WEIGHTS, "tokenizer", "scheduler")


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
    face_weight: float = 1.0
    """How much more a training's loss counts in the face; 1 = all of a picture alike."""
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
    family: str = EDIT_2509
    """qwen-image (text to image only), qwen-image-edit-2509 or -2511; read from the folder."""

    @property
    def templates(self) -> tuple[str, ...]:
        """Prompt templates this base was made for."""
        return ("t2i",) if self.family == T2I else ("t2i", "edit")

    def require_template(self, template: str) -> None:
        """Raise InputError when the base cannot be used with this template."""
        if template not in self.templates:
            raise InputError(
                f"{self.family} makes pictures from text alone; it has no {template} template",
                where="character.yaml, training.template",
                fix="Set training.template to t2i, or name an edit base such as "
                "Qwen/Qwen-Image-Edit-2509.",
            )

    def as_dict(self) -> dict[str, Any]:
        """For records; the path stays out, it belongs to one machine."""
        return {k: v for k, v in asdict(self).items() if k != "path"}


def resolve_base(name: str) -> BaseInfo:
    """`miniature`, a folder in diffusers layout, or a Hugging Face id already downloaded.

    Which model it is stands in model_index.json and transformer/config.json. Raises InputError:
    not there, no Qwen-Image, files missing; says which and how to get them.
    """
    folder = MINIATURE if name == "miniature" else Path(name).expanduser()
    again = "Copy or download the folder again."
    if not folder.is_dir() and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        folder = Path(_downloaded(name))
        again = f"Finish the download, it goes on where it stopped: hf download {name}"
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"No base model at {name!r}: model_index.json is missing",
            where=str(folder),
            fix="Name a folder in diffusers layout, a Hugging Face id, or `miniature`.",
        )
    family = _family(folder)
    missing = _missing(folder, family)
    if missing:
        listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise InputError(f"The base model lacks {listed}", where=str(folder), fix=again)
    info = BaseInfo(name, str(folder), fingerprint=_fingerprint(folder), family=family)
    numbers = folder / NUMBERS_FILE
    if not numbers.is_file():
        return info
    known = {f.name for f in fields(BaseInfo)} - {"name", "path", "fingerprint", "family"}
    given = _json(numbers)
    return replace(info, **{k: v for k, v in given.items() if k in known})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError(f"{path.name} holds no JSON object", where=str(path))
    return found


def _family(folder: Path) -> str:
    """Which model a folder holds. Raises InputError for one that Limner does not train."""
    named = str(_json(folder / "model_index.json").get("_class_name", ""))
    if named not in _PIPELINES:
        raise InputError(
            f"The base is for {named or 'an unnamed pipeline'}, which Limner does not train",
            where=str(folder / "model_index.json"),
            fix="Use Qwen-Image, Qwen-Image-Edit-2509 or Qwen-Image-Edit-2511; the first "
            "Qwen-Image-Edit has another template.",
        )
    config = folder / "transformer" / "config.json"
    if _PIPELINES[named] == EDIT_2509 and config.is_file() and _json(config).get("zero_cond_t"):
        return EDIT_2511
    return _PIPELINES[named]


def _missing(folder: Path, family: str) -> list[str]:
    """Files and folders a base of this family needs and this one lacks, every shard included."""
    parts = _PARTS if family == T2I else (*_PARTS, "processor")
    found = [f"{part}/" for part in parts if not (folder / part).is_dir()]
    for part in WEIGHTS:
        there = folder / part
        if not there.is_dir():
            continue
        if not (there / "config.json").is_file():
            found.append(f"{part}/config.json")
        shards = {
            shard
            for index in there.glob("*.safetensors.index.json")
            for shard in _json(index).get("weight_map", {}).values()
        }
        found += [f"{part}/{s}" for s in sorted(shards) if not (there / s).is_file()]
        if not shards and not any(there.glob("*.safetensors")):
            found.append(f"{part}/*.safetensors")
    return found


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
            where=repo_id,
            fix=f"Download it (about 58 GB for Qwen-Image-Edit-2509): hf download {repo_id}. "
            "Without a way to the hub, copy the folder from another machine and name it.",
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
