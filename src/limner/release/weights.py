"""The released LoRA: checked, rounded to bf16, with its header written and sealed.

In: a checkpoint's file and the metadata of a release. Out: a .safetensors file whose weights hash
to `modelspec.hash_sha256` and whose header hashes to `limner.header_sha256`, so that a change of
any byte shows in the file alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.models import lora, tensorfile
from limner.models.tensorfile import Tensor
from limner.project import files
from limner.project.records import Checkpoint, Run

SEAL = "limner.header_sha256"
_BLANK = "0" * 64
RELEASED = "BF16"
"""What trainers and inference run in; a checkpoint in F32 or F16 is rounded to it."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint that may be released. `rounded`: types that become bf16, empty for none."""

    path: Path
    header: dict[str, str]
    tensor_sha256: str
    released_sha256: str
    rounded: str
    rank: int | None


def checked(path: Path, checkpoint: Checkpoint, run: Run, where: str) -> Weights:
    """Open and check a checkpoint. Raises InputError for a cut or foreign file, other bytes than
    the trained ones, faults that diffusers or ComfyUI would fail on, and another base's LoRA."""
    _, header, _ = tensorfile.header(path)
    if files.sha256_file(path) != checkpoint.sha256:
        raise InputError(
            f"The LoRA of step {checkpoint.step:,} has changed since it was trained",
            where=where,
            fix="Put the file back, or train again.",
        )
    _same_base(header, run, where)
    faults = lora.check(path, _modules(run))
    errors = [f for f in faults if f["severity"] == "error"]
    if errors:
        raise InputError(errors[0]["text"], where=where, fix=errors[0]["fix"])
    return measured(path)


def measured(path: Path) -> Weights:
    """The hashes of a checkpoint's file as they are now. Raises InputError for a cut file."""
    tensors, header = tensorfile.read(path)
    made = rounded(tensors)
    types = {t.dtype for t in tensors.values()} - {RELEASED}
    ranks = {t.shape[0] for k, t in tensors.items() if ".lora_A." in k or ".lora_down." in k}
    return Weights(
        path,
        header,
        tensorfile.tensor_sha256(path),
        body_sha256(made),
        ", ".join(sorted(types & {"F32", "F16", "F64"})),
        ranks.pop() if len(ranks) == 1 else None,
    )


def _same_base(header: Mapping[str, str], run: Run, where: str) -> None:
    """A file that names its base must name the run's."""
    config = run.config.get("run", run.config)
    told, known = header.get("limner.base_fingerprint"), config.get("base_fingerprint")
    if told and known and told != known:
        raise InputError(
            "The LoRA was trained on another base than its run",
            where=f"{where}: {told[:12]}, run {run.version}: {str(known)[:12]}",
            fix="Put the run's own file back, or train again.",
        )


def _modules(run: Run) -> dict[str, tuple[int, int]] | None:
    """Linears of the run's base, where it lies on this machine unchanged; else None.

    A base on the Hub is not fetched for this; then names are held against the model family's.
    """
    from limner.models import resolve_base

    config = run.config.get("run", run.config)
    name = str(config.get("base") or "")
    if not name or (name != "miniature" and not Path(name).is_dir()):
        return None
    try:
        info = resolve_base(name)
    except InputError:
        return None
    if info.fingerprint != config.get("base_fingerprint"):
        return None
    return lora.base_modules(Path(info.path))


def rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors in bf16, nearest even; whole numbers and 8-bit floats stay as they are."""
    floats = ("F64", "F32", "F16")
    return {
        name: tensorfile.encode(t.floats(), RELEASED) if t.dtype in floats else t
        for name, t in tensors.items()
    }


def body_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of the tensor bytes in the mapping's order, as `write` lays them out here."""
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(tensor.data)
    return digest.hexdigest()


def write(weights: Weights, out: Path, added: Mapping[str, str]) -> str:
    """Write the released file and return its hex SHA-256. The trainer's own metadata stays, but
    for hashes that would be wrong."""
    tensors, header = tensorfile.read(weights.path)
    full = {k: _nameless(v) for k, v in header.items() if not k.startswith("sshs_")}
    full |= {**_usual(weights, full), **added, SEAL: _BLANK}
    full["modelspec.hash_sha256"] = f"0x{weights.released_sha256}"
    tensorfile.write(out, rounded(tensors), full, keep_order=True)
    return seal(out)


