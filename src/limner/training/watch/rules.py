"""Every number by which `limner watch` raises a flag, with its source and tag.

In: the user's own values (`training.thresholds`, names beginning with `watch_`). Out: name ->
value. Losses of flow matching jump with the noise level drawn, so all rules look at means.
"""

from __future__ import annotations

from collections.abc import Mapping

from limner.project.rules import Rule, values_of

PREFIX = "watch_"

RULES: dict[str, Rule] = {
    "watch_smooth": Rule(
        0.98, "community", "TensorBoard's slider; 50 steps of memory", "weight of the past"
    ),
    "watch_window": Rule(20, "starting value", "means of 20 single losses", "steps a mean is over"),
    "watch_spike": Rule(
        2.5, "starting value", "over the median of the windows before", "times what was usual"
    ),
    "watch_plateau_share": Rule(
        0.4, "starting value", "long enough not to be noise", "share of the run without progress"
    ),
    "watch_plateau_gain": Rule(
        0.01, "starting value", "1 % is within the noise of 40 pictures", "least relative fall"
    ),
    "watch_plateau_from": Rule(400, "starting value", "fewer say little", "fewest losses needed"),
    "watch_fast_share": Rule(
        0.1, "starting value", "the first tenth", "share of the run that must not do all"
    ),
    "watch_fast_fall": Rule(
        0.6, "starting value", "a likeness takes longer than this", "relative fall in that share"
    ),
    "watch_no_fall_from": Rule(300, "starting value", "warm-up included", "fewest losses needed"),
    "watch_no_fall": Rule(
        0.0, "starting value", "the last fifth against the first", "least relative fall by then"
    ),
    "watch_gap": Rule(
        0.1,
        "starting value",
        "0 when training and held-out pictures are learned alike",
        "share of step 0's fixed-noise loss that training pictures are ahead",
    ),
    "watch_held_out_rise": Rule(
        0.01,
        "starting value",
        "evaluation protocol",
        "relative rise above the lowest held-out loss",
    ),
    "watch_saturation": Rule(
        0.25, "starting value", "burnt samples are more colourful", "relative rise of saturation"
    ),
    "watch_repeat_bits": Rule(
        8, "community", "difference hash of 64 bits, near-duplicates", "bits that may differ"
    ),
    "watch_repeat_share": Rule(
        0.5, "starting value", "half of the pairs", "share of prompts drawn alike"
    ),
    "watch_silent_s": Rule(
        600, "starting value", "caching and sampling are silent too", "seconds without a change"
    ),
    "watch_silent_steps": Rule(
        20, "starting value", "slow steps must not look dead", "steps' worth of silence"
    ),
    "watch_disk_gb": Rule(
        5, "starting value", "a checkpoint of 0.3 GB and its state", "GB that must stay free"
    ),
    "watch_vram": Rule(
        0.95, "starting value", "the allocator needs room", "share of the card's memory in use"
    ),
}


def rules(overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """All values, the user's own in place of ours. Raises InputError for an unknown name."""
    return values_of(RULES, overrides, "training.thresholds")
