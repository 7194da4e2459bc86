"""Which pictures a step sees and which random numbers it draws: pure functions of (seed, step).

No generator is carried from step to step, so a run taken up at any step goes on exactly as if it
had never stopped. Batches never mix picture sizes: RoPE reads only the first shape of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator

Stream = Literal["noise", "sigma", "dropout", "reference", "heldout", "trained", "init", "shuffle"]


@dataclass(frozen=True)
class Bucket:
    """Pictures of one size in pixels; `items` are indices into the data set."""

    width: int
    height: int
    items: tuple[int, ...]


def counter_seed(seed: int, stream: Stream, *counters: int) -> int:
    """A 56-bit seed for one draw, a hash of the run's seed, the stream's name and its counters."""
    text = f"{seed}:{stream}:{':'.join(map(str, counters))}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def generator(seed: int, stream: Stream, *counters: int) -> Generator:
    """A CPU torch generator at `counter_seed`; the same numbers on every device."""
    import torch

    return torch.Generator().manual_seed(counter_seed(seed, stream, *counters))


def _permutation(seed: int, bucket: int, turn: int, count: int) -> list[int]:
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(counter_seed(seed, "shuffle", bucket, turn)))
    return [int(i) for i in rng.permutation(count)]


def schedule(
    buckets: Sequence[Bucket],
    batch: int,
    steps: int,
    seed: int,
    weights: Mapping[int, int] | None = None,
) -> list[list[int]]:
    """The pictures of every step: `steps` lists of `batch` indices, each from one bucket.

    A bucket is an endless row of shuffled turns through its pictures, cut into batches: at any
    time two of its pictures of one weight differ by at most that many passes (a bucket smaller
    than the batch repeats pictures within it). The next batch comes from the bucket furthest
    behind its share of all pictures, so buckets stay within one batch of that share. weights:
    index -> how often a picture comes in one turn, 1 where not named. A longer row begins with the
    shorter one, so a run can be extended.
    """
    often = weights or {}
    buckets = [
        Bucket(b.width, b.height, tuple(i for i in b.items for _ in range(often.get(i, 1))))
        for b in buckets
    ]
    total = sum(len(b.items) for b in buckets)
    served = [0] * len(buckets)
    streams: list[list[int]] = [[] for _ in buckets]
    turns = [0] * len(buckets)
    rows = []
    for step in range(steps):
        behind = [(step + 1) * len(b.items) / total - served[i] for i, b in enumerate(buckets)]
        chosen = max(range(len(buckets)), key=lambda i: (behind[i], -i))
        items = buckets[chosen].items
        while len(streams[chosen]) < batch:
            order = _permutation(seed, chosen, turns[chosen], len(items))
            streams[chosen] += [items[i] for i in order]
            turns[chosen] += 1
        rows.append(streams[chosen][:batch])
        del streams[chosen][:batch]
        served[chosen] += 1
    return rows


def uniform(seed: int, stream: Stream, step: int, slot: int) -> float:
    """One number in [0, 1) for one picture of one step."""
    return counter_seed(seed, stream, step, slot) / float(1 << 56)
