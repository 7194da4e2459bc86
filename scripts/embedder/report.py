"""Measuring both embedders on characters that no network saw, and writing what Limner ships.

In: the pool of left-out persons. Out: centres.json (mean dlib descriptor of drawings),
calibrations.json (thresholds at FAR 1 % by yaw bin), and a report with AUC and n.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from limner.vision import faces, finder
from limner.vision.calibration import auc, calibrate
from limner.vision.embedders import DlibEmbedder, open_embedder
from limner.vision.templates import YAW_BINS, Template, build_template, yaw_bin
from scripts.embedder.corpus import LEAST_FACE, Pool
from scripts.embedder.families import family

TARGET_FAR = 0.01
MOST_USABLE = 45.0
"""Degrees of head turn up to which a face makes a template, as in review."""
DLIB_PERSONS = 60
"""Left-out persons measured with dlib, which takes 0.1 s a picture: one half gives the centre,
the other half is measured."""


def find_all(pool: Pool, index: np.ndarray, *, dlib: bool) -> dict[int, Any]:
    """Picture number -> largest face, found as the product does, or by the finder alone."""
    found = {}
    for i in index:
        image = pool.pictures[i]
        if dlib:
            seen = faces.find_faces(image, kind="drawing", smallest_face=15)
            face = seen[0] if seen else None
        else:
            face = finder.find_drawn_face(image)
        if face is not None and face.height >= LEAST_FACE:
            found[int(i)] = face
    return found


def centre_of_drawings(pool: Pool, found: dict[int, Any], persons: np.ndarray) -> dict[str, Any]:
    """Mean raw dlib descriptor of near-frontal faces of `persons`."""
    zero = DlibEmbedder(np.zeros(128, np.float32), "raw")
    chosen = [i for i in found if pool.person[i] in set(persons) and abs(pool.yaw[i]) < 45]
    raw = np.stack([zero.raw(pool.pictures[i], found[i]) for i in chosen])
    mean = [round(float(v), 6) for v in raw.mean(0)]
    return {"mean": mean, "n": len(chosen), "persons": len(set(pool.person[chosen].tolist()))}


def measure(pool: Pool, found: dict[int, Any], name: str, persons: np.ndarray) -> dict[str, Any]:
    """Pair AUC and template calibrations of one embedder by true yaw bin."""
    vectors, who, yaw, scene = embedded(pool, found, name, persons)
    bins = np.array([yaw_bin(v) for v in yaw])
    table: dict[str, Any] = {"pictures": len(vectors), "persons": len(set(who.tolist()))}
    pairs, cards = {}, {}
    for label, rows in [("all", bins != "side"), *((b, bins == b) for b, _, _ in YAW_BINS)]:
        if rows.sum() < 10:
            continue
        same, other = pairs_of(vectors[rows], who[rows], scene[rows])
        if len(same):
            pairs[label] = {
                "auc": round(auc(same, other), 4),
                "same": len(same),
                "other": len(other),
                "mean_same": round(float(same.mean()), 3),
                "mean_other": round(float(other.mean()), 3),
            }
        cards[label] = against_templates(vectors, who, yaw, scene, np.nonzero(rows)[0], name)
    return {**table, "pairs": pairs, "templates": cards}


def pairs_of(
    vectors: np.ndarray, who: np.ndarray, scene: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of pairs of one person (from two scenes) and of pairs of two persons."""
    cosines = vectors @ vectors.T
    upper = np.triu(np.ones(cosines.shape, dtype=bool), 1)
    equal = who[:, None] == who[None, :]
    apart = scene[:, None] != scene[None, :]
    return cosines[upper & equal & apart], cosines[upper & ~equal]


def against_templates(
    vectors: np.ndarray,
    who: np.ndarray,
    yaw: np.ndarray,
    scene: np.ndarray,
    rows: np.ndarray,
    name: str,
) -> dict[str, Any]:
    """Each face of `rows` against everybody's template (its own without its scene)."""
    known = templates(vectors, who, yaw)
    genuine, impostor = [], []
    for i in rows:
        impostor += [t.score(vectors[i], yaw[i]) for p, t in known.items() if p != who[i]]
        own = own_score(i, vectors, who, yaw, scene)
        if own is not None:
            genuine.append(own)
    found = calibrate(
        impostor, target_far=TARGET_FAR, source="left-out drawn characters", tool=name
    )
    scores = np.array(genuine)
    return {
        "calibration": found.as_dict(),
        "auc": round(auc(scores, impostor), 4) if len(scores) else None,
        "genuine": len(scores),
        "verified": round(float((scores >= found.threshold).mean()), 4) if len(scores) else None,
    }


