"""Is a picture this person? References, strangers and thresholds of two unrelated embedders.

In: pictures of the character that were never trained on, and strangers. Out: a `Judge` that reads
a picture into scores, and thresholds with their false-accept rate, n and ceiling.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limner import vision
from limner.errors import LimnerError, MissingExtraError
from limner.evaluation import statistics as stats
from limner.project import files
from limner.project.records import Measure
from limner.vision.face import Face
from limner.vision.templates import Template

RGB8 = NDArray[np.uint8]
Kind = Literal["drawing", "photo"]
EMBEDDERS = ("dlib", "drawn")
"""E1 general (dlib), E2 our own for drawings; each kind of picture uses those that fit it."""
SPEAKERS = ("drawn", "dlib")
"""Who speaks first: on left-out drawn characters drawn parts .975 / .945 / .848 (AUC by head turn:
under 20 degrees, under 45, beyond), dlib .968 / .867 / chance (docs/notebook.md)."""
EMBEDDERS_OF: dict[Kind, tuple[str, ...]] = {"drawing": ("dlib", "drawn"), "photo": ("dlib",)}
NO_FACE = "no face found"


@dataclass(frozen=True)
class Look:
    """What was seen in one picture. `vectors` is empty when no face was found."""

    face: bool
    width: float | None = None
    yaw: float | None = None
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    where: Face | None = None
    """The face itself, while the picture is in hand; not kept."""
    faces: int = 0
    """How many were found."""


@dataclass(frozen=True)
class Gate:
    """One embedder's threshold with all it rests on.

    far = accepted / strangers, counted crosswise: a threshold set by one half of the strangers, the
    other half counted, and the other way round, so that no stranger is counted that set the line.
    The threshold itself rests on all. ceiling: hits and n of the character's own pictures, each
    scored against a template it is no part of.
    """

    embedder: str
    threshold: float
    far: float
    accepted: int
    strangers: int
    target_far: float
    ceiling_hits: int
    ceiling_n: int
    stranger_median: float

    @property
    def ceiling(self) -> float:
        """Share of the character's own pictures that pass; 0 of 0 counts as 0."""
        return self.ceiling_hits / self.ceiling_n if self.ceiling_n else 0.0


class Judge:
    """Reads pictures into similarity to one character."""

    def __init__(
        self,
        names: Sequence[str],
        kind: Kind,
        smallest_face: float,
        references: Sequence[Look],
        gallery: Sequence[Look],
        comparable: Sequence[bool] | None = None,
    ) -> None:
        """references: looks that make the template. gallery: other looks of the same person.
        comparable: which of references + gallery count for the ceiling; default all."""
        self.names = tuple(names)
        self.kind: Kind = kind
        self.smallest_face = smallest_face
        self.seen = [look for look in references if look.face]
        self._references = list(references)
        self._gallery = list(gallery)
        self._comparable = np.array(
            [True] * (len(references) + len(gallery)) if comparable is None else comparable
        )
        self._templates: dict[str, Template] = {
            name: vision.build_template(
                [look.vectors[name] for look in self.seen], [look.yaw for look in self.seen]
            )
            for name in self.names
            if self.seen
        }

    @property
    def tools(self) -> dict[str, str]:
        """Embedder -> its tool line, for records."""
        return {name: vision.open_embedder(name, self.kind).tool for name in self.names}

    def look(self, picture: RGB8) -> Look:
        """Find the largest face and embed it."""
        return look(picture, self.names, self.kind, self.smallest_face)

    def score(self, seen: Look, name: str) -> float | None:
        """Cosine of a look to the character's template (global or its own pose's, the larger);
        None without a face or without a template."""
        if not seen.face or name not in self._templates:
            return None
        return self._templates[name].score(seen.vectors[name], seen.yaw)

    def measures(self, seen: Look, tag: str) -> list[Measure]:
        """The scores of one render, None with a reason where there is none."""
        tools = self.tools
        found = [
            Measure("face", float(seen.face), "", None, tag),
            Measure("face_width", seen.width, "px", None if seen.face else NO_FACE, tag),
            Measure("yaw", seen.yaw, "degrees", None if seen.face else NO_FACE, tag),
        ]
        for name in self.names:
            value = self.score(seen, name)
            reason = None
            if value is None:
                reason = "no reference shows a face" if seen.face else NO_FACE
            found.append(Measure(f"identity_{name}", value, "cosine", reason, tools[name]))
        return found

    def own_scores(self, name: str) -> NDArray[np.float64]:
        """Scores of the character's own pictures: references leave-one-out, gallery against the
        template. A picture without a face is NaN. Shape (comparable pictures,)."""
        own = [NO_SCORE] * len(self._references)
        if len(self.seen) > 1:
            left_out = iter(
                vision.leave_one_out(
                    [s.vectors[name] for s in self.seen], [s.yaw for s in self.seen]
                )
            )
            own = [float(next(left_out)) if s.face else NO_SCORE for s in self._references]
        for seen in self._gallery:
            value = self.score(seen, name)
            own.append(NO_SCORE if value is None else value)
        scores: NDArray[np.float64] = np.asarray(own, dtype=np.float64)[self._comparable]
        return scores

    def stranger_scores(self, strangers: Strangers, name: str) -> NDArray[np.float64]:
        """Scores of shipped strangers against this character's template (n,)."""
        template = self._templates.get(name)
        if template is None or name not in strangers.vectors:
            return np.zeros(0)
        pairs = zip(strangers.vectors[name], strangers.yaws, strict=True)
        return np.array([template.score(v, None if np.isnan(y) else float(y)) for v, y in pairs])

    def gate(
        self, name: str, sources: Sequence[NDArray[np.float64]], target_far: float
    ) -> Gate | None:
        """Threshold at which at most `target_far` of the strangers pass; None without strangers or
        template. sources: scores by where the strangers come from, persons in order."""
        stranger_scores = np.concatenate([np.zeros(0), *sources])
        if not stranger_scores.size or name not in self._templates:
            return None
        found = vision.calibrate(
            stranger_scores, target_far=target_far, source="strangers of this grid"
        )
        accepted = crossed(sources, target_far)
        own = self.own_scores(name)
        return Gate(
            name,
            found.threshold,
            accepted / found.impostors,
            accepted,
            found.impostors,
            target_far,
            int((own >= found.threshold).sum()),
            len(own),
            float(np.median(stranger_scores)),
        )


