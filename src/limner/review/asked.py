"""Prompt against picture, by measure: is the face there, turned and as large as the shot asks?

In: a judgement with its shot's attributes. Out: findings on angle, framing, face and light.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from limner.review.case import TURNED, Judgement, Severity
from limner.review.rules import Rule


def judge(one: Judgement, table: Mapping[str, Rule]) -> None:
    """Hold one picture against its shot; without a shot (any folder) nothing is asked."""
    reading = one.case.reading
    if reading is None or "face_count" in reading.missing or not one.case.shot.attributes:
        return
    if reading.face is None or not reading.face.sure:
        _no_face(one, table)
        return
    _angle(one, table)
    _framing(one, table)
    _place(one, table)


def _no_face(one: Judgement, table: Mapping[str, Rule]) -> None:
    shot, reading = one.case.shot, one.case.reading
    assert reading is not None
    unsure = reading.face is not None
    one.put("framing_error", None, "log2", UNSURE if unsure else "no face found")
    one.put("angle_error", None, "deg", UNSURE if unsure else "no face found")
    if not shot.face_visible or one.case.turned:
        return
    expected = _expected_face(shot.attributes.get("framing", ""), reading.height)
    if expected is not None and expected < table["smallest_face"].at(one.case.kind):
        one.notes.append(f"a face of about {expected:.0f} px is too small to be found")
        return
    found = "no face that two detectors agree on" if unsure else "no face found"
    said = f"{found}, though the shot asks for a {shot.attributes.get('angle')} view"
    one.found("face", "reject", said)


UNSURE = "only one detector sees a face, and is not sure"


def _expected_face(framing: str, height: int) -> float | None:
    from limner.lexicon import framings

    found = framings().get(framing)
    return None if found is None else found.face_share[0] * height


def _angle(one: Judgement, table: Mapping[str, Rule]) -> None:
    """Degrees between the head turn seen and the range that the angle's domain allows."""
    from limner.lexicon import angles

    angle = angles().get(one.case.shot.attributes.get("angle", ""))
    reading = one.case.reading
    assert reading is not None and reading.face is not None
    known = one.case.known_yaw
    yaw = reading.face.yaw if known is None else known
    if angle is None or yaw is None:
        return
    if not angle.face:
        if abs(yaw) < table["back_face_yaw"].value:
            said = "a face is seen, though the shot asks for a pure back view"
            one.found("angle", "look" if one.case.kind == "photo" else "reject", said)
        return
    low, high = angle.yaw
    turn = abs(yaw)
    error = max(low - turn, turn - high, 0.0)
    if known is None and angle.id in TURNED:
        error = max(error - table["angle_far"].value, 0.0)
    one.put("angle_error", error, "deg")
    words = f"the head is turned by about {turn:.0f} degrees, a {angle.id.replace('_', '-')} view"
    said = f"{words} has {low:.0f} to {high:.0f}"
    # Where a profile is asked, the finder alone reads a face off hair or a raised hand.
    doubted = known is None and one.case.turned and reading.face.dlib_box is None
    if error > table["angle_off"].at(one.case.kind) and not doubted:
        one.found("angle", "reject", said)
    elif error > table["angle_doubt"].at(one.case.kind):
        one.found("angle", "look", said)


def _framing(one: Judgement, table: Mapping[str, Rule]) -> None:
    """log2 of the face's share of the height over the nearest end of the framing's range."""
    from limner.lexicon import framings

    reading = one.case.reading
    asked = one.case.shot.attributes.get("framing", "")
    framing = framings().get(asked)
    share = None if reading is None else reading.values.get("face_share")
    if framing is None or share is None or share <= 0:
        return
    low, high = framing.face_share
    error = float(max(np.log2(low / share), np.log2(share / high), 0.0))
    one.put("framing_error", error, "log2")
    seen = min(framings().values(), key=lambda f: abs(np.log2(share / np.mean(f.face_share))))
    said = (
        f"the face fills {100 * share:.0f} % of the height like a {seen.phrase}, "
        f"a {framing.phrase} has {100 * low:.0f} % to {100 * high:.0f} %"
    )
    severity: Severity | None = None
    if error > table["framing_off"].at(one.case.kind):
        # In profile a detector may take an ear for a face: a person should look.
        severity = "look" if one.case.turned else "reject"
    elif error > table["framing_doubt"].at(one.case.kind):
        severity = "look"
    if severity and not one.has("angle"):
        one.found("framing", severity, said)


def _place(one: Judgement, table: Mapping[str, Rule]) -> None:
    """A studio wall asked for, a place full of things seen (or the other way round)."""
    from limner.lexicon import settings

    setting = settings().get(one.case.shot.attributes.get("setting", ""))
    structure = one.value("background_structure")
    if setting is None or structure is None:
        return
    if setting.mix == "studio" and structure > table["studio_structure"].at(one.case.kind):
        said = (
            f"the background is busy ({100 * structure:.0f} % on edges), the shot asks for a studio"
        )
        one.found("place", "look", said)
