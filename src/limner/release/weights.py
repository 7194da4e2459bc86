"""A LoRA file's header, read and rewritten without touching a tensor byte.

In: a .safetensors path. Out: metadata, the hash of the tensor bytes, a copy with other metadata,
and what makes a file unfit for release (not finite, all zero, wrong header).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.project.files import explain_os_error

MAX_HEADER_BYTES = 1 << 20
"""ComfyUI shows metadata of headers under 1 MB (published)."""
_BLOCK = 1 << 20
_SIGNATURE_KEYS = (
    "sshs_model_hash",
    "sshs_legacy_hash",
)  # of the old header: wrong after a rewrite
_EXPONENTS = {"F64": ("<u8", 0x7FF0 << 48), "F32": ("<u4", 0x7F80 << 16)}
_EXPONENTS |= {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}


@dataclass(frozen=True)
class Header:
    """The JSON header of a safetensors file. `start`: offset of the first tensor byte."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    start: int


def _bad(path: Path, why: str) -> InputError:
    fix = "Train again, or choose another checkpoint."
    return InputError(f"{path.name} is no usable LoRA file: {why}", where=str(path), fix=fix)


def read_header(path: Path) -> Header:
    """Header of `path`. Raises InputError when the file is missing, cut off or no safetensors."""
    try:
        size = path.stat().st_size
        with path.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if size < 8 or length > size - 8:
                raise _bad(path, "it is cut off or no safetensors file")
            header = json.loads(source.read(length))
    except FileNotFoundError:
        fix = "Restore it from a copy, or train again."
        raise InputError("The LoRA file is missing", where=str(path), fix=fix) from None
    except (OSError, ValueError) as error:
        raise _bad(path, f"its header cannot be read ({error})") from None
    if not isinstance(header, dict):
        raise _bad(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    ends = [t["data_offsets"][1] for t in header.values()]
    if not ends or max(ends) != size - 8 - length:
        raise _bad(path, "its tensors do not fill the file")
    return Header(header, metadata, 8 + length)


def tensor_sha256(path: Path) -> str:
    """Hex SHA-256 of the bytes after the header (ModelSpec 1.0.1, `hash_sha256` without 0x)."""
    start = read_header(path).start
    digest = hashlib.sha256()
    with path.open("rb") as source:
        source.seek(start)
        for block in iter(lambda: source.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def check_tensors(path: Path) -> None:
    """Raises InputError naming the tensor when one is not finite, or when all of them are zero."""
    import numpy as np

    header = read_header(path)
    anything = False
    with path.open("rb") as source:
        for name, tensor in sorted(header.tensors.items()):
            kind = _EXPONENTS.get(tensor["dtype"])
            begin, end = tensor["data_offsets"]
            source.seek(header.start + begin)
            data = source.read(end - begin)
            # a LoRA whose "up" half is zero changes nothing: that is the untrained state
            anything = anything or (not _is_down(name) and any(data))
            if kind is None:
                continue
            words = np.frombuffer(data, dtype=kind[0])
            if np.any((words & words.dtype.type(kind[1])) == kind[1]):
                raise _bad(path, f"tensor {name} holds NaN or infinity")
    if not anything:
        raise _bad(path, "all its weights are zero, so it changes nothing")


def _is_down(name: str) -> bool:
    return "lora_A" in name or "lora_down" in name or name.endswith(".alpha")


def rewrite(source: Path, target: Path, added: dict[str, str]) -> str:
    """Copy `source` to `target` with `added` metadata; return the hex SHA-256 of the new file.

    Tensor bytes, names and offsets stay as they are. Raises InputError for a header over 1 MB.
    """
    header = read_header(source)
    metadata = {k: v for k, v in header.metadata.items() if k not in _SIGNATURE_KEYS} | added
    text = json.dumps({"__metadata__": metadata, **header.tensors}, separators=(",", ":"))
    data = text.encode("utf-8")
    data += b" " * (-len(data) % 8)  # the format wants tensors aligned to 8 bytes
    if len(data) > MAX_HEADER_BYTES:
        raise InputError("The metadata is over 1 MB", where=str(source), fix="Shorten it.")
    temp = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with source.open("rb") as old, temp.open("wb") as new:
            old.seek(header.start)
            for block in (len(data).to_bytes(8, "little"), data):
                new.write(block)
                digest.update(block)
            for block in iter(lambda: old.read(_BLOCK), b""):
                new.write(block)
                digest.update(block)
            new.flush()
            os.fsync(new.fileno())
        temp.replace(target)
    except OSError as error:
        temp.unlink(missing_ok=True)
        raise explain_os_error(error, target) from None
    return digest.hexdigest()