NO_SCORE = float("nan")


def crossed(sources: Sequence[NDArray[np.float64]], target_far: float) -> int:
    """How many strangers pass a threshold they had no part in: each source is cut in the middle
    (its persons are in order, so nobody is on both sides) and the halves judge each other."""
    first = np.concatenate([np.zeros(0), *(s[: len(s) // 2] for s in sources)])
    second = np.concatenate([np.zeros(0), *(s[len(s) // 2 :] for s in sources)])
    accepted = 0
    for setting, counted in ((first, second), (second, first)):
        if setting.size:
            line = vision.calibrate(setting, target_far=target_far, source="half").threshold
            accepted += int((counted >= line).sum())
        else:
            accepted += len(counted)
    return accepted


def look(picture: RGB8, names: Sequence[str], kind: Kind, smallest_face: float) -> Look:
    """The largest face of a picture with its vectors. Raises MissingExtraError."""
    found = vision.find_faces(picture, kind=kind, smallest_face=smallest_face)
    if not found:
        return Look(False)
    face = found[0]
    vectors = {name: vision.open_embedder(name, kind).embed(picture, face) for name in names}
    return Look(True, face.width, face.yaw, vectors, face, len(found))


def usable_embedders(kind: Kind) -> tuple[dict[str, str], dict[str, str]]:
    """(embedder -> its tool, embedder -> why it cannot run here) of a kind of picture.

    Raises MissingExtraError when none can run.
    """
    tools, missing = {}, {}
    for name in EMBEDDERS_OF[kind]:
        try:
            tools[name] = vision.open_embedder(name, kind).tool
        except LimnerError as error:
            missing[name] = error.what
    if not tools:
        raise MissingExtraError(
            "No identity embedder can run here, so nobody can be recognised",
            fix="pip install 'limner[vision,faces]'",
        )
    return tools, missing


def primary(gates: Mapping[str, Gate]) -> str | None:
    """The embedder that speaks first: of drawings the one made for drawings, unless another knows
    surely more of the character's own pictures.

    Surely: the one-sided exact 95 % lower bound of its share lies above the first one's share. One
    own picture of eight more is chance, and the weaker embedder hardly knows anybody again.
    Decided on references and strangers alone, before any picture is judged.
    """
    first: str | None = None
    for name in (n for n in SPEAKERS if n in gates):
        gate = gates[name]
        sure = stats.exact_lower(gate.ceiling_hits, gate.ceiling_n) if gate.ceiling_n else 0.0
        if first is None or sure > gates[first].ceiling:
            first = name
    return first


@dataclass(frozen=True)
class Strangers:
    """Faces of other characters, made once per base: embedder -> vectors (n, d); yaws (n,)."""

    vectors: dict[str, NDArray[np.float32]]
    yaws: NDArray[np.float64]
    tools: dict[str, str]
    source: str

    @property
    def n(self) -> int:
        """How many faces."""
        return len(self.yaws)


def no_strangers(reason: str) -> Strangers:
    """An empty set with the reason why."""
    return Strangers({}, np.zeros(0), {}, reason)


def read_strangers(path: Path, tools: Mapping[str, str]) -> Strangers:
    """Strangers from an .npz (arrays `yaws`, one per embedder; `tools` and `source` as text).

    Vectors of another embedder version cannot be compared and are left out.
    """
    if not path.is_file():
        return no_strangers("this base ships no strangers")
    with np.load(path, allow_pickle=False) as data:
        made = dict(str(line).split("=", 1) for line in data["tools"])
        vectors = {n: data[n] for n in tools if n in data.files and made.get(n) == tools[n]}
        return Strangers(vectors, data["yaws"].astype(np.float64), made, str(data["source"]))


def write_strangers(path: Path, strangers: Strangers) -> None:
    """Write an .npz without objects, whole."""
    out = io.BytesIO()
    lines = np.array([f"{k}={v}" for k, v in sorted(strangers.tools.items())])
    arrays: dict[str, Any] = {n: v.astype(np.float32) for n, v in strangers.vectors.items()}
    arrays |= {"yaws": strangers.yaws, "tools": lines, "source": np.array(strangers.source)}
    np.savez_compressed(out, **arrays)
    files.write_bytes(path, out.getvalue())
