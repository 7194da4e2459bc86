"""Body proportions of full-body shots: how many face heights tall the person is, against the set.

In: judgements with the coarse outline's height and the face's. Out: `body_heads` as a measure, or
why there is none, and a doubt where one stands far from the set's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from limner.review.case import Judgement
from limner.review.rules import Rule

FULL = "full_body"


def judge(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """Coarse by nature (a face of 30 px errs by a tenth, the outline too): never a reject."""
    heads: list[tuple[Judgement, float]] = []
    for one in found:
        why = _reason(one)
        share, height = one.value("face_share"), one.value("person_height")
        if why is None and share and height:
            heads.append((one, height / share))
            one.put("body_heads", height / share, "faces")
        else:
            one.put("body_heads", None, "faces", why or "the person could not be cut out")
    if len(heads) < table["body_set_min"].value:
        return
    usual = float(np.median([tall for _, tall in heads]))
    for one, tall in heads:
        off = abs(tall / usual - 1)
        if off > table["body_off"].at(one.case.kind):
            said = f"the body is {tall:.1f} faces tall, the set's full bodies {usual:.1f}"
            one.found("body", "look", said)


def _reason(one: Judgement) -> str | None:
    """Why the body cannot be measured, None when it can."""
    reading = one.case.reading
    framing = one.case.shot.attributes.get("framing")
    if framing != FULL:
        return "read off full-body shots only" if framing else "no shot says what is in the picture"
    if reading is None or reading.face is None:
        return "no face to measure it by"
    if not reading.face.sure:
        return "only one detector sees a face, and is not sure"
    if one.case.turned:
        return "in profile a face has no sure height"
    if "person" in reading.missing:
        return reading.missing["person"]
    if one.value("person_cut"):
        return "the outline reaches the lower edge: the feet may be outside"
    return None
