"""The faces the embedder learns from, cut out three ways: at their true points, where the shipped
finder sees them, and after the miniature's autoencoder, which every render went through.

In: shards of drawings. Out: one .npz a shard (crops of `corpus.CROP` px), written whole, so that a
stopped run goes on; `Faces` draws training batches from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from limner.models import open_base
from limner.vision.finder import find_drawn_face
from scripts.embedder.corpus import crops, judgeable, labelled, left_out
from scripts.embedder.families import FIRST, MEMBERS, family
from scripts.make_strangers import through
from scripts.miniature.corpus import shards

THROUGH = 2
"""Every so manieth face is also sent through the autoencoder."""
FARTHEST = 0.25
"""Found points further from the true ones than this share of the face's height are another's."""


def make(folders: list[Path], out: Path) -> None:
    """Cut what is missing: about a tenth of a second a drawing, most of it the autoencoder."""
    out.mkdir(parents=True, exist_ok=True)
    base: Any = None
    for file in (f for folder in folders for f in shards(folder)):
        target = out / f"{file.stem}.npz"
        if target.exists():
            continue
        base = base or open_base("miniature")
        temp = out / f".{target.name}"
        np.savez(temp, **_views(file, base))
        temp.replace(target)
        print(f"views of {file.stem}", flush=True)


def _views(file: Path, base: Any) -> dict[str, np.ndarray]:
    pictures, told = np.load(file, allow_pickle=False), labelled(file)
    rows = np.nonzero(judgeable(told))[0]
    pictures, points = pictures[rows], told["points"][rows]
    tall = (told["box"][:, 3] - told["box"][:, 1])[rows]
    seen, where = [], []
    for i, picture in enumerate(pictures):
        face = find_drawn_face(picture)
        spots = None if face is None else np.array([*face.eyes, face.nose])
        if spots is not None and np.abs(spots - points[i][:3]).mean() < FARTHEST * tall[i]:
            seen.append(i)
            where.append(spots)
    half = np.arange(0, len(rows), THROUGH)
    back = [through(base, picture) for picture in pictures[half]]
    return {
        "person": told["person"][rows],
        "true": crops(pictures, points),
        "found": crops(pictures[seen], np.array(where)),
        "found_rows": np.array(seen),
        "through": crops(np.stack(back), points[half]),
        "through_rows": half,
    }


KINDS = {"true": 0.3, "found": 0.4, "through": 0.3}
"""Way of cutting -> share of a batch; where a face lacks one, its true crop stands in."""
RELATED = 0.35
"""Share of a batch's persons that are families of look-alikes."""


class Faces:
    """All views of the persons that train, and which person's each is."""

    def __init__(self, folder: Path) -> None:
        parts: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        persons, rows = [], {kind: [] for kind in KINDS if kind != "true"}
        start = 0
        for file in sorted(folder.glob("people_*.npz")):
            with np.load(file, allow_pickle=False) as found:
                persons.append(found["person"])
                for kind, kept in parts.items():
                    kept.append(found[kind])
                for kind, kept in rows.items():
                    kept.append(found[f"{kind}_rows"] + start)
                start += len(found["person"])
        if not persons:
            raise SystemExit(f"no views in {folder}")
        self.crops = {kind: np.concatenate(kept) for kind, kept in parts.items()}
        person = np.concatenate(persons)
        self.at = {"true": np.arange(start)}
        for kind, kept in rows.items():
            self.at[kind] = np.full(start, -1)
            self.at[kind][np.concatenate(kept)] = np.arange(sum(map(len, kept)))
        self.of: dict[int, np.ndarray] = {}
        for who in np.unique(person):
            mine = np.nonzero(person == who)[0]
            if not left_out(int(who)) and len(mine) > 1:
                self.of[int(who)] = mine
        self.persons = np.array(sorted(self.of))
        related = self.persons[self.persons >= FIRST]
        heads = np.array([family(int(p)) for p in related])
        self.families = [related[heads == head] for head in np.unique(heads)]

    def batch(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Two crops of each of size / 2 persons, one after the other (size, CROP, CROP, 3)."""
        several = min(int(size / 2 * RELATED) // MEMBERS, len(self.families))
        picks = rng.choice(len(self.families), several, replace=False) if several else []
        chosen = [int(p) for k in picks for p in self.families[k]]
        rest = size // 2 - len(chosen)
        chosen += rng.choice(self.persons, rest, replace=len(self.persons) < rest).tolist()
        rows = np.concatenate([rng.choice(self.of[p], 2, replace=False) for p in chosen])
        kinds = rng.choice(len(KINDS), len(rows), p=list(KINDS.values()))
        found = self.crops["true"][rows]
        for number, kind in enumerate(KINDS):
            at = self.at[kind][rows]
            use = (kinds == number) & (at >= 0)
            found[use] = self.crops[kind][at[use]]
        return found
