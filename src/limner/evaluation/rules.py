"""Every number the verdict is decided by, with its source and tag; character.yaml can change it.

In: overrides from `evaluation.thresholds`. Out: name -> value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.project.rules import Rule, values_of

SHARE: dict[str, Any] = {"least": 0.0, "most": 1.0}
COUNT: dict[str, Any] = {"least": 1, "whole": True}

RULES: dict[str, Rule] = {
    "goal": Rule(
        0.9,
        "community",
        "guide: 90 % of pictures pass",
        "share of matches to compare with",
        **SHARE,
    ),
    "majority": Rule(
        0.5,
        "starting value",
        "the interval must lie above it for `the same person`, below it for the opposite",
        "share of matches at which a person would say it is the same one",
        **SHARE,
    ),
    "equivalent_score": Rule(
        0.02,
        "starting value",
        "cosine difference nobody can see",
        "arms this close are equal",
        **SHARE,
    ),
    "equivalent_freedom": Rule(
        0.05,
        "starting value",
        "one picture in twenty",
        "difference in kept prompts that does not count when arms are chosen",
        **SHARE,
    ),
    "fewest_claim_pictures": Rule(
        20,
        "derived",
        "exact 95 % interval of 20 is up to 46 points wide; fewer cannot tell half from all",
        "fewest fresh pictures for a verdict",
        **COUNT,
    ),
    "fewest_claim_seeds": Rule(
        2,
        "starting value",
        "one seed can be lucky in every arm",
        "fewest fresh seeds a prompt",
        **COUNT,
    ),
    "fewest_claim_prompts": Rule(
        4,
        "starting value",
        "20 seeds of one prompt say little about others",
        "fewest prompts",
        **COUNT,
    ),
    "fewest_references": Rule(
        3,
        "starting value",
        "one each of front, three-quarter and side",
        "fewest held-out references with a face",
        **COUNT,
    ),
    "fewest_impostors": Rule(
        100,
        "derived",
        "a 1 % rate needs 100 strangers to be one of them",
        "fewest strangers for a threshold",
        **COUNT,
    ),
    "ceiling": Rule(
        0.9,
        "starting value",
        "evaluation protocol: below it the dataset itself is inconsistent",
        "share of the character's own pictures that must pass",
        **SHARE,
    ),
    "leak": Rule(
        0.1,
        "starting value",
        "one picture in ten of somebody else turns into the character",
        "share of matches without the trigger that is said aloud",
        **SHARE,
    ),
    "no_face": Rule(
        0.2,
        "starting value",
        "hard gate of the racing plan",
        "share of lost faces that drops an arm",
        **SHARE,
    ),
    "copy_bits": Rule(
        6,
        "starting value",
        "near duplicates among training pictures: pHash of 64 bits, mirrored too",
        "differing bits up to which a render counts as a copy of a training picture",
        least=0,
        most=64,
        whole=True,
    ),
    "copies": Rule(
        0.1,
        "starting value",
        "hard gate of the racing plan",
        "share of copies that drops an arm",
        **SHARE,
    ),
    "control_max": Rule(
        0.5,
        "starting value",
        "chance; the review's rule of the same name",
        "share of a wrong prompt's questions above which one picture's answers are not believed",
        **SHARE,
    ),
    "control_mean": Rule(
        0.25,
        "starting value",
        "half of chance: a model that guesses is at one half",
        "the same over all pictures, above which no answer of the model is believed",
        **SHARE,
    ),
    "first_look": Rule(
        4,
        "derived",
        "successive halving simulation, 30 arms",
        "pictures an arm in the first round",
        **COUNT,
    ),
    "race_share": Rule(
        0.5,
        "derived",
        "docs/trust.md: half of the cells choose as well as all of them",
        "most of the full grid that a race draws",
        **SHARE,
    ),
    "finalists": Rule(
        3,
        "derived",
        "successive halving simulation",
        "most arms in the last round of choosing",
        **COUNT,
    ),
}


def rules(overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """All values, the user's own in place of ours. Raises InputError for an unknown name or a
    value out of its range."""
    return values_of(RULES, overrides, "evaluation.thresholds")
