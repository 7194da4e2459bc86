"""Identity embedders: a face becomes a unit vector; the dot product of two says how alike.

E1 `dlib`: the dlib ResNet descriptor (128-d), centred for the kind of picture. E2 `drawn`: Limner's
own small network, trained on drawings of other characters (scripts/train_embedder.py). The two
share no weights, no training data, no detector points and no crop; their vectors never mix.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limner.errors import LimnerError, MissingExtraError
from limner.vision import dlib_faces
from limner.vision.align import aligned_crop
from limner.vision.face import Face
from limner.vision.faces import Kind
from limner.vision.pictures import RGB8
from limner.vision.shipped import data_file, network_missing

Vector = NDArray[np.float32]

NAMES = ("dlib", "drawn")


class Embedder(Protocol):
    """What an embedder is: `embed` gives a unit vector (dimension,) of one face."""

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        ...

    @property
    def tool(self) -> str:
        """Name with version and centring, as it stands beside every measure."""
        ...

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        ...

    def embed(self, image: RGB8, face: Face) -> Vector:
        """Unit vector (dimension,), float32."""
        ...


def similarity(a: Vector, b: Vector) -> float:
    """Cosine of two unit vectors of one embedder, -1 to 1."""
    return float(np.dot(a, b))


def unit(vector: NDArray[Any]) -> Vector:
    """The vector at length 1 (zero stays zero)."""
    length = float(np.linalg.norm(vector))
    return (np.asarray(vector, dtype=np.float64) / (length or 1.0)).astype(np.float32)


@dataclass(frozen=True)
class DlibEmbedder:
    """dlib's face recognition ResNet, 128-d, on a 150 px chip of its own alignment.

    Raw descriptors of drawings bunch together (cosine .91 between different characters), so the
    mean descriptor of that kind of picture is subtracted first (`centre`).
    """

    centre: Vector
    tool: str
    name: str = "dlib"
    dimension: int = 128

    def embed(self, image: RGB8, face: Face) -> Vector:
        """See `Embedder`. Raises MissingExtraError."""
        return unit(self.raw(image, face) - self.centre)

    def raw(self, image: RGB8, face: Face) -> Vector:
        """dlib's own descriptor (128,), for its published Euclidean threshold of 0.6."""
        model = _dlib_model()
        crop, shape, _, _ = dlib_faces.shape_of(image, dlib_faces.box_of(face))
        return np.asarray(model.compute_face_descriptor(crop, shape), dtype=np.float32)


@dataclass(frozen=True)
class DrawnEmbedder:
    """Limner's network for drawings: 64 px aligned face -> 96-d, through onnxruntime.

    A face and its mirror image are read and averaged: on drawings left out of training up to 6 of
    a hundred more are known at one false-accept rate (docs/notebook.md).
    """

    tool: str
    name: str = "drawn"
    dimension: int = 96

    def embed(self, image: RGB8, face: Face) -> Vector:
        """See `Embedder`. Raises MissingExtraError."""
        vector: Vector = self.embed_crops(aligned_crop(image, face)[None])[0]
        return vector

    def embed_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Aligned crops (n, 64, 64, 3) -> unit vectors (n, 96)."""
        pixels = np.moveaxis(crops.astype(np.float32), 3, 1) / np.float32(127.5) - np.float32(1.0)
        both = np.concatenate([pixels, pixels[..., ::-1]])
        seen, mirrored = np.split(np.array(_drawn_session().run(None, {"face": both})[0]), 2)
        found: NDArray[np.float32] = seen + mirrored
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found


def missing(name: str, kind: Kind = "drawing") -> str | None:
    """None when the embedder can run here on such pictures, else the reason in words."""
    if name == "dlib":
        return dlib_faces.available()
    if kind != "drawing":
        return "this embedder knows drawings only"
    return network_missing("drawn.onnx")


@cache
def open_embedder(name: str, kind: Kind = "drawing") -> Embedder:
    """An embedder by name, centred for the kind of picture it will see.

    Raises LimnerError for an unknown name, MissingExtraError when its extra is not installed.
    """
    if name not in NAMES:
        raise LimnerError(f"There is no embedder {name!r}", fix=f"Use one of {', '.join(NAMES)}.")
    reason = missing(name, kind)
    if reason:
        raise MissingExtraError(f"The embedder {name} cannot run: {reason}", fix=reason)
    if name == "dlib":
        centre = _centre(kind)
        mark = hashlib.sha256(centre.tobytes()).hexdigest()[:8]
        return DlibEmbedder(centre, f"dlib-resnet-v1 centred:{kind}:{mark}")
    return DrawnEmbedder(f"limner-drawn {_drawn_card()['version']}")


def network_version(kind: Kind) -> str:
    """What of the shipped networks a cached reading of such a picture depends on; "" for none."""
    return str(_drawn_card()["version"]) if kind == "drawing" else ""


@cache
def _dlib_model() -> Any:
    file = dlib_faces.weights("dlib_face_recognition_resnet_model_v1.dat")
    import dlib

    return dlib.face_recognition_model_v1(str(file))


def _centre(kind: Kind) -> Vector:
    """Mean descriptor of that kind; photographs need none (L2 .36 same against .89 other)."""
    if kind == "photo":
        return np.zeros(128, dtype=np.float32)
    centres = json.loads(data_file("centres.json").read_text(encoding="utf-8"))
    return np.array(centres["drawing"]["mean"], dtype=np.float32)


@cache
def _drawn_card() -> dict[str, Any]:
    card: dict[str, Any] = json.loads(data_file("drawn.json").read_text(encoding="utf-8"))
    return card


@cache
def _drawn_session() -> Any:
    file = data_file("drawn.onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
