"""Setting thresholds on characters that are never judged: the odds of identity, where rules lie.

In: items and readings of the calibrating characters. Out: data/fusion.json's content, and for every
measure where good and spoilt pictures lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from faults.items import Item
from limner.review.asked import TURNED
from limner.vision.embedders import NAMES
from limner.vision.fusion import Evidence, Fusion, fit
from limner.vision.reading import Reading
from limner.vision.templates import build_template, robust_scores

Read = list[tuple[Item, Reading]]
LIMIT = 45.0
FALSE_REJECTS, FALSE_DOUBTS = 0.02, 0.06
"""Shares of good calibration faces that the two lines of the odds let fall."""


@dataclass(frozen=True)
class Basis:
    """A character's own assessable faces, and what templates are made of."""

    seed: str
    faces: list[Reading]
    own: list[Evidence]
    medians: tuple[float, float]
    cores: dict[str, np.ndarray]


def assessable(item: Item, reading: Reading) -> bool:
    """Whether review judges identity here."""
    face = reading.face
    if face is None or item.asked.get("angle") in TURNED:
        return False
    if face.yaw is None or abs(face.yaw) > LIMIT or not face.sure:
        return False
    return len(reading.vectors) == len(NAMES)


def basis_of(seed: str, read: Read) -> Basis | None:
    """Leave-one-out scores of a character's good pictures."""
    faces = [r for i, r in read if not i.fault and assessable(i, r)]
    if len(faces) < 8:
        return None
    yaws = [r.face.yaw if r.face else None for r in faces]
    scores = {}
    for name in NAMES:
        vectors = [np.array(r.vectors[name], np.float32) for r in faces]
        scores[name] = robust_scores(vectors, yaws)
    medians = (scores[NAMES[0]].median, scores[NAMES[1]].median)
    own = [
        _evidence(r, scores[NAMES[0]].scores[k], scores[NAMES[1]].scores[k], medians)
        for k, r in enumerate(faces)
    ]
    return Basis(seed, faces, own, medians, {n: scores[n].core for n in NAMES})


def _evidence(r: Reading, e1: float, e2: float, medians: tuple[float, float]) -> Evidence:
    assert r.face is not None
    return Evidence(float(e1), float(e2), *medians, r.face.yaw, r.face.width)


def against(basis: Basis, reading: Reading) -> Evidence:
    """A stranger's face against a character's templates."""
    assert reading.face is not None
    found = []
    for name in NAMES:
        chosen = [r for r, core in zip(basis.faces, basis.cores[name], strict=True) if core]
        template = build_template(
            [np.array(r.vectors[name], np.float32) for r in chosen],
            [r.face.yaw if r.face else None for r in chosen],
        )
        found.append(template.score(np.array(reading.vectors[name], np.float32), reading.face.yaw))
    return _evidence(reading, found[0], found[1], basis.medians)


def fusion(characters: Mapping[str, Read]) -> tuple[Fusion, dict[str, Any]]:
    """The regression and its card, with the lines for rejecting and doubting."""
    bases = {s: b for s, read in characters.items() if (b := basis_of(s, read)) is not None}
    same = [e for b in bases.values() for e in b.own]
    for seed, basis in bases.items():  # the spare pictures: a watermark leaves the face alone
        spare = [r for i, r in characters[seed] if i.fault == "watermark" and assessable(i, r)]
        same += [against(basis, reading) for reading in spare]
    strangers, alike = [], []
    for seed, basis in bases.items():
        for other, read in characters.items():
            for item, reading in read:
                if not assessable(item, reading):
                    continue
                if other != seed and not item.fault:
                    strangers.append(against(basis, reading))
                elif other == seed and item.fault == "look_alike":
                    alike.append(against(basis, reading))
    times = max(1, len(strangers) // max(len(alike), 1))
    found = fit(same, [*strangers, *(alike * times)])
    odds = np.array([found.odds(e) for e in same])
    card = {
        "characters": len(bases),
        "same": len(same),
        "strangers": len(strangers),
        "look_alikes": len(alike),
        "source": "bench/planted_faults.py --calibrate, 256 px drawings",
        "reject_below": round(float(np.quantile(odds, FALSE_REJECTS)), 3),
        "doubt_below": round(float(np.quantile(odds, FALSE_DOUBTS)), 3),
    }
    for name, faces in (("strangers", strangers), ("look_alikes", alike)):
        score = np.array([found.odds(e) for e in faces])
        card[f"{name}_rejected"] = round(float((score < card["reject_below"]).mean()), 4)
        card[f"{name}_doubted"] = round(float((score < card["doubt_below"]).mean()), 4)
    return found, card


MEASURED = (
    *("noise", "fine_detail", "blockiness", "border", "lightness", "face_clipped_light"),
    *("face_chroma", "picture_chroma", "picture_chroma_high", "sharpness", "spectral_slope"),
    *("face_share", "background_structure", "picture_lightness", "picture_clipped_light"),
)


def spread(characters: Mapping[str, Read]) -> list[str]:
    """Lines: measure, group, n, quantiles; relative to the character's good median."""
    lines = []
    for name in MEASURED:
        groups: dict[str, list[float]] = {}
        for read in characters.values():
            good = [r.values[name] for i, r in read if not i.fault and name in r.values]
            middle = float(np.median(good)) if good else 0.0
            for item, reading in read:
                if name in reading.values:
                    groups.setdefault(item.fault or "good", []).append(
                        reading.values[name] - middle
                    )
        for group, values in sorted(groups.items(), key=lambda kv: kv[0] != "good"):
            q = np.quantile(values, [0, 0.02, 0.5, 0.98, 1])
            lines.append(
                f"{name:22} {group:22} {len(values):4} " + " ".join(f"{v:9.3f}" for v in q)
            )
    return lines
