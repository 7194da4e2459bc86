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
from limner.review.case import TURNED
from limner.review.lights import Light, stops
from limner.vision.embedders import NAMES
from limner.vision.fusion import Evidence, Fusion, fit
from limner.vision.reading import Reading
from limner.vision.spread import fit_spread, through
from limner.vision.templates import build_template, robust_scores

Read = list[tuple[Item, Reading]]
LIMIT = 45.0
TAILS = {"reject_below": (0.03, 1.881), "doubt_below": (0.06, 1.555)}
"""Line -> share of good faces that should fall, and how many deviations of a normal tail that is.

Median and MAD of the good calibration faces set the lines: of 85 faces, the third lowest alone
would swing by two units with one picture more."""


@dataclass(frozen=True)
class Basis:
    """A character's own assessable faces, and what templates are made of."""

    seed: str
    faces: list[Reading]
    own: list[Evidence]
    medians: tuple[float, float]
    cores: dict[str, np.ndarray]
    spread: np.ndarray


def assessable(item: Item, reading: Reading) -> bool:
    """Whether review judges identity here."""
    face = reading.face
    if face is None or item.asked.get("angle") in TURNED:
        return False
    if face.yaw is None or abs(face.yaw) > LIMIT or not face.sure:
        return False
    return len(reading.vectors) == len(NAMES)


def people_of(characters: Mapping[str, Read]) -> list[list[np.ndarray]]:
    """dlib's vectors of every person drawn: the characters and their look-alikes."""
    found = []
    for read in characters.values():
        for faults in (("", "watermark"), ("look_alike",)):
            faces = [r for i, r in read if i.fault in faults and assessable(i, r)]
            found.append(_vectors(faces, NAMES[0], None))
    return found


def _vectors(faces: list[Reading], name: str, spread: np.ndarray | None) -> list[np.ndarray]:
    vectors = [np.array(r.vectors[name], np.float32) for r in faces]
    return through(spread if name == NAMES[0] else None, vectors)


def basis_of(seed: str, characters: Mapping[str, Read]) -> Basis | None:
    """Leave-one-out scores of a character's good pictures; the spread is that of the others."""
    read = characters[seed]
    faces = [r for i, r in read if not i.fault and assessable(i, r)]
    if len(faces) < 8:
        return None
    yaws = [r.face.yaw if r.face else None for r in faces]
    spread = fit_spread(people_of({k: v for k, v in characters.items() if k != seed}))
    scores = {name: robust_scores(_vectors(faces, name, spread), yaws) for name in NAMES}
    medians = (scores[NAMES[0]].median, scores[NAMES[1]].median)
    own = [
        _evidence(r, scores[NAMES[0]].scores[k], scores[NAMES[1]].scores[k], medians)
        for k, r in enumerate(faces)
    ]
    return Basis(seed, faces, own, medians, {n: scores[n].core for n in NAMES}, spread)


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
            _vectors(chosen, name, basis.spread),
            [r.face.yaw if r.face else None for r in chosen],
        )
        found.append(template.score(_vectors([reading], name, basis.spread)[0], reading.face.yaw))
    return _evidence(reading, found[0], found[1], basis.medians)


def fusion(characters: Mapping[str, Read]) -> tuple[Fusion, dict[str, Any]]:
    """The regression and its card, with the lines for rejecting and doubting."""
    bases = {s: b for s in characters if (b := basis_of(s, characters)) is not None}
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
        **{
            line: round(float(np.median(odds) - tail * 1.4826 * _mad(odds)), 3)
            for line, (_, tail) in TAILS.items()
        },
    }
    for name, faces in (("strangers", strangers), ("look_alikes", alike)):
        score = np.array([found.odds(e) for e in faces])
        card[f"{name}_rejected"] = round(float((score < card["reject_below"]).mean()), 4)
        card[f"{name}_doubted"] = round(float((score < card["doubt_below"]).mean()), 4)
    return found, card


def _mad(values: np.ndarray) -> float:
    return float(np.median(np.abs(values - np.median(values))))


def lights(characters: Mapping[str, Read], rounds: int = 6) -> list[str]:
    """What each light does to a face, for review.lights.DRAWN: stops and times the chroma, medians
    over the characters' good faces; each character's own level and the lights in turn."""
    found: dict[str, Light] = {}
    for _ in range(rounds):
        stop: dict[str, list[float]] = {}
        times: dict[str, list[float]] = {}
        for read in characters.values():
            faces = [(i.asked["lighting"], r.values) for i, r in read if _lit(i, r)]
            known = [found.get(name, Light()) for name, _ in faces]
            level = [
                stops(v["lightness"]) - k.stops for (_, v), k in zip(faces, known, strict=True)
            ]
            colour = [v["face_chroma"] / k.chroma for (_, v), k in zip(faces, known, strict=True)]
            for name, values in faces:
                stop.setdefault(name, []).append(stops(values["lightness"]) - np.median(level))
                times.setdefault(name, []).append(values["face_chroma"] / np.median(colour))
        found = {k: Light(float(np.median(stop[k])), float(np.median(times[k]))) for k in stop}
    return [
        f'"{k}": Light({found[k].stops:.2f}, {found[k].chroma:.2f}),  # {len(stop[k])}'
        for k in sorted(found)
    ]


def _lit(item: Item, reading: Reading) -> bool:
    face = reading.face
    good = item.fault in ("", "watermark") and item.asked.get("angle") not in TURNED
    return good and face is not None and face.sure and "lightness" in reading.values


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
