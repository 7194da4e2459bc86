"""Writing a small network as an ONNX file, byte for byte reproducible, without an exporter.

In: nodes and NumPy constants, added one by one. Out: bytes of a ModelProto (opset 17, ir 8). The
wire format is protobuf's (varint, length-delimited); field numbers are those of onnx.proto.
"""

from __future__ import annotations

import numpy as np

FLOAT, INT64, FLOAT16 = 1, 7, 10


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        low = value & 0x7F
        value >>= 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _bytes(field: int, data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = {"int64": INT64, "float16": FLOAT16}.get(array.dtype.name, FLOAT)
    dims = b"".join(_int(1, d) for d in array.shape)
    return dims + _int(2, kind) + _bytes(8, name) + _bytes(9, np.ascontiguousarray(array).tobytes())


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name) + _int(3, value) + _int(20, 2)
    return _bytes(1, name) + b"".join(_int(8, v) for v in value) + _int(20, 7)


def _node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    body = b"".join(_bytes(1, i) for i in inputs) + _bytes(2, output) + _bytes(3, output)
    body += _bytes(4, kind)
    return body + b"".join(_bytes(5, _attribute(k, v)) for k, v in attributes.items())


def _value(name: str, dims: list[int | str]) -> bytes:
    shape = b"".join(_bytes(1, _int(1, d) if isinstance(d, int) else _bytes(2, d)) for d in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _int(1, FLOAT) + _bytes(2, shape)))


class Graph:
    """A model of one input (n, *shape). Every call gives the name of what it made.

    half: weights are kept in 16 bits and widened when the file is opened.
    """

    def __init__(self, source: str, shape: tuple[int, ...], *, half: bool = False) -> None:
        self.source, self.shape, self.half = source, shape, half
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []

    def const(self, array: np.ndarray) -> str:
        """A weight (float32) or a shape (int64)."""
        name = f"c{len(self._tensors)}"
        small = self.half and array.dtype == np.float32
        self._tensors.append(_tensor(name, array.astype(np.float16) if small else array))
        return self.node("Cast", name, to=FLOAT) if small else name

    def node(self, kind: str, *inputs: str, out: str = "", **attributes: int | list[int]) -> str:
        """An operator of the standard set; `out` names the model's output."""
        name = out or f"t{len(self._nodes)}"
        self._nodes.append(_node(kind, list(inputs), name, **attributes))
        return name

    def model(self, outputs: int) -> bytes:
        """The file; the node named "out" gives (n, outputs)."""
        graph = b"".join(_bytes(1, n) for n in self._nodes) + _bytes(2, "limner")
        graph += b"".join(_bytes(5, t) for t in self._tensors)
        graph += _bytes(11, _value(self.source, ["n", *self.shape]))
        graph += _bytes(12, _value("out", ["n", outputs]))
        opset = _bytes(1, "") + _int(2, 17)
        return _int(1, 8) + _bytes(2, "limner") + _bytes(7, graph) + _bytes(8, opset)
