"""The split: which kept takes are held out as references, before anything is trained.

In: kept takes with their shots. Out: ids to hold out. Deterministic: the same takes give the same
split, whatever their order; stratified by yaw, because a reference judges faces of its own yaw.
References of a run that was trained stay references: by others its pictures could not be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from limner import lexicon

HELD_OUT_SHARE = 0.15
"""Of the kept takes (starting value: 10-15 % held out, 6 of 40)."""
YAW_BINS = (20.0, 60.0)
"""Degrees that part frontal, turned and profile faces (starting value, as evaluation bins them)."""
FACE_FRAMINGS = ("close_up", "half_body")
"""Framings whose faces are large enough to judge by; other framings are held out last."""


@dataclass(frozen=True)
class Candidate:
    """A kept take as the split sees it. yaw: degrees, of the face to the camera, absolute."""

    take: int
    sha256: str
    framing: str
    yaw: float
    face_visible: bool


def yaw_of(labels: dict[str, object], angle: str) -> float:
    """The take's own yaw if its source knows it, else the middle of its angle's range."""
    known = labels.get("yaw")
    if isinstance(known, int | float):
        return abs(float(known))
    low, high = lexicon.angles()[angle].yaw
    return (low + high) / 2


def default_held_out(total: int) -> int:
    """How many of `total` to hold out when character.yaml does not say: 15 %, rounded."""
    return round(HELD_OUT_SHARE * total)


def hold_out(candidates: Sequence[Candidate], wanted: int, stay: Collection[int] = ()) -> list[int]:
    """Ids of `wanted` takes (fewer if fewer show a face): spread over yaw bins by their sizes.

    Inside a bin faces of close framings come first, then the order of a hash of the picture.
    stay: ids that are taken before any other, whatever their bin: the references that an earlier
    run is judged by.
    """
    seen = [c for c in candidates if c.face_visible]
    kept = sorted((c for c in seen if c.take in stay), key=_rank)[:wanted]
    chosen = [c.take for c in kept]
    bins: dict[int, list[Candidate]] = {}
    for candidate in seen:
        if candidate not in kept:
            bins.setdefault(_bin(candidate.yaw), []).append(candidate)
    rest = wanted - len(kept)
    for number, share in _shares({b: len(c) for b, c in bins.items()}, rest).items():
        order = sorted(bins[number], key=_rank)
        chosen += [c.take for c in order[:share]]
    return sorted(chosen)


def _bin(yaw: float) -> int:
    return sum(yaw >= edge for edge in YAW_BINS)


def _rank(candidate: Candidate) -> tuple[bool, str]:
    mixed = hashlib.sha256(f"held out|{candidate.sha256}|{candidate.take}".encode()).hexdigest()
    return candidate.framing not in FACE_FRAMINGS, mixed


def _shares(sizes: dict[int, int], wanted: int) -> dict[int, int]:
    """Largest-remainder shares of `wanted` over bins, no bin beyond its size."""
    total = sum(sizes.values())
    wanted = min(wanted, total)
    exact = {b: wanted * n / total for b, n in sorted(sizes.items())} if total else {}
    found = {b: int(v) for b, v in exact.items()}
    order = sorted(exact, key=lambda b: found[b] - exact[b])
    while sum(found.values()) < wanted:
        for b in order:
            if sum(found.values()) < wanted and found[b] < sizes[b]:
                found[b] += 1
    return found
