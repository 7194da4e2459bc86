"""Identity against a reference folder: one picture of the person rejects nobody for being one."""

from __future__ import annotations

import numpy as np

from limner.project.records import Shot, Take
from limner.review.case import Case
from limner.review.judge import References, judge
from limner.review.measuring import Seen
from limner.review.rules import rules
from limner.vision.face import Face
from limner.vision.reading import Reading

FACE = Face((40, 40, 140, 150), ((70, 80), (110, 80)), (90, 100), 0.99, "dlib hog", yaw=4.0)


def photo(number: int, vector: np.ndarray) -> Case:
    take = Take(number, f"{number}.jpg", "folder", 1, 0, "done")
    unit = [float(v) for v in vector / np.linalg.norm(vector)]
    reading = Reading(1200, 1200, (FACE,), {"dlib": unit})
    return Case(take, Shot(f"{number}.jpg", number, {}, "", 0), Seen(take, reading), "photo")


def test_one_reference_of_photographs_finds_the_stranger_and_nobody_else() -> None:
    rng = np.random.default_rng(4)
    who, other = rng.normal(size=128), rng.normal(size=128)

    def like(centre: np.ndarray) -> np.ndarray:
        return centre / np.linalg.norm(centre) + rng.normal(0, 0.04, 128)

    cases = [photo(n, like(who)) for n in range(10)] + [photo(10, like(other))]
    for count in (1, 2):
        own = [like(who).astype(np.float32) for _ in range(count)]
        own = [(v / np.linalg.norm(v)).astype(np.float32) for v in own]
        found = judge(
            cases, rules({}), references=References({"dlib": own}, {"dlib": [0.0] * count})
        )
        accused = [
            any(f.rule == "identity" and f.severity == "reject" for f in one.findings)
            for one in found.all
        ]
        assert accused == [False] * 10 + [True], count
    few = judge(cases[:4], rules({}), references=References({"dlib": own[:1]}, {"dlib": [0.0]}))
    measured = few.all[0].measures["identity_dlib"]
    assert measured.value is None and "or 4 references" in (measured.reason or "")
    wish = rules({"identity_references_min": 1})  # one is as like itself as nothing else is
    alone = judge(cases, wish, references=References({"dlib": own[:1]}, {"dlib": [0.0]}))
    accused = [any(f.rule == "identity" for f in one.findings) for one in alone.all]
    assert accused[-1] and not all(accused)
