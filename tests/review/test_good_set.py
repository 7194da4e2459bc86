"""A good set stays: drawings as the demo makes them, planned and lit in every way, lose none."""

from __future__ import annotations

from pathlib import Path

from limner.atelier import Character, abilities, identity_from_seed
from limner.project.records import Shot, Take
from limner.review.case import Case
from limner.review.judge import judge
from limner.review.measuring import Seen
from limner.review.rules import rules
from limner.shots.planner import make_plan
from limner.sources.atelier import draw
from limner.sources.source import Request
from limner.vision import open_picture
from limner.vision.reading import read_picture


def test_a_planned_set_of_good_drawings_loses_none(tmp_path: Path) -> None:
    who = Character(identity_from_seed(4242))
    plan = make_plan(
        count=14, seed=5, abilities=abilities(), trigger="grace_person", class_word="woman",
        moves=500,
    )  # fmt: skip
    cases = []
    for place, planned in enumerate(plan.shots):
        asked = dict(planned.attributes)
        made = draw(who, Request(f"shot_{place}", "a prompt", asked, 128, 100 + place))
        file = tmp_path / f"{place}.png"
        file.write_bytes(made.data)
        take = Take(place + 1, f"shot_{place}", "atelier", 1, 0, "done", labels=made.labels)
        shot = Shot(take.shot_id, place, asked, "", 0, asked["angle"] != "pure_back")
        cases.append(Case(take, shot, Seen(take, read_picture(open_picture(file))), "drawing"))
    lost = [
        (one.case.shot.attributes, one.reasons)
        for one in judge(cases, rules({})).all
        if one.verdict == "reject"
    ]
    assert lost == []
