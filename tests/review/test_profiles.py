"""In profile a detector takes hair for a face; a drawing's own label knows how far it turns."""

from __future__ import annotations

from typing import Any

from limner.project.records import Shot, Take
from limner.review import asked, within
from limner.review.case import Case, Judgement
from limner.review.measuring import Seen
from limner.review.rules import rules
from limner.vision.face import Face
from limner.vision.reading import Reading

FACE = Face((40, 40, 90, 96), ((54, 60), (76, 60)), (65, 72), 0.99, "finder", yaw=8.0)


def case(number: int, angle: str, labels: dict[str, Any] | None = None) -> Judgement:
    take = Take(number, f"shot_{number}", "atelier", 1, 1, "done", labels=labels or {})
    shot = Shot(f"shot_{number}", number, {"angle": angle}, "a prompt", 1)
    return Judgement(Case(take, shot, Seen(take, Reading(128, 128, (FACE,))), "drawing"))


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