_FILE = r"\.(?:safetensors|bin|pth?|ckpt|gguf|onnx|npz|json|ya?ml|toml|txt|csv|py|png|jpe?g|webp)"
"""Endings of files: a folder may have a dot too, as that of john.doe has."""
_WHOLE_PATH = re.compile(
    rf"(?:file://|~|[A-Za-z]:)?[/\\][^\n]*[/\\]([^/\\\n]+{_FILE})", re.IGNORECASE
)
_NETWORK = re.compile(r"""\\\\|(?:^|[\s"'(=])//\w""")
"""A share of another machine, as Windows writes it and as others do; no address of the web."""
LEFT_OUT = "left out: it named a folder of the trainer's machine"


def _nameless(value: str) -> str:
    """Metadata without folders of the trainer's machine: a path to a file becomes the file's name,
    any other text that holds a path is left out whole, for a cut one may still hold a name. JSON
    (ss_tag_frequency) stays JSON: each of its texts is looked at by itself."""
    if lora.absolute_path(value) is None and not _NETWORK.search(value):
        return value
    try:
        inner = json.loads(value)
    except ValueError:
        inner = None
    if isinstance(inner, dict | list):
        return json.dumps(_inside(inner), ensure_ascii=False)
    whole = _WHOLE_PATH.fullmatch(value.strip())
    return whole[1] if whole else LEFT_OUT


def _inside(part: Any) -> Any:
    """A part of JSON metadata, every text nameless; folders as keys become `folder_1`, ..."""
    if isinstance(part, str):
        return _nameless(part)
    if isinstance(part, list):
        return [_inside(one) for one in part]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = {}
    for number, (key, one) in enumerate(part.items(), start=1):
        name = _nameless(key)
        taken = name == LEFT_OUT or name in found
        found[f"folder_{number}" if taken else name] = _inside(one)
    return found


def _usual(weights: Weights, there: Mapping[str, str]) -> dict[str, str]:
    """ss_ keys that LoRA managers ask for and a trainer left out."""
    usual = {"ss_base_model_version": "qwen_image"}
    if weights.rank is not None:
        usual |= {"ss_network_dim": str(weights.rank), "ss_network_alpha": str(weights.rank)}
    return {k: v for k, v in usual.items() if k not in there}


def seal(path: Path) -> str:
    """Put the header's own hash in the place that waits for it; returns the file's SHA-256."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    digest = files.sha256_bytes(data[:end])
    place = f'"{SEAL}":"{_BLANK}"'.encode()
    sealed = data[:end].replace(place, f'"{SEAL}":"{digest}"'.encode(), 1) + data[end:]
    files.write_bytes(path, sealed)
    return files.sha256_bytes(sealed)


def broken(path: Path) -> list[tuple[str, str]]:
    """(rule, what is wrong) of a released file by itself; empty when every byte holds.

    Raises InputError when it is no whole safetensors file.
    """
    _, told, length = tensorfile.header(path)
    if SEAL not in told:
        return [("seal", "Its header carries no seal, so only a receipt could prove it.")]
    with path.open("rb") as file:
        raw = file.read(8 + length)
    value = told[SEAL].encode()
    blank = raw.replace(
        b'"%s":"%s"' % (SEAL.encode(), value), b'"%s":"%s"' % (SEAL.encode(), _BLANK.encode()), 1
    )
    found = []
    if files.sha256_bytes(blank) != told[SEAL]:
        found.append(("header", "The header is not the one that was released."))
    stated = told.get("modelspec.hash_sha256", "").removeprefix("0x")
    if tensorfile.tensor_sha256(path) != stated:
        found.append(("weights", "The weights are not the ones that were released."))
    return found


def facts(weights: Weights) -> dict[str, Any]:
    """What the checkpoint's link of the receipt says about the weights."""
    return {
        "tensor_sha256": weights.tensor_sha256,
        "released_tensor_sha256": weights.released_sha256,
        "rounded": f"{weights.rounded} -> {RELEASED}" if weights.rounded else "",
    }
