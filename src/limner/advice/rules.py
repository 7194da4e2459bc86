"""Every number a symptom is found by, with its source and tag; character.yaml can change it.

In: overrides from `advice.thresholds`. Out: name -> value.
"""

from __future__ import annotations

from collections.abc import Mapping

from limner.project.rules import Rule, values_of

RULES: dict[str, Rule] = {
    "skin_z": Rule(
        -2.0, "starting value", "evaluation protocol: reference distribution",
        "skin texture this many deviations from the training pictures' is plastic",
    ),
    "consistent": Rule(
        0.85, "community", "guide: retrain when face consistency is under 85 %",
        "share of fresh pictures that must show the person",
    ),
    "ceiling": Rule(
        0.9, "starting value", "evaluation protocol: below it fix the data first",
        "share of the dataset's own pictures that must pass",
    ),
    "odd_share": Rule(
        0.05, "starting value", "outliers that a set of one person has by chance",
        "share of training pictures under the set's own identity limit that is tolerable",
    ),
    "bleed_deviations": Rule(
        2.0, "starting value", "evaluation protocol: base + 2 sd",
        "likeness to training backgrounds above the base model's, in its deviations",
    ),
    "bleed_share": Rule(
        0.15, "starting value", "evaluation protocol: more than 15 % of prompts",
        "share of prompts with such a background",
    ),
    "setting_share": Rule(
        0.15, "starting value", "composition target: no place or outfit above 15 %",
        "largest share of one place among the training pictures",
    ),
    "copy_index": Rule(
        0.3, "starting value", "copy-paste index (arXiv 2510.14975), LoRA form is ours",
        "nearer to a training picture than to the person, above the base's pictures",
    ),
    "copies": Rule(
        0.1, "starting value", "hard gate of the racing plan",
        "share of fresh pictures that are a training picture over again",
    ),
    "diversity": Rule(
        0.6, "starting value", "evaluation protocol: ratio to the base at equal n",
        "variety at one prompt beside the base model's",
    ),
    "following": Rule(
        0.1, "starting value", "ours: one question in ten",
        "fewer questions on the prompt answered yes than for the base model",
    ),
    "weak_strength": Rule(
        0.7, "starting value", "evaluation protocol: best strength at or under it means overfit",
        "strength",
    ),
    "overfit_signs": Rule(
        2, "starting value", "evaluation protocol: two of the signs", "signs that make overfit",
    ),
    "window": Rule(
        3.0, "starting value", "search window 0.7 to 3 times the lowest held-out loss's step",
        "checkpoint so many times later than the lowest held-out loss",
    ),
    "unseen": Rule(
        1.25, "starting value", "miniature: right runs stand at 0.95 to 1.17 at the choice, 1.22 "
        "at their end, 800 steps on six pictures at 2.0 to 2.8",
        "held-out loss at the choice beside that before training, times",
    ),
    "by_heart": Rule(
        0.5, "starting value", "miniature: 128 to 576 steps on six pictures leave 0.09 to 0.30 "
        "of it, right runs 0.73 to 0.91",
        "loss on the training pictures beside that before training: with unseen ones worse it "
        "makes overfit alone",
    ),
    "equal": Rule(
        0.02, "starting value", "cosine difference nobody can see, as in the evaluation",
        "difference of mean identity that counts as none",
    ),
    "majority": Rule(
        0.5, "starting value", "as in the evaluation: most pictures",
        "share of matches under which, without a lead over the base, the person is not learned",
    ),
    "halfway": Rule(
        0.5, "starting value", "miniature: right runs went 0.67 to 1.02, a sixteenth of the "
        "steps 0.11 to 0.48",
        "share of the way from the base's likeness to the line from which the person is called",
    ),
    "still_falling": Rule(
        0.01, "starting value", "evaluation protocol: underfit while it falls over 1 % a look",
        "share by which held-out loss fell at the last look",
    ),
    "leak": Rule(
        0.1, "starting value", "one picture in ten of somebody else turns into the character",
        "share of matches without the trigger that is tolerable",
    ),
    "chroma": Rule(
        1.15, "starting value", "evaluation protocol: mean chroma against base, same seeds",
        "colour beside the base model's, and beside the training pictures'",
    ),
    "clipped": Rule(
        0.02, "starting value", "evaluation protocol: 2 percentage points against base",
        "more clipped pixels than the base model",
    ),
    "no_face": Rule(
        0.2, "starting value", "hard gate of the racing plan, as in the evaluation",
        "share of lost faces that a checkpoint may have",
    ),
    "proportion": Rule(
        1.18, "starting value", "the evaluation's own range, 0.85 to 1.18",
        "head to figure over the training pictures', or its inverse",
    ),
    "full_body": Rule(
        0.25, "starting value", "composition target: full body 25 %",
        "share of full-body pictures in the dataset",
    ),
    "close": Rule(
        0.35, "starting value", "composition target: close 35 to 40 %",
        "share of close-ups in the dataset",
    ),
    "fewest_pictures": Rule(
        8, "derived", "fewer pairs leave an interval wider than any of these thresholds",
        "fewest pictures for a comparison",
    ),
    "spike": Rule(
        10.0, "starting value", "loss at random noise levels varies two- to threefold",
        "loss of one step above the run's median, times",
    ),
}  # fmt: skip


def rules(overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """All values, the user's own in place of ours. Raises InputError for an unknown name."""
    return values_of(RULES, overrides, "advice.thresholds")
