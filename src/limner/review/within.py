"""One picture against its set: sharpness, noise, blocks, enlarging, frames, light and colour.

In: all judgements with their measures. Out: findings. Most rules compare with the set's median, so
that a style (soft light, film grain) is no fault; a fault is what stands out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from limner.review.case import Judgement
from limner.review.lights import light_of, lightness, stops
from limner.review.rules import Rule

LEAST_GROUP = 3
"""Pictures that make a median of a framing; fewer are compared across framings."""
LEAST_SET = 6
"""Pictures below which the rules that need a set's median stay silent."""


def judge(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """Apply the rules to every picture that could be read."""
    read = [one for one in found if one.case.reading is not None]
    _blur(read, table)
    _damage(read, table)
    _frames(read, table)
    _light(read, table)
    _colour(read, table)


def _median(found: Sequence[Judgement], name: str) -> float | None:
    """The set's median, None for fewer than `LEAST_SET` values."""
    values = [v for one in found if (v := one.value(name)) is not None]
    return float(np.median(values)) if len(values) >= LEAST_SET else None


def _groups(found: Sequence[Judgement]) -> list[list[Judgement]]:
    """Faces that can be compared: one crop size, one framing (small framings: the crop alone)."""
    by_crop: dict[float, list[Judgement]] = {}
    for one in found:
        reading = one.case.reading
        if reading is not None and "sharpness_crop" in reading.values:
            by_crop.setdefault(reading.values["sharpness_crop"], []).append(one)
    return list(by_crop.values())


def _blur(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """Sharpness and slope must both be low: noise raises the first, contrast moves it."""
    for group in _groups(found):
        if len(group) < LEAST_GROUP:
            continue
        by_framing: dict[object, list[Judgement]] = {}
        for one in group:
            by_framing.setdefault(one.case.shot.attributes.get("framing"), []).append(one)
        usual = {
            framing: _usual(alike if len(alike) >= LEAST_GROUP else group)
            for framing, alike in by_framing.items()
        }
        for one in group:
            sharp, slope = usual[one.case.shot.attributes.get("framing")]
            ratio = (one.value("sharpness") or 0.0) / max(sharp, 1e-9)
            drop = slope - (one.value("spectral_slope") or 0.0)
            one.merit += 0.1 * min(ratio, 1.5)
            said = f"the face is blurred ({100 * ratio:.0f} % of the set's sharpness)"
            if ratio < table["blur_ratio"].value and drop > table["blur_slope"].value:
                one.found("blur", "reject", said)
            elif ratio < table["soft_ratio"].value and drop > table["soft_slope"].value:
                one.found("blur", "look", said.replace("blurred", "soft"))


def _usual(base: Sequence[Judgement]) -> tuple[float, float]:
    """Medians of (sharpness, spectral slope); what was not measured counts as 0."""
    sharp, slope = (
        float(np.median([one.value(name) or 0.0 for one in base]))
        for name in ("sharpness", "spectral_slope")
    )
    return sharp, slope


def _damage(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    usual_noise, usual_detail = _median(found, "noise"), _median(found, "fine_detail")
    for one in found:
        kind, noise = one.case.kind, one.value("noise")
        if noise is not None and usual_noise is not None:
            over = noise - usual_noise
            said = f"it is noisy ({noise:.1f} of 255, the set {usual_noise:.1f})"
            if over > table["noise_over"].at(kind):
                one.found("noise", "reject", said)
            elif over > table["noise_doubt"].at(kind):
                one.found("noise", "look", said)
        detail = one.value("fine_detail")
        smooth = noise is not None and usual_noise is not None
        grain = (noise or 0.0) / max(usual_noise or 0.0, 0.1) if smooth else 1.0
        if detail is not None and usual_detail is not None:
            drop = usual_detail - detail
            said = f"it was enlarged or blurred (10^{drop:.1f} times less fine detail than the set)"
            lost = grain < table["grain_left"].at(kind) and drop > table["grain_drop"].at(kind)
            if lost or drop > table["detail_drop"].at(kind):
                one.found("enlarged", "reject", said)
            elif drop > table["detail_doubt"].at(kind):
                one.found("enlarged", "look", said)
        blocks = one.value("blockiness")
        if blocks is not None and not one.has("noise"):
            said = f"JPEG blocks show (steps at the grid {blocks:.2f} of those beside it)"
            if blocks > table["blocks_max"].at(kind):
                one.found("blocks", "reject", said)
            elif blocks > table["blocks_doubt"].at(kind):
                one.found("blocks", "look", said)


def _frames(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    for one in found:
        strip, sides = one.value("border"), one.value("border_sides")
        if strip is not None and sides is not None and strip > table["border_max"].value:
            said = f"a plain border covers {100 * strip:.0f} % of a side"
            one.found("border", "reject" if sides >= 2 else "look", said)
        written = one.value("text_share")
        if written is not None and written > table["text_max"].value:
            pieces = one.value("text_pieces") or 0
            said = f"writing is in the picture ({pieces:.0f} pieces, {100 * written:.1f} % of it)"
            one.found("text", "reject", said)


def _counts(one: Judgement) -> bool:
    """Whether light and colour of the face say something: surely a face, and not in profile."""
    face = one.case.reading.face if one.case.reading else None
    return face is not None and face.sure and not one.case.turned


def _light(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """Exposure of the face against the set's faces, each with its own light taken out.

    In stops, so that dark and pale skin are held alike; in L* too, since a stop of a very dark
    face is little to see. Without a face night cannot be told from underexposure.
    """
    counted = [one for one in found if _counts(one)]
    plain = [
        stops(light) - light_of(one, table["chroma_warm"]).stops
        for one in counted
        if (light := one.value("face_lightness")) is not None
    ]
    usual = float(np.median(plain)) if len(plain) >= LEAST_SET else None
    for one in counted:
        kind = one.case.kind
        light, clipped = one.value("face_lightness"), one.value("face_clipped")
        if clipped is not None and clipped > table["clipped_max"].at(kind):
            one.found("clipped", "look", f"{100 * clipped:.0f} % of the face is clipped")
        if light is None:
            continue
        if light > table["lightness_max"].at(kind):
            one.found("overexposed", "look", f"the face is very light (L* {light:.0f})")
        elif light < table["lightness_min"].at(kind):
            one.found("underexposed", "look", f"the face is very dark (L* {light:.0f})")
        if usual is not None:
            asked = usual + light_of(one, table["chroma_warm"]).stops
            _exposure(one, stops(light) - asked, light - lightness(asked), table)


def _exposure(one: Judgement, over: float, rise: float, table: Mapping[str, Rule]) -> None:
    """over: stops, rise: L* above what the set's faces have under this light."""
    kind, burnt = one.case.kind, one.value("face_clipped_light") or 0.0
    said = f"{abs(over):.1f} stops from the set's faces in such light, L* {rise:+.0f}"
    risen = rise > table["light_rise"].at(kind)
    if risen and over > table["light_over"].at(kind):
        one.found("overexposed", "reject", f"the face is overexposed ({said})")
    elif burnt > table["burnt_max"].at(kind) and over > table["burnt_over"].at(kind):
        one.found(
            "overexposed", "reject", f"the face is overexposed ({100 * burnt:.0f} % burnt out)"
        )
    elif risen and over > table["light_doubt"].at(kind):
        one.found("overexposed", "look", f"the face is light ({said})")
    if -over > table["dark_under"].at(kind):
        one.found("underexposed", "reject", f"the face is underexposed ({said})")
    elif -over > table["dark_doubt"].at(kind):
        one.found("underexposed", "look", f"the face is dark ({said})")


def _colour(found: Sequence[Judgement], table: Mapping[str, Rule]) -> None:
    """Chroma of the face against the set's faces, each with its own light taken out; of a picture
    whose face does not count, only colours that run into the edge of the gamut."""
    for name in ("face_chroma", "picture_chroma"):
        face = name == "face_chroma"
        counted = [one for one in found if _counts(one) == face and one.value(name) is not None]
        base = counted if face else [one for one in found if one.value(name) is not None]
        ratios = [_chroma(one, name, table) for one in base]
        if len(ratios) < LEAST_SET:
            continue
        usual = max(float(np.median(ratios)), 1.0)
        for one in counted:
            _saturation(one, _chroma(one, name, table) / usual, face, table)


def _chroma(one: Judgement, name: str, table: Mapping[str, Rule]) -> float:
    """Chroma over what the light adds."""
    return (one.value(name) or 0.0) / light_of(one, table["chroma_warm"]).chroma


def _saturation(one: Judgement, ratio: float, face: bool, table: Mapping[str, Rule]) -> None:
    kind = one.case.kind
    said = f"it is oversaturated ({ratio:.1f} times the set's chroma in such light)"
    vivid = (one.value("picture_vivid") or 0.0) > table["vivid_max"].at(kind)
    if not face:
        if vivid and ratio > table["vivid_ratio"].at(kind):
            one.found("chroma", "look", f"{said}, colours run into the edge of the gamut")
    elif (one.value("face_chroma") or 0.0) < table["chroma_min"].at(kind):
        return
    elif ratio > table["chroma_ratio"].at(kind):
        one.found("chroma", "reject", said)
    elif ratio > table["chroma_doubt"].at(kind):
        one.found("chroma", "look", said)
