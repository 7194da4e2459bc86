"""safetensors files without torch: header, tensors as numpy, and a writer with one byte order.

The safetensors library writes metadata in hash order, so equal content gives unequal files; here
keys are sorted. Format: 8 bytes little-endian header length, JSON header, tensor bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError
from limner.project.files import sha256_bytes, write_bytes

if TYPE_CHECKING:
    import numpy as np

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
SIZES |= {"BOOL": 1, "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}
FLOATS = ("F32", "F16", "BF16")
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


@dataclass(frozen=True)
class Tensor:
    """One tensor as it stands in a file."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def floats(self) -> np.ndarray[Any, Any]:
        """The values as float32. Raises InputError for a type without a float reading."""
        import numpy as np

        if self.dtype == "BF16":
            wide = np.frombuffer(self.data, "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(self.shape)
        if self.dtype not in _NUMPY:
            raise InputError(f"Tensors of type {self.dtype} cannot be read here")
        return np.frombuffer(self.data, _NUMPY[self.dtype]).astype(np.float32).reshape(self.shape)


def encode(values: np.ndarray[Any, Any], dtype: str) -> Tensor:
    """float32 array -> tensor of type F32, F16 or BF16 (rounded to nearest, ties to even)."""
    import numpy as np

    array = np.ascontiguousarray(values, dtype=np.float32)
    if dtype == "F32":
        return Tensor(dtype, array.shape, array.astype("<f4").tobytes())
    if dtype == "F16":
        return Tensor(dtype, array.shape, array.astype("<f2").tobytes())
    bits = array.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    rounded = np.where(np.isnan(array), np.uint16(0x7FC0), rounded).astype("<u2")
    return Tensor("BF16", array.shape, rounded.tobytes())


def header(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], int]:
    """(tensor name -> {dtype, shape, data_offsets}, metadata, header length in bytes).

    Raises InputError for a missing, cut or foreign file.
    """

    def wrong(why: str) -> InputError:
        return InputError(
            f"{path.name} is no whole safetensors file: {why}",
            where=str(path),
            fix="Copy it again; if it was cut while training, run `limner train` again.",
        )

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise wrong("the header is cut")
            parsed = json.loads(file.read(length))
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read: {error.strerror}",
            where=str(path),
            fix="Give a .safetensors file that is here and may be read.",
        ) from None
    except (ValueError, RecursionError):
        raise wrong("the header is no JSON") from None
    if not isinstance(parsed, dict):
        raise wrong("the header is no JSON object")
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise wrong("the metadata is no JSON object")
    end = 0
    for name, entry in parsed.items():
        try:
            first, last = entry["data_offsets"]
            expected = math.prod(entry["shape"]) * SIZES[entry["dtype"]]
            whole = all(isinstance(n, int) and n >= 0 for n in (first, last, *entry["shape"]))
        except (KeyError, TypeError, ValueError):
            raise wrong(f"{name} has no type, shape or place") from None
        if not whole or last - first != expected:
            raise wrong(f"{name} has not the bytes of its shape")
        end = max(end, last)
    if end != size - 8 - length:
        raise wrong("tensor bytes are missing or left over")
    return parsed, {str(k): str(v) for k, v in metadata.items()}, length


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors in file order, and the metadata. Raises InputError."""
    entries, metadata, length = header(path)
    with path.open("rb") as file:
        file.seek(8 + length)
        body = file.read()
    tensors = {}
    for name, entry in sorted(entries.items(), key=lambda e: tuple(e[1]["data_offsets"])):
        first, last = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), body[first:last])
    return tensors, metadata


def _ordered(tensors: Mapping[str, Tensor], keep_order: bool) -> list[tuple[str, Tensor]]:
    # larger element types first, so that every tensor is aligned; then by name
    if keep_order:
        return list(tensors.items())
    return sorted(tensors.items(), key=lambda item: (-SIZES[item[1].dtype], item[0]))


def body_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of the tensor bytes as `write` lays them out."""
    return sha256_bytes(b"".join(t.data for _, t in _ordered(tensors, False)))


def tensor_sha256(path: Path) -> str:
    """Hex SHA-256 of everything after the header (ModelSpec 1.0.1 `hash_sha256`)."""
    digest = hashlib.sha256()
    length = header(path)[2]
    with path.open("rb") as file:
        file.seek(8 + length)
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    keep_order: bool = False,
) -> str:
    """Write a file whole and return its hex SHA-256. Same content, same bytes.

    keep_order: lay tensors out in the mapping's order (to keep another program's bytes).
    Raises WorkFailedError when the disk is full or the folder read-only.
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in _ordered(tensors, keep_order):
        end = offset + len(tensor.data)
        entries[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        parts.append(tensor.data)
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the format aligns the body to 8 bytes
    data = b"".join([len(text).to_bytes(8, "little"), text, *parts])
    write_bytes(path, data)
    return sha256_bytes(data)
