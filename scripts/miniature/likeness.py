"""How near a sample is to the person its reference shows, among strangers. Needs the embedders."""

from __future__ import annotations

from typing import Any

import numpy as np

from limner import vision


def percentiles(made: np.ndarray, shown: np.ndarray) -> dict[str, Any]:
    """made[k] should be the person of shown[k]; both uint8 (N, H, W, 3).

    For each embedder: mean share of the other references that are farther from made[k] than its own
    (chance 0.5), with the number of pictures in which both faces were found.
    """
    out: dict[str, Any] = {}
    for name in ("drawn", "dlib"):
        embedder = vision.open_embedder(name)
        of_made = [vector_of(embedder, p) for p in made]
        of_shown = [vector_of(embedder, p) for p in shown]
        gallery = [k for k, v in enumerate(of_shown) if v is not None]
        ranks = []
        for k, v in enumerate(of_made):
            if v is None or k not in gallery:
                continue
            own = vision.similarity(v, of_shown[k])
            others = [vision.similarity(v, of_shown[j]) for j in gallery if j != k]
            ranks.append(float(np.mean([own > o for o in others])))
        out[name] = {
            "percentile": round(float(np.mean(ranks)), 3) if ranks else None,
            "faces": len(ranks),
            "of": len(made),
            "others": len(gallery) - 1,
        }
    return out


def vector_of(embedder: Any, picture: np.ndarray) -> Any:
    """The embedding of the largest face, None when no face is found."""
    faces = vision.find_faces(picture, kind="drawing")
    return embedder.embed(picture, max(faces, key=lambda f: f.width)) if faces else None