def among_families(pool: Pool, found: dict[int, Any], name: str) -> dict[str, Any]:
    """How well one embedder parts look-alikes: each face against its person's template (without its
    scene) and against those of the rest of the family, by yaw bin."""
    vectors, who, yaw, scene = embedded(pool, found, name, np.unique(pool.person))
    known = templates(vectors, who, yaw)
    table: dict[str, Any] = {"pictures": len(vectors), "persons": len(known)}
    for label, low, high in YAW_BINS:
        own, others = [], []
        for i in np.nonzero((np.abs(yaw) >= low) & (np.abs(yaw) < min(high, MOST_USABLE)))[0]:
            score = own_score(i, vectors, who, yaw, scene)
            if score is None:
                continue
            own.append(score)
            others += [
                template.score(vectors[i], yaw[i])
                for p, template in known.items()
                if p != who[i] and family(p) == family(int(who[i]))
            ]
        if own and others:
            mean = round(auc(np.array(own), np.array(others)), 4)
            table[label] = {"auc": mean, "own": len(own), "look_alikes": len(others)}
    return table


def embedded(
    pool: Pool, found: dict[int, Any], name: str, persons: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(vectors (n, dimension), person, true yaw in degrees, scene) of the faces of `persons`."""
    tool = open_embedder(name, "drawing")
    chosen = [i for i in found if pool.person[i] in set(persons)]
    vectors = np.stack([tool.embed(pool.pictures[i], found[i]) for i in chosen])
    return vectors, pool.person[chosen], pool.yaw[chosen], pool.scene[chosen]


def templates(vectors: np.ndarray, who: np.ndarray, yaw: np.ndarray) -> dict[int, Template]:
    """Person -> template of all faces turned by less than `MOST_USABLE`."""
    usable = np.abs(yaw) < MOST_USABLE
    rows = {int(p): np.nonzero((who == p) & usable)[0] for p in np.unique(who)}
    return {p: build_template(list(vectors[r]), list(yaw[r])) for p, r in rows.items() if len(r)}


def own_score(
    i: int, vectors: np.ndarray, who: np.ndarray, yaw: np.ndarray, scene: np.ndarray
) -> float | None:
    """Face i against its person's template without its scene; None below three other faces."""
    rest = np.nonzero((who == who[i]) & (np.abs(yaw) < MOST_USABLE) & (scene != scene[i]))[0]
    if len(rest) < 3:
        return None
    return build_template(list(vectors[rest]), list(yaw[rest])).score(vectors[i], yaw[i])


def detection(pool: Pool, found: dict[int, Any], index: np.ndarray) -> dict[str, Any]:
    """Found share, yaw error and point error of the product's face finding, by true yaw."""
    table = {}
    edges = [(0, 20), (20, 45), (45, 70), (70, 100), (100, 181)]
    for low, high in edges:
        rows = [
            i
            for i in index
            if low <= abs(pool.yaw[i]) < high and pool.height[i] >= LEAST_FACE and pool.visible[i]
        ]
        hit = [i for i in rows if int(i) in found]
        line: dict[str, Any] = {"n": len(rows), "found": round(len(hit) / max(len(rows), 1), 3)}
        if hit and low < 100:
            wrong = [abs(found[int(i)].yaw - pool.yaw[i]) for i in hit]
            miss = [
                np.abs(
                    np.array([*found[int(i)].eyes, found[int(i)].nose]) - pool.points[i][:3]
                ).mean()
                / pool.height[i]
                for i in hit
            ]
            line["yaw_error"] = round(float(np.median(wrong)), 1)
            line["point_error"] = round(float(np.median(miss)), 3)
        table[f"{low}-{high}"] = line
    backs = [i for i in index if not pool.visible[i]]
    share = sum(int(i) in found for i in backs) / max(len(backs), 1)
    table["no face seen"] = {"n": len(backs), "found": round(share, 3)}
    return table


def write(
    pool: Pool,
    related: Pool,
    data: Path,
    work: Path,
    parts: tuple[str, ...] = ("dlib", "drawn"),
) -> dict[str, Any]:
    """Measure both embedders (or one), write centres.json, calibrations.json and a report.

    related: persons of families, of which only look-alikes are told.
    """
    file = work / "embedder_report.json"
    report: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    persons = np.unique(pool.person)
    if "dlib" in parts:
        few = persons[:DLIB_PERSONS]
        half = len(few) // 2
        some = np.nonzero(np.isin(pool.person, few))[0]
        found = find_all(pool, some, dlib=True)
        report["finder with dlib"] = detection(pool, found, some)
        centre = centre_of_drawings(pool, found, few[:half])
        (data / "centres.json").write_text(json.dumps({"drawing": centre}) + "\n")
        open_embedder.cache_clear()
        report["dlib"] = measure(pool, found, "dlib", few[half:])
    if "drawn" in parts:
        everything = np.arange(len(pool.pictures))
        alone = find_all(pool, everything, dlib=False)
        report["finder alone"] = detection(pool, alone, everything)
        report["drawn"] = measure(pool, alone, "drawn", persons)
        alike = find_all(related, np.arange(len(related.pictures)), dlib=False)
        report["drawn"]["look_alikes"] = among_families(related, alike, "drawn")
    table = {
        name: {b: card["calibration"] for b, card in report[name]["templates"].items()}
        for name in ("dlib", "drawn")
        if name in report
    }
    text = json.dumps({"drawing": table}, indent=1)
    (data / "calibrations.json").write_text(text + "\n", encoding="utf-8")
    file.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report
