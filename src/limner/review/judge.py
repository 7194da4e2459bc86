"""From readings to verdicts: the set is compared with itself, then the rule table is applied.

In: cases (take, shot, what was seen). Out: a `Judgement` a take: keep, reject or undecided with
its reasons in words, and the measures that led there. Pure: reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from limner.project.records import Measure, Shot, Take, Verdict3
from limner.review.measuring import Seen
from limner.review.rules import Rule, kind_of
from limner.vision.calibration import shipped_calibration
from limner.vision.duplicates import Hashes, Nearest, nearest
from limner.vision.embedders import NAMES
from limner.vision.faces import Kind
from limner.vision.reading import Reading
from limner.vision.templates import SetScores, robust_scores, yaw_bin

TURNED = ("side", "back", "pure_back")
"""Angles whose face is not judged on identity: detectors and embedders fail there."""


@dataclass(frozen=True)
class Case:
    """One take with its shot and what its file showed. trusted: a person kept it."""

    take: Take
    shot: Shot
    seen: Seen
    trusted: bool = False

    @property
    def kind(self) -> Kind:
        """Kind of picture its source makes."""
        return kind_of(self.take.source)


@dataclass
class Judgement:
    """What the rules say of one take. Faults reject, doubts leave it to a person."""

    case: Case
    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measures: dict[str, Measure] = field(default_factory=dict)
    merit: float = 0.0

    @property
    def verdict(self) -> Verdict3:
        """reject with any fault, undecided with any doubt, else keep."""
        return "reject" if self.faults else "undecided" if self.doubts else "keep"

    @property
    def reasons(self) -> list[str]:
        """What a person reads; a kept take says what was found."""
        return [*self.faults, *self.doubts] or [*self.notes]


def judge(cases: Sequence[Case], table: Mapping[str, Rule]) -> list[Judgement]:
    """Apply every rule to every case, in order."""
    found = [Judgement(case) for case in cases]
    for one in found:
        _file_and_face(one, table)
    _sharpness(found, table)  # first: a blurred face is not accused of being somebody else
    for name in NAMES:
        _identity(found, table, name)
    _identity_verdicts(found)
    _light(found, table)
    _duplicates(found, table)
    for one in found:
        _notes(one)
    return found


# ---- one picture


def _file_and_face(one: Judgement, table: Mapping[str, Rule]) -> None:
    case, reading = one.case, one.case.seen.reading
    if reading is None:
        one.faults.append(f"the file cannot be judged: {case.seen.fault}")
        return
    if case.seen.changed:
        one.doubts.append("the file was changed after it was made")
    _put(one, "short_side", float(min(reading.width, reading.height)), "px")
    least = table["short_side_min"].at(case.kind)
    if min(reading.width, reading.height) < least:
        one.faults.append(f"the short side is {min(reading.width, reading.height)} px of {least:g}")
    for name in ("picture_clipped", "picture_lightness"):
        _put(one, name, reading.values[name], "share" if name.endswith("clipped") else "L*")
    if "face_count" in reading.missing:
        for name in ("face_count", "face_width", "yaw"):
            _put(one, name, None, "", reading.missing["face_count"])
        return
    _put(one, "face_count", float(len(reading.faces)), "faces")
    if len(reading.faces) > table["faces_max"].value:
        one.faults.append(f"{len(reading.faces)} faces are in the picture")
    if reading.face is not None:
        _put(one, "face_width", reading.face.width, "px")
        _put(one, "yaw", reading.face.yaw, "deg", "" if reading.face.yaw is not None else "unknown")
        _asked_angle(one, reading, table)
    else:
        _no_face(one, reading, table)


def _no_face(one: Judgement, reading: Reading, table: Mapping[str, Rule]) -> None:
    reason = next(r for n, r in reading.missing.items() if n in NAMES)
    for name in ("face_width", "yaw"):
        _put(one, name, None, "", reason)
    asked = one.case.shot.attributes
    if not one.case.shot.face_visible or asked.get("angle") in TURNED:
        return
    expected = _expected_face(asked.get("framing", ""), reading.height)
    if expected is not None and expected < table["smallest_face"].at(one.case.kind):
        one.notes.append(f"a face of about {expected:.0f} px is too small to be found")
        return
    one.faults.append(f"no face found, though the shot asks for a {asked.get('angle')} view")


def _expected_face(framing: str, height: int) -> float | None:
    from limner.lexicon import framings

    found = framings().get(framing)
    return None if found is None else found.face_share[0] * height


def _asked_angle(one: Judgement, reading: Reading, table: Mapping[str, Rule]) -> None:
    asked = one.case.shot.attributes.get("angle")
    yaw = reading.face.yaw if reading.face else None
    if yaw is None:
        return
    if asked == "front" and abs(yaw) > table["front_yaw_max"].value:
        one.doubts.append(f"the head is turned by about {abs(yaw):.0f} degrees in a front shot")
    if not one.case.shot.face_visible and abs(yaw) < table["front_yaw_max"].value:
        one.doubts.append("a face is seen, though the shot asks for a pure back view")


# ---- the set against itself


def _not_assessable(one: Judgement, table: Mapping[str, Rule], name: str) -> str | None:
    """Why identity cannot be judged here, None when it can."""
    reading = one.case.seen.reading
    if reading is None:
        return "the file cannot be judged"
    angle = one.case.shot.attributes.get("angle")
    if angle in TURNED:
        return f"not assessable: {angle.replace('_', ' ')} view"
    if reading.vector(name) is None:
        return reading.missing.get(name, "not measured")
    face = reading.face
    limit = table["identity_yaw_max"].value
    if face is not None and face.yaw is not None and abs(face.yaw) > limit:
        return f"not assessable: head turned by more than {limit:.0f} degrees"
    return None


def _identity(found: list[Judgement], table: Mapping[str, Rule], name: str) -> None:
    measure = f"identity_{name}"
    judged: list[tuple[Judgement, np.ndarray, float | None]] = []
    for one in found:
        reason = _not_assessable(one, table, name)
        reading = one.case.seen.reading
        vector = reading.vector(name) if reading else None
        if reason is not None or reading is None or vector is None:
            _put(one, measure, None, "cosine", reason or "not measured")
        else:
            judged.append((one, vector, reading.face.yaw if reading.face else None))
    least = int(table["identity_set_min"].value)
    if len(judged) < least:
        for one, _, _ in judged:
            reason = f"only {len(judged)} takes can be compared, {least} are needed"
            _put(one, measure, None, "cosine", reason)
        return
    deviations = table["identity_deviations"].value
    scores = robust_scores(
        [v for _, v, _ in judged], [y for _, _, y in judged], deviations=deviations
    )
    for (one, _, yaw), score in zip(judged, scores.scores, strict=True):
        _put(one, measure, float(score), "cosine")
        _put(one, f"{measure}_limit", _limit(scores, one, name, yaw), "cosine")


def _limit(scores: SetScores, one: Judgement, name: str, yaw: float | None) -> float:
    """A take must lie both outside its own set and below the line for strangers to be a fault.

    Where there is no shipped calibration for this kind of picture, the set alone decides.
    """
    try:
        bin_name = yaw_bin(yaw) if yaw is not None else "all"
        line = shipped_calibration(name, one.case.kind, bin_name).threshold
    except KeyError:
        return scores.limit
    return min(scores.limit, line)


def _identity_verdicts(found: list[Judgement]) -> None:
    """Both embedders against a take: another person. One of them: a person should look."""
    for one in found:
        below, said = [], []
        for name in NAMES:
            score = one.measures.get(f"identity_{name}")
            limit = one.measures.get(f"identity_{name}_limit")
            if score is None or limit is None or score.value is None or limit.value is None:
                continue
            said.append(name)
            one.merit += score.value - limit.value
            if score.value < limit.value:
                below.append(f"{name} {score.value:.2f} below {limit.value:.2f}")
        if any("blurred" in fault for fault in one.faults):
            continue
        if below and len(below) == len(said):
            one.faults.append(f"this looks like another person ({'; '.join(below)})")
        elif below:
            one.doubts.append(f"identity is doubtful ({'; '.join(below)})")


def _sharpness(found: list[Judgement], table: Mapping[str, Rule]) -> None:
    """Compare faces of one crop size with each other: sharpness and slope must both be low."""
    groups: dict[tuple[float, str], list[Judgement]] = {}
    for one in found:
        reading = one.case.seen.reading
        if reading is None:
            continue
        if "sharpness" not in reading.values:
            for name in ("sharpness", "spectral_slope"):
                _put(one, name, None, "", reading.missing.get("sharpness", "not measured"))
            continue
        unit = f"at {reading.values['sharpness_crop']:.0f} px"
        _put(one, "sharpness", reading.values["sharpness"], unit)
        _put(one, "spectral_slope", reading.values["spectral_slope"], unit)
        _put(one, "noise", reading.values["noise"], "0-255")
        framing = one.case.shot.attributes.get("framing", "")
        groups.setdefault((reading.values["sharpness_crop"], framing), []).append(one)
    for group in groups.values():
        if len(group) < 3:
            continue
        sharp = float(np.median([one.measures["sharpness"].value for one in group]))
        slope = float(np.median([one.measures["spectral_slope"].value for one in group]))
        for one in group:
            ratio = (one.measures["sharpness"].value or 0.0) / max(sharp, 1e-9)
            drop = slope - (one.measures["spectral_slope"].value or 0.0)
            soft = ratio < table["blur_ratio"].value
            steep = drop > table["blur_slope"].value
            if soft and steep:
                one.faults.append(f"the face is blurred ({ratio:.0%} of the set's sharpness)")
            one.merit += 0.1 * min(ratio, 1.5)


def _light(found: list[Judgement], table: Mapping[str, Rule]) -> None:
    for one in found:
        reading = one.case.seen.reading
        if reading is None or "clipped" not in reading.values:
            continue
        clipped, light = reading.values["clipped"], reading.values["lightness"]
        _put(one, "face_clipped", clipped, "share")
        _put(one, "face_lightness", light, "L*")
        if clipped > table["clipped_max"].at(one.case.kind):
            one.doubts.append(f"{clipped:.0%} of the face is clipped")
        if light < table["lightness_min"].at(one.case.kind):
            one.doubts.append(f"the face is very dark (L* {light:.0f})")
        if light > table["lightness_max"].at(one.case.kind):
            one.doubts.append(f"the face is very light (L* {light:.0f})")


def _duplicates(found: list[Judgement], table: Mapping[str, Rule]) -> None:
    """A copy of an earlier take counts against the later one; a kept take by hand never yields."""
    order = sorted(found, key=lambda one: (not one.case.trusted, one.case.take.id))
    earlier: dict[int, Hashes] = {}
    for one in order:
        reading = one.case.seen.reading
        if reading is None:
            continue
        if reading.phash is None or reading.phash_mirrored is None:
            _put(one, "nearest_bits", None, "bits", reading.missing.get("duplicate", ""))
            continue
        mine = Hashes(reading.phash, reading.phash_mirrored)
        twin = nearest(mine, earlier)
        if twin is None:
            _put(one, "nearest_bits", None, "bits", "no earlier take to compare with")
        else:
            _put(one, "nearest_bits", float(twin.bits), "bits")
            _twin(one, twin, table)
        if not one.faults:  # a copy of a rejected take is judged by its own faults
            earlier[one.case.take.id] = mine


def _twin(one: Judgement, twin: Nearest, table: Mapping[str, Rule]) -> None:
    how = "a mirrored copy" if twin.mirrored else "a copy"
    if twin.bits <= table["duplicate_bits"].value:
        one.faults.append(f"it is {how} of take {twin.key} ({twin.bits} bits apart)")
    elif twin.bits <= table["alike_bits"].value:
        one.doubts.append(f"it is much like take {twin.key} ({twin.bits} bits apart)")


def _notes(one: Judgement) -> None:
    for name in NAMES:
        measure = one.measures.get(f"identity_{name}")
        if measure is None:
            continue
        if measure.value is not None:
            one.notes.append(f"identity {name} {measure.value:.2f}")
        elif measure.reason:
            one.notes.append(f"identity {name}: {measure.reason}")
    if not one.notes:
        one.notes.append("no rule is broken")


def _put(one: Judgement, name: str, value: float | None, unit: str, reason: str = "") -> None:
    reading = one.case.seen.reading
    tool = reading.version if reading else ""
    if value is None:
        one.measures[name] = Measure(name, None, unit, reason or "not measured", tool)
    else:
        one.measures[name] = Measure(name, round(float(value), 5), unit, None, tool)
