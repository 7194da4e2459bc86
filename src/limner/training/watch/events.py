"""TensorBoard event files without TensorBoard: scalars by tag and step.

In: a folder with events.out.tfevents files. Out: tag -> step -> (value, time). The format is
TFRecord (length, CRC, bytes, CRC) around three protobuf fields; a record cut by a kill ends a file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

Scalars = dict[str, dict[int, tuple[float, float]]]
MOST_BYTES = 200_000_000
"""Larger event files hold pictures, not losses alone; their start is read (starting value)."""


def read_folder(folder: Path) -> Scalars:
    """All scalars below a folder; what a resumed run measured again replaces what was there."""
    found: Scalars = {}
    files = sorted(folder.rglob("events.out.tfevents*"), key=lambda f: f.name)
    for file in files[-50:]:
        for step, at, tag, value in read_file(file):
            found.setdefault(tag, {})[step] = (value, at)
    return found


def read_file(path: Path) -> Iterator[tuple[int, float, str, float]]:
    """(step, wall time, tag, value) of every whole record."""
    try:
        with path.open("rb") as source:
            data = source.read(MOST_BYTES)
    except OSError:
        return
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        end = at + 12 + length
        if length > MOST_BYTES or end + 4 > len(data):
            return
        yield from _event(data[at + 12 : end])
        at = end + 4


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """(number, wire type, value) of one protobuf message; ends at anything it does not know."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, wire, data[at : at + size]
            at += size
        elif wire == 2:
            size, at = _varint(data, at)
            yield number, wire, data[at : at + size]
            at += size
        else:
            return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
    return value, at


def _event(data: bytes) -> Iterator[tuple[int, float, str, float]]:
    """Event: wall_time = 1 (double), step = 2, summary = 5."""
    wall, step = 0.0, 0
    summaries = []
    for number, wire, value in _fields(data):
        if number == 1 and wire == 1 and isinstance(value, bytes) and len(value) == 8:
            (wall,) = struct.unpack("<d", value)
        elif number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, _, value in _fields(summary):
            if number == 1 and isinstance(value, bytes):
                yield from _value(step, wall, value)


def _value(step: int, wall: float, data: bytes) -> Iterator[tuple[int, float, str, float]]:
    """Summary.Value: tag = 1, simple_value = 2 (float), tensor = 8 (PyTorch's new scalars)."""
    tag, scalar = "", None
    for number, wire, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", errors="replace")
        elif number == 2 and wire == 5 and isinstance(value, bytes) and len(value) == 4:
            (scalar,) = struct.unpack("<f", value)
        elif number == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    if tag and scalar is not None:
        yield step, wall, tag, float(scalar)


def _tensor(data: bytes) -> float | None:
    """One float of a TensorProto: float_val = 5 (packed), or tensor_content = 4."""
    for number, wire, value in _fields(data):
        if number in (4, 5) and isinstance(value, bytes) and len(value) == 4 and wire in (2, 5):
            (found,) = struct.unpack("<f", value)
            return float(found)
    return None
