"""Signature outfits: clothes that belong to a character, each with its own tag and enough shots.

In: tag -> outfit and number of shots. Out: exact counts for the planner, and the tag of an outfit.
The tag stands in a shot's attributes as `outfit_tag`; captions and evaluation read it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from limner import lexicon
from limner.errors import InputError
from limner.shots.quotas import REST, largest_remainder
from limner.shots.rules import Rules, threshold

TAG = "outfit_tag"
"""Name of the tag among a shot's attributes."""


class Signature(NamedTuple):
    """An outfit of the lexicon (or the project's own) and its exact number of shots."""

    outfit: str
    shots: int


def with_signature(
    targets: Mapping[str, Mapping[str, int]],
    signature: Mapping[str, Signature],
    count: int,
    rules: Rules,
) -> dict[str, dict[str, int]]:
    """Targets where every signature outfit has its shots; other outfits share what is left.

    Raises InputError for an unknown outfit, one that is named twice, or more shots than `count`.
    """
    found = {axis: dict(counts) for axis, counts in targets.items()}
    if not signature:
        return found
    fixed: dict[str, int] = {}
    for tag, (outfit, shots) in signature.items():
        where = f"shots.signature.{tag}"
        if outfit not in rules.values["outfit"]:
            known = outfit in lexicon.outfits()
            raise InputError(
                f"the outfit {outfit!r} cannot be planned: the source does not make it, or it is "
                "not worn by this character"
                if known
                else f"there is no outfit {outfit!r} to plan",
                where=where,
                fix=f"Use one of: {', '.join(rules.values['outfit'])}.",
            )
        if outfit in fixed:
            raise InputError(f"{outfit} has two tags", where=where, fix="Give it one.")
        fixed[outfit] = shots
    left = count - sum(fixed.values())
    if left < 0:
        raise InputError(
            f"signature outfits ask for {count - left} shots, the plan has {count}",
            where="shots.signature",
            fix=f"Set shots.count to {count - left} or more, or ask for fewer shots an outfit.",
        )
    others = {k: n for k, n in found.get("outfit", {}).items() if k not in fixed and k != REST}
    if others and left:
        rest = {k: float(n) for k, n in {**others, REST: found["outfit"].get(REST, 0)}.items()}
        share = largest_remainder(rest, left)
        # an outfit of no shots stays named: it was asked for to stay away
        found["outfit"] = {**fixed, **{k: n for k, n in share.items() if n or k != REST}}
    else:
        found["outfit"] = {**fixed, **({REST: left} if left else {})}
    return found


def advice(
    signature: Mapping[str, Signature], thresholds: Mapping[str, float] | None = None
) -> list[str]:
    """A sentence for each signature outfit with fewer or more shots than is advised."""
    low, high = (threshold(f"signature_{end}", thresholds) for end in ("fewest", "most"))
    return [
        f"{tag} has {entry.shots} shots; {low:g} to {high:g} are advised for a signature outfit."
        for tag, entry in signature.items()
        if not low <= entry.shots <= high
    ]


def tags_of(signature: Mapping[str, Signature]) -> dict[str, str]:
    """Outfit -> tag."""
    return {entry.outfit: tag for tag, entry in signature.items()}


def shared_out(signature: Mapping[str, Signature], count: int) -> dict[str, Signature]:
    """The same outfits for a small set: half of `count` shots, alike often (starting value).

    The other half shows the character in other clothes, so that a claim covers both.
    """
    each = count // (2 * len(signature)) if signature else 0
    return {tag: Signature(entry.outfit, each) for tag, entry in signature.items() if each}
