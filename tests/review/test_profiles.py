"""What the shot asks explains a picture: a profile, a light, a whole body are no faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limner.project.records import Shot, Take
from limner.review import asked, body, within
from limner.review.case import Case, Judgement
from limner.review.measuring import Seen
from limner.review.rules import rules
from limner.vision.face import Face
from limner.vision.reading import Reading

FACE = Face((40, 40, 90, 96), ((54, 60), (76, 60)), (65, 72), 0.99, "finder", yaw=8.0)


def case(
    number: int, angle: str, labels: dict[str, Any] | None = None, face: Face = FACE, **asks: str
) -> Judgement:
    take = Take(number, f"shot_{number}", "atelier", 1, 1, "done", labels=labels or {})
    shot = Shot(f"shot_{number}", number, {"angle": angle, **asks}, "a prompt", 1)
    return Judgement(Case(take, shot, Seen(take, Reading(128, 128, (face,))), "drawing"))


def test_light_and_colour_of_a_profile_count_in_nothing() -> None:
    found = [case(n, "front") for n in range(10)] + [case(10, "side"), case(11, "front")]
    for number, one in enumerate(found):
        odd = number > 9
        one.put("face_lightness", 12.0 if odd else 62.0, "L*")
        one.put("face_clipped", 0.4 if odd else 0.0, "share")
        one.put("face_chroma", 90.0 if odd else 20.0, "C*ab")
    within.judge(found, rules({}))
    assert [one.findings for one in found[:11]] == [[]] * 11
    assert {f.rule for f in found[11].findings} == {"clipped", "underexposed", "chroma"}


def test_a_drawings_label_stands_above_the_detector() -> None:
    table = rules({})
    wrong, known, labelled = (
        case(1, "three_quarter"),
        case(2, "three_quarter", {"yaw": -42.7}),
        case(3, "front", {"yaw": 80.0}),
    )
    for one in (wrong, known, labelled):
        asked.judge(one, table)
    assert [f.rule for f in wrong.findings] == ["angle"]
    assert known.findings == [] and known.value("angle_error") == 0.0
    assert [(f.rule, f.severity) for f in labelled.findings] == [("angle", "reject")]


def test_a_profile_is_doubted_on_one_detectors_word_and_rejected_on_two() -> None:
    seen = [case(1, "side"), case(2, "side", face=replace(FACE, dlib_box=(40, 40, 90, 96)))]
    for one in seen:
        asked.judge(one, rules({}))
    assert [[f.severity for f in one.findings] for one in seen] == [["look"], ["reject"]]


def lit(number: int, light: str, lightness: float, chroma: float) -> Judgement:
    one = case(number, "front", lighting=light)
    one.put("face_lightness", lightness, "L*")
    one.put("face_chroma", chroma, "C*ab")
    one.put("face_clipped_light", 0.0, "share")
    return one


def test_what_a_light_does_is_no_fault_and_hides_none() -> None:
    usual = [lit(n, "overcast", 50 + n % 3, 20 + n % 2) for n in range(10)]
    dusk = lit(10, "blue_hour", 43, 14)
    lamp = lit(11, "warm_lamp", 51, 38)
    bright_dusk = lit(12, "blue_hour", 69, 15)  # no lighter than a sunlit face, nothing burnt out
    loud_dusk = lit(13, "blue_hour", 43, 30)  # no more colourful than a face under a lamp
    dim_sun = lit(14, "bright_sun", 28, 20)
    within.judge([*usual, dusk, lamp, bright_dusk, loud_dusk, dim_sun], rules({}))
    assert [one.findings for one in (*usual, dusk, lamp)] == [[]] * 12
    found = [{(f.rule, f.severity) for f in o.findings} for o in (bright_dusk, loud_dusk, dim_sun)]
    assert found == [
        {("overexposed", "reject")}, {("chroma", "reject")}, {("underexposed", "reject")},
    ]  # fmt: skip


def whole(number: int, heads: float, framing: str = "full_body", cut: float = 0.0) -> Judgement:
    one = case(number, "front", framing=framing)
    one.put("face_share", 0.1, "share")
    one.put("person_height", heads / 10, "share")
    one.put("person_cut", cut, "0 or 1")
    return one


def test_bodies_are_compared_where_all_of_them_is_seen() -> None:
    found = [whole(n, 7.5 + 0.2 * n) for n in range(5)]
    tall, cut, half = whole(5, 12.5), whole(6, 4.0, cut=1.0), whole(7, 4.0, "half_body")
    body.judge([*found, tall, cut, half], rules({}))
    assert [o.findings for o in (*found, cut, half)] == [[]] * 7
    assert [(f.rule, f.severity) for f in tall.findings] == [("body", "look")]
    assert tall.value("body_heads") == 12.5
    assert cut.measures["body_heads"].value is None and half.measures["body_heads"].value is None
    assert "feet may be outside" in (cut.measures["body_heads"].reason or "")
    few = [whole(n, 7.5) for n in range(2)] + [whole(2, 12.5)]
    body.judge(few, rules({}))
    assert [o.findings for o in few] == [[]] * 3
