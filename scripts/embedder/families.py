"""Families of look-alikes: what an embedder needs that must not go by hair and skin.

    python -m scripts.embedder.families FOLDER [--people 4000] [--worker 0 --workers 2]

`MEMBERS` persons share every trait and the age, and differ in the shape of their faces alone. Out:
shards as those of `scripts.miniature.corpus`, whose faces are near enough to be told apart.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from limner.atelier import Identity, identity_from_seed
from limner.atelier.identity import TRAITS
from scripts.miniature import corpus

FIRST = 100_000
"""Persons from this number on are in families; below it nobody is related."""
MEMBERS = 4


def family(person: int) -> int:
    """A number that the members of a family share; everybody else has one of his own."""
    return person - person % MEMBERS if person >= FIRST else person


def member(person: int) -> Identity:
    """Who has this number: the family's first by chance, the others with its traits and age."""
    head = corpus.unrelated(family(person))
    if person == family(person):
        return head
    shared = {trait: getattr(head, trait) for trait in TRAITS}
    return identity_from_seed(corpus.FIRST_SEED + person, age=head.age, **shared)


def near(rng: random.Random) -> dict[str, str]:
    """Attributes of a scene in which the face can be judged."""
    while True:
        found = corpus.draw_attributes(rng)
        if found["angle"] in ("front", "three_quarter") and found["framing"] != "full_body":
            return found


CAST = corpus.Cast(member, near)


def main() -> None:
    """See the module's note."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=4000)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    corpus.make(given.folder, given.people, given.worker, given.workers, CAST, FIRST)


if __name__ == "__main__":
    main()
