"""Writing a plain chain of layers as an ONNX file, byte for byte reproducible.

In: layers as tuples with NumPy weights. Out: bytes of a ModelProto (opset 17, ir 8). Only what two
small convolutional networks need; the wire format is protobuf's (varint, length-delimited).
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOAT, INT64 = 1, 7


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
    kind = INT64 if array.dtype == np.int64 else FLOAT
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


def chain(
    layers: list[tuple[Any, ...]], *, source: str, shape: tuple[int, int, int], outputs: int
) -> bytes:
    """A model of one input (n, *shape) and one output "out" (n, outputs).

    Layers: ("conv", weight (o, i, k, k), bias, stride), ("relu",), ("flatten",),
    ("linear", weight (o, i), bias), ("normalise",).
    """
    nodes, tensors, last = [], [], source
    for number, (kind, *args) in enumerate(layers):
        out = "out" if number == len(layers) - 1 else f"t{number}"
        if kind == "conv":
            weight, bias, stride = args
            pad = weight.shape[-1] // 2
            tensors += [_tensor(f"w{number}", weight), _tensor(f"b{number}", bias)]
            node = _node(
                "Conv",
                [last, f"w{number}", f"b{number}"],
                out,
                kernel_shape=list(weight.shape[2:]),
                pads=[pad] * 4,
                strides=[stride] * 2,
            )
        elif kind == "linear":
            weight, bias = args
            tensors += [_tensor(f"w{number}", weight), _tensor(f"b{number}", bias)]
            node = _node("Gemm", [last, f"w{number}", f"b{number}"], out, transB=1)
        elif kind == "normalise":
            node = _node("LpNormalization", [last], out, axis=1, p=2)
        else:
            node = _node({"relu": "Relu", "flatten": "Flatten"}[kind], [last], out)
        nodes.append(node)
        last = out
    graph = b"".join(_bytes(1, n) for n in nodes) + _bytes(2, "limner")
    graph += b"".join(_bytes(5, t) for t in tensors)
    graph += _bytes(11, _value(source, ["n", *shape])) + _bytes(12, _value("out", ["n", outputs]))
    opset = _bytes(1, "") + _int(2, 17)
    return _int(1, 8) + _bytes(2, "limner") + _bytes(7, graph) + _bytes(8, opset)
