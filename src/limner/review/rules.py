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
        "blur_ratio", 0.35, "share", "sharpness below this share of the set's median",
        "ours, from blurred drawings", "starting value",
    ),
    Rule(
        "blur_slope", 0.8, "", "spectral slope this much below the set's median",
        "a blur of one pixel moves it by about 1.6 on a 1/f field", "derived",
    ),
    Rule(
        "clipped_max", 0.05, "share", "more clipped pixels in the face need a look",
        "ours", "starting value", photo=0.01,
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
        "duplicate_bits", 6, "bits", "a pHash as near as this is rejected as a duplicate",
        "ours: recompressed and halved copies lie within 0 to 8", "starting value",
    ),
    Rule(
        "alike_bits", 10, "bits", "a pHash as near as this needs a look",
        "ours: different photographs lie 20 or more apart", "starting value",
    ),
    Rule(
        "front_yaw_max", 40, "deg", "a front shot turned further needs a look",
        "lexicon: front is 0-15, three-quarter starts at 28; the estimate is coarse",
        "starting value",
    ),
)  # fmt: skip

PICTURE_KINDS: dict[str, Kind] = {"atelier": "drawing"}
"""Source -> kind of its pictures; any other source gives photographs."""


def kind_of(source: str) -> Kind:
    """What kind of pictures a source makes."""
    return PICTURE_KINDS.get(source, "photo")


def rules(own: Mapping[str, float]) -> dict[str, Rule]:
    """The table with the user's values. Raises InputError for a name that is none of it."""
    table = {rule.name: rule for rule in RULES}
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
