"""The rules of review in one table: value, source, tag, what a breach does, and its words.

In: the user's own values from character.yaml. Out: the table the judge reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from limner.errors import InputError
from limner.project.rules import Tag
from limner.vision.faces import Kind


@dataclass(frozen=True)
class Rule:
    """One threshold. `value` holds for drawings and photographs unless `photo` differs."""

    name: str
    value: float
    unit: str
    says: str
    source: str
    tag: Tag
    photo: float | None = None

    def at(self, kind: Kind) -> float:
        """The threshold for this kind of picture."""
        return self.photo if kind == "photo" and self.photo is not None else self.value


BENCH = "between good and spoilt calibration drawings, bench/planted_faults.py"
"""Source of the values that were set on drawn characters which the bench does not judge."""

RULES: tuple[Rule, ...] = (
    Rule(
        "short_side_min", 96, "px", "a smaller picture is rejected",
        "guide 01 asks 1024 for photographs; drawings are trained at 128",
        "community", photo=1024,
    ),
    Rule(
        "smallest_face", 24, "px", "a smaller face is not assessable",
        "ours: 64 for photographs of 1024 px, 24 from drawings of 128 px",
        "starting value", photo=64,
    ),
    Rule(
        "faces_max", 1, "faces", "more faces are rejected",
        "ours: a training picture shows one person", "starting value",
    ),
    Rule(
        "identity_yaw_max", 45, "deg", "a head turned further is not judged on identity",
        "recognition falls in profile (arXiv 2106.14124); dlib on drawings beyond 50 degrees",
        "derived",
    ),
    Rule(
        "identity_deviations", 3, "MAD", "below median - k MAD counts against a take",
        "ours: a usual bound for outliers", "starting value",
    ),
    Rule(
        "identity_set_min", 8, "takes", "fewer assessable takes: identity is not judged",
        "ours", "starting value",
    ),
    Rule(
        "identity_references_min", 4, "pictures", "fewer references: the set says what is usual",
        "ours: with two of them half of the true pictures lie below", "starting value",
    ),
    Rule(
        "identity_odds_reject", -0.44, "log-odds", "both embedders together say another person",
        BENCH, "derived",
    ),
    Rule(
        "identity_odds_doubt", 0.05, "log-odds", "both embedders together are in doubt",
        BENCH, "derived",
    ),
    Rule(
        "blur_ratio", 0.35, "share", "sharpness below this share of the set's median",
        BENCH, "derived",
    ),
    Rule(
        "blur_slope", 1.3, "", "and spectral slope this much below the set's median: blurred",
        "a blur of one pixel moves it by about 1.6 on a 1/f field", "derived",
    ),
    Rule(
        "soft_ratio", 0.35, "share", "sharpness below this share needs a look", BENCH, "derived",
    ),
    Rule(
        "soft_slope", 1.0, "", "and spectral slope this much lower: soft", BENCH, "derived",
    ),
    Rule(
        "noise_over", 2.5, "0-255", "noise this much above the set's median is rejected",
        BENCH, "derived", photo=8,
    ),
    Rule(
        "noise_doubt", 1.0, "0-255", "noise this much above the set's median needs a look",
        BENCH, "derived", photo=4,
    ),
    Rule(
        "detail_drop", 2.0, "log10", "fine detail this much below the set's: enlarged",
        BENCH, "derived", photo=3,
    ),
    Rule(
        "detail_doubt", 1.5, "log10", "fine detail this much below the set's needs a look",
        BENCH, "derived", photo=2,
    ),
    Rule(
        "grain_left", 0.45, "share", "less of the set's noise left in flat places, and",
        BENCH, "derived", photo=0.2,
    ),
    Rule(
        "grain_drop", 0.6, "log10", "fine detail this much lower: enlarged or blurred",
        BENCH, "derived", photo=1.5,
    ),
    Rule(
        "blocks_max", 1.5, "ratio", "stronger JPEG blocks are rejected",
        BENCH, "derived", photo=2.2,
    ),
    Rule(
        "blocks_doubt", 1.28, "ratio", "stronger JPEG blocks need a look",
        BENCH, "derived", photo=1.7,
    ),
    Rule(
        "border_max", 0.025, "share", "a wider plain strip along two edges is rejected",
        BENCH, "derived",
    ),
    Rule(
        "text_max", 0.002, "share", "more area covered by writing is rejected (with rapidocr)",
        "ours", "starting value",
    ),
    Rule(
        "clipped_max", 0.05, "share", "more clipped pixels in the face need a look",
        "ours", "starting value", photo=0.01,
    ),
    Rule(
        "burnt_max", 0.03, "share", "more of the face burnt out, and",
        BENCH, "derived",
    ),
    Rule(
        "burnt_over", 0.35, "stops", "this much lighter than its light makes it: overexposed",
        BENCH, "derived",
    ),
    Rule(
        "light_over", 0.8, "stops", "lighter than the set's faces in such light, and",
        BENCH, "derived", photo=9,
    ),
    Rule(
        "light_rise", 13, "L*", "lighter by as much to the eye: overexposed",
        BENCH, "derived",
    ),
    Rule(
        "light_doubt", 0.7, "stops", "lighter than the set's faces in such light needs a look",
        BENCH, "derived", photo=1.5,
    ),
    Rule(
        "dark_under", 1.5, "stops", "darker than the set's faces in such light: underexposed",
        BENCH, "derived", photo=9,
    ),
    Rule(
        "dark_doubt", 1.1, "stops", "darker than the set's faces in such light needs a look",
        BENCH, "derived", photo=2.5,
    ),
    Rule(
        "lightness_min", 10, "L*", "a darker face needs a look",
        "ours: dark skin in night light must pass",
        "starting value",
    ),
    Rule(
        "lightness_max", 92, "L*", "a lighter face needs a look",
        "ours: pale skin in sunlight must pass", "starting value",
    ),
    Rule(
        "chroma_ratio", 1.65, "times", "chroma over the set's in such light: oversaturated",
        BENCH, "derived", photo=1.8,
    ),
    Rule(
        "chroma_doubt", 1.5, "times", "chroma over the set's in such light needs a look",
        BENCH, "derived",
    ),
    Rule(
        "chroma_min", 15, "C*ab", "and at least this: less is never oversaturated",
        BENCH, "derived", photo=28,
    ),
    Rule(
        "chroma_warm", 1.5, "times", "what warm light adds to the chroma where nobody measured it",
        BENCH, "derived",
    ),
    Rule(
        "vivid_max", 0.03, "share", "without a face more pixels on the gamut's edge, and",
        BENCH, "derived",
    ),
    Rule(
        "vivid_ratio", 1.8, "times", "chroma over the set's needs a look",
        "ours: good drawings reach twice the set's", "starting value",
    ),
    Rule(
        "duplicate_bits", 6, "bits", "a pHash as near as this is rejected as a duplicate",
        "ours: recompressed and halved copies lie within 0 to 8", "starting value",
    ),
    Rule(
        "alike_bits", 10, "bits", "a pHash as near as this needs a look",
        "ours: different photographs lie 20 or more apart", "starting value",
    ),
    Rule(
        "copy_match", 0.95, "", "a part that correlates as much is rejected as a crop",
        BENCH, "derived",
    ),
    Rule(
        "copy_doubt", 0.90, "", "a part that correlates as much needs a look", BENCH, "derived",
    ),
    Rule(
        "angle_off", 16, "deg", "head turn this far outside the angle asked is rejected",
        BENCH, "derived", photo=180,
    ),
    Rule(
        "angle_doubt", 10, "deg", "head turn this far outside the angle asked needs a look",
        BENCH, "derived", photo=30,
    ),
    Rule(
        "angle_far", 24, "deg", "more is allowed in side and over-shoulder views",
        "the estimate errs by 17 degrees in profile (table above)", "derived",
    ),
    Rule(
        "back_face_yaw", 40, "deg", "a face turned less, where a pure back view is asked",
        "ours", "starting value",
    ),
    Rule(
        "framing_off", 0.33, "log2", "face size this far outside the framing asked is rejected",
        BENCH, "derived", photo=9,
    ),
    Rule(
        "framing_doubt", 0.25, "log2", "face size this far outside the framing asked needs a look",
        BENCH, "derived", photo=0.8,
    ),
    Rule(
        "studio_structure", 0.30, "share", "a busier background, where a studio is asked",
        BENCH, "derived",
    ),
    Rule(
        "body_set_min", 4, "takes", "fewer full bodies: proportions are measured, not judged",
        "ours", "starting value",
    ),
    Rule(
        "body_off", 0.35, "share", "a body this much taller or shorter in faces needs a look",
        "ours: nine good drawings lay within a third of their set's", "starting value",
    ),
    Rule(
        "prompt_min", 0.6, "share", "fewer prompt questions answered yes need a look",
        "ours", "starting value",
    ),
    Rule(
        "control_max", 0.5, "share", "a model that agrees more with a wrong prompt is not believed",
        "ours: chance", "starting value",
    ),
    Rule(
        "blind_pile", 1, "0 or 1", "1: takes in which no face could be looked for are undecided",
        "ours: a stranger must not be kept for want of an extra", "starting value",
    ),
    Rule(
        "artefacts_pile", 0, "0 or 1", "1: artefacts that nobody measured leave a take undecided",
        "ours: a look at the contact sheet is asked for instead", "starting value",
    ),
    Rule(
        "manual_share", 0.10, "share", "kept takes picked at random for a person to look at",
        "the guide asks 10 % manual review", "community",
    ),
    Rule(
        "budget_usual", 0.10, "share", "regenerated takes beyond this are more than usual",
        "the guide's 5 to 10 %; its \"4 to 8 of 40\" would be 10 to 20 %", "community",
    ),
    Rule(
        "budget_reserved", 0.20, "share", "regenerated takes reserved in the cost",
        "the guide's upper figure", "community",
    ),
)  # fmt: skip

WARM = frozenset(
    ("golden_hour", "warm_lamp", "candlelight", "firelight", "late_sun_window", "string_lights")
)
"""Lights of the lexicon under which skin is half as colourful again (`review.lights` knows more of
the atelier's)."""


def kind_of(source: str, labels: Mapping[str, object]) -> Kind:
    """What kind of pictures a source makes: the atelier's, and what says that it is drawn."""
    return "drawing" if source == "atelier" or labels.get("drawing") else "photo"


def rules(own: Mapping[str, float], *, short_side: int | None = None) -> dict[str, Rule]:
    """The table with the user's values. Raises InputError for a name that is none of it.

    short_side: what the project asks of photographs' shorter side, px (`source.short_side`); a
    value of `own` wins over it.
    """
    table = {rule.name: rule for rule in RULES}
    if short_side is not None:
        table["short_side_min"] = replace(table["short_side_min"], photo=short_side)
    for name, value in own.items():
        if name not in table:
            raise InputError(
                f"review.thresholds has no rule {name!r}",
                where="character.yaml",
                fix=f"Use one of: {', '.join(table)}.",
            )
        said = "character.yaml"
        table[name] = replace(table[name], value=value, photo=None, source=said)
    return table
