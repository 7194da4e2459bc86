"""An embedder the user brings: any ONNX network from a 112 px aligned face to a vector.

In: a card (JSON beside the ONNX file) with size, colour order, scaling and three pictures of a
self-test. Out: unit vectors. Wrong colour order or scaling gives plausible, wrong likeness, so a
network whose self-test is missing or fails is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.errors import InputError, MissingExtraError, first_line
from limner.vision.embedders import NAMES, Vector, similarity, unit
from limner.vision.face import Face
from limner.vision.faces import find_faces
from limner.vision.pictures import RGB8, open_picture

TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Eyes, nose tip, mouth corners in a 112 px crop (ArcFace, insightface `face_align.py`)."""
DLIB_NOSE = 6.0
"""dlib's fifth point lies below the nose tip, by about so many pixels of the 112 (ours)."""
GAP = 0.10
"""Cosine by which the same person must beat another in the self-test (starting value)."""


class Card(BaseModel):
    """What stands in NAME.json beside NAME.onnx. Defaults: ArcFace's conventions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,30}$")
    onnx: str
    side: int = Field(default=112, ge=32, le=512)
    order: str = Field(default="rgb", pattern="^(rgb|bgr)$")
    mean: float = 127.5
    scale: float = Field(default=127.5, gt=0)
    threshold: float | None = Field(default=None, ge=-1, le=1)
    source: str = ""
    licence: str = ""
    self_test: list[str] = Field(min_length=3, max_length=3)


@dataclass(frozen=True)
class Brought:
    """A user's embedder that passed its self-test. threshold: published cosine, or None."""

    name: str
    tool: str
    file: Path
    card: Card
    test: tuple[float, float]

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return int(_session(self.file).get_outputs()[0].shape[-1])

    def embed(self, image: RGB8, face: Face) -> Vector:
        """Unit vector of the face."""
        return _embed(self.file, self.card, image, face)


def open_brought(path: Path) -> Brought:
    """Open the network of a card and run its self-test (once a process).

    self_test names two pictures of one person, then one of another, beside the card. Raises
    InputError for a wrong card, file or a failed test, MissingExtraError without onnxruntime.
    """
    if find_spec("onnxruntime") is None:
        raise MissingExtraError(
            "Your embedder cannot run: onnxruntime is not installed",
            fix='pip install "limner[vision]"',
        )
    try:
        card = Card.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(
            f"The card of the embedder cannot be read: {first_line(error)}",
            where=str(path),
            fix="See docs/review.md, `Embedders you bring`.",
        ) from None
    file = path.parent / card.onnx
    if card.name in NAMES:
        raise InputError(f"{card.name} is the name of Limner's own", where=str(path))
    if not file.is_file():
        raise InputError("The embedder's network is missing", where=str(file))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    test = _self_test(file, card, path.parent)
    return Brought(card.name, f"{card.name} {digest[:12]} {card.order}", file, card, test)


def _self_test(file: Path, card: Card, folder: Path) -> tuple[float, float]:
    """(same, other): cosines of the test pictures. Raises InputError when other is not lower."""
    vectors = []
    for name in card.self_test:
        image = open_picture(folder / name)
        seen = find_faces(image, kind="photo") or find_faces(image, kind="drawing")
        if not seen:
            raise InputError("No face is found in a picture of the self-test", where=name)
        vectors.append(_embed(file, card, image, seen[0]))
    same = similarity(vectors[0], vectors[1])
    other = max(similarity(vectors[0], vectors[2]), similarity(vectors[1], vectors[2]))
    if same < other + GAP:
        raise InputError(
            f"The embedder {card.name} failed its self-test: the same person scores {same:.2f}, "
            f"another {other:.2f}",
            where=str(file),
            fix="Check `order` (rgb or bgr), `mean` and `scale` in its card.",
        )
    return same, other


def _embed(file: Path, card: Card, image: RGB8, face: Face) -> Vector:
    crop = arcface_crop(image, face, card.side)
    pixels = crop[..., ::-1] if card.order == "bgr" else crop
    fed = (np.moveaxis(pixels.astype(np.float32), 2, 0)[None] - card.mean) / card.scale
    session = _session(file)
    out = session.run(None, {session.get_inputs()[0].name: fed.astype(np.float32)})[0]
    return unit(np.asarray(out).reshape(-1))


def arcface_crop(image: RGB8, face: Face, side: int = 112) -> NDArray[np.uint8]:
    """The face by a similarity transform onto the ArcFace template, (side, side, 3).

    Five points where the detector gives mouth corners, else eyes and nose.
    """
    from PIL import Image

    points = [*face.eyes, face.nose, *(face.mouth or ())]
    wanted = np.array(TEMPLATE[: len(points)]) * side / 112
    if face.mouth is None:
        wanted[2, 1] += DLIB_NOSE * side / 112
    a, b, tx, ty = _similarity(wanted, np.array(points))  # crop -> picture
    whole = Image.fromarray(image)
    step = float(np.hypot(a, b))
    if step > 1.5:  # transform() does not filter
        factor = 1 / step
        size = (max(1, round(whole.width * factor)), max(1, round(whole.height * factor)))
        whole = whole.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        a, b, tx, ty = a * factor, b * factor, tx * factor, ty * factor
    how = Image.Transform.AFFINE
    matrix = (a, -b, tx, b, a, ty)
    return np.asarray(whole.transform((side, side), how, matrix, Image.Resampling.BICUBIC))


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Least squares a, b, tx, ty with x' = a x - b y + tx, y' = b x + a y + ty."""
    rows = []
    for x, y in source:
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    found = np.linalg.lstsq(np.array(rows), target.reshape(-1), rcond=None)[0]
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


@cache
def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, none of them public
        raise InputError(
            f"This is no network onnxruntime runs ({type(error).__name__})", where=str(file)
        ) from None
