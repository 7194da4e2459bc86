"""Every number training is decided by, with its source and tag; character.yaml can change it.

In: overrides from `training.thresholds`. Out: name -> value.
"""

from __future__ import annotations

from collections.abc import Mapping

from limner.project.rules import Rule, values_of

RULES: dict[str, Rule] = {
    "warmup_steps": Rule(
        10, "starting value", "a LoRA starts at zero, so a short one does", "linear warm-up, steps"
    ),
    "weight_decay": Rule(1e-4, "community", "ai-toolkit's example for 2509", "AdamW weight decay"),
    "beta1": Rule(0.9, "published", "Kingma & Ba 2015, arXiv 1412.6980", "AdamW first moment"),
    "beta2": Rule(0.999, "published", "Kingma & Ba 2015, arXiv 1412.6980", "AdamW second moment"),
    "epsilon": Rule(1e-8, "published", "Kingma & Ba 2015, arXiv 1412.6980", "AdamW epsilon"),
    "max_grad_norm": Rule(
        1.0, "community", "ai-toolkit, diffusers scripts", "gradients are scaled down to this norm"
    ),
    "references_each": Rule(
        3,
        "starting value",
        "every pair must be encoded once",
        "edit template: reference pictures a picture is trained with",
    ),
    "held_out_pictures": Rule(
        8, "starting value", "evaluation protocol", "most held-out pictures in the fixed-noise loss"
    ),
    "held_out_levels": Rule(
        8, "starting value", "evaluation protocol: 8 to 10 quantiles", "noise levels in that loss"
    ),
    "window_low": Rule(
        0.7,
        "starting value",
        "evaluation protocol",
        "first step worth comparing, times the lowest's",
    ),
    "window_high": Rule(
        3.0,
        "starting value",
        "evaluation protocol",
        "last step worth comparing, times the lowest's",
    ),
    "still_falling": Rule(
        0.01, "starting value", "evaluation protocol", "fall an evaluation that counts as falling"
    ),
    "state_every_s": Rule(
        30, "starting value", "at most this much work is lost to a kill", "seconds between states"
    ),
    "rollbacks": Rule(
        3,
        "starting value",
        "each halves the learning rate; more would train at less than a tenth of it",
        "times a run goes back to its last checkpoint when a loss is no number",
    ),
    "timing_steps": Rule(
        3, "starting value", "median of three after one to warm up", "steps timed for a plan"
    ),
    "timing_limit_mb": Rule(
        2048, "starting value", "loads in seconds", "largest base a plan loads to time it, MB"
    ),
    "many_steps": Rule(
        5000, "starting value", "1.5 x the guide's 3,400", "more steps than this get a warning"
    ),
    "small_picture": Rule(
        0.8, "starting value", "a tenth less in either side", "share of the area that is too small"
    ),
    "plain_attention": Rule(
        512,
        "starting value",
        "torch's fused kernel is slower backwards there on a CPU",
        "most tokens for which a CPU uses the plain attention kernel",
    ),
    "cpu_threads": Rule(
        2, "starting value", "more does not help a small model", "most threads on a CPU"
    ),
    "activations_per_token": Rule(
        22,
        "derived",
        "fits the published 35 GB at 4,352 tokens and 69 GB at 8,522 of the 60-block model",
        "values of the model's width kept for the backward pass, a token a block",
    ),
    "sample_steps": Rule(
        12, "starting value", "enough to see the character", "sampling steps of sample pictures"
    ),
}


def rules(overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """All values, the user's own in place of ours. Raises InputError for an unknown name.

    Names that begin with `watch_` belong to `limner.training.watch`.
    """
    own = {n: v for n, v in (overrides or {}).items() if not n.startswith("watch_")}
    return values_of(RULES, own, "training.thresholds")
