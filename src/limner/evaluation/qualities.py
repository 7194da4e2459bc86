"""What the winner's pictures are like beside the base's and the training pictures'.

In: the scores of a grid. Out: rows for the verdict, each with value, interval, n, or the reason
why it was not measured and how it would be. Paired where both drew the same prompt and seed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limner.evaluation import asking
from limner.evaluation import statistics as stats
from limner.evaluation.arms import BASE, Arm
from limner.evaluation.claim import Count
from limner.evaluation.judging import Scored

Values = dict[tuple[str, int], float]
Row = dict[str, Any]
LEAST = 8
"""Pictures below which a distribution says nothing (starting value)."""


@dataclass(frozen=True)
class Seen:
    """The claiming pictures. own: mean numbers of the training pictures, name -> values."""

    scored: Scored
    chosen: Arm
    training: Mapping[str, Sequence[float]]

    def values(self, arm: Arm, name: str) -> Values:
        """(prompt, seed) -> number of an arm, where it was measured."""
        return {
            (r.prompt_id, r.seed): float(s[name].value or 0.0)
            for r, s in self.scored
            if (r.arm, r.strength) == (arm.name, arm.strength)
            and name in s
            and s[name].value is not None
        }

    def why(self, name: str) -> str:
        """Why the winner's pictures do not have a number."""
        reasons = [
            s[name].reason
            for r, s in self.scored
            if (r.arm, r.strength) == (self.chosen.name, self.chosen.strength) and name in s
        ]
        known = [r for r in reasons if r]
        # of equally frequent ones the first: the same grid, the same verdict
        return max(known, key=known.count) if known else "no picture was read for it"


def rows(
    seen: Seen,
    variety: Mapping[str, Any],
    untriggered: Count | None,
    limits: Mapping[str, float],
) -> list[Row]:
    """All of them, in the order of a report."""
    return [
        _ratio(seen, "chroma_ratio", "chroma", "mean chroma over the base's, same seeds"),
        _difference(
            seen, "clipped_difference", "clipped", "clipped pixels above the base's", "share"
        ),
        _ratio(seen, "sharpness_ratio", "sharpness", "sharpness of the face over the base's"),
        _skin(seen),
        _difference(
            seen,
            "background_bleed",
            "background_similarity",
            "likeness to the nearest training background above the base's, person left out",
            "0-1",
        ),
        _copy_index(seen),
        *(_followed(seen, key, words) for key, words in FOLLOWED),
        _questioned(seen, limits),
        _proportion(seen),
        _variety(variety),
        _leak(untriggered),
    ]


FOLLOWED = (
    ("follows_angle", "pictures that show the angle asked for"),
    ("follows_framing", "pictures that have the framing asked for"),
    ("follows_faces", "pictures with one face"),
)


def _row(key: str, name: str, unit: str, note: str = "") -> Row:
    return {
        "key": key,
        "name": name,
        "value": None,
        "unit": unit,
        "interval": None,
        "n": 0,
        "reason": None,
        "note": note,
    }


def _by_prompt(found: Values) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for (prompt, _), value in found.items():
        groups.setdefault(prompt, []).append(value)
    return groups


def _paired(seen: Seen, name: str, of: Callable[[float, float], float]) -> Values:
    mine, base = seen.values(seen.chosen, name), seen.values(BASE, name)
    return {cell: of(mine[cell], base[cell]) for cell in mine if cell in base}


def _filled(row: Row, found: Values, back: Callable[[float], float] = float) -> Row:
    gap = stats.paired(_by_prompt(found))
    ends = [gap.interval.low, gap.interval.high]
    row |= {"value": back(gap.mean), "n": gap.n}
    row["interval"] = [back(e) for e in ends] if all(map(math.isfinite, ends)) else None
    return row


def _ratio(seen: Seen, key: str, name: str, words: str) -> Row:
    row = _row(key, words, "ratio")
    found = _paired(seen, name, lambda a, b: math.log(max(a, 1e-6) / max(b, 1e-6)))
    if not found:
        return row | {"reason": seen.why(name)}
    return _filled(row, found, math.exp)


def _difference(seen: Seen, key: str, name: str, words: str, unit: str) -> Row:
    row = _row(key, words, unit)
    found = _paired(seen, name, lambda a, b: a - b)
    if not found:
        return row | {"reason": seen.why(name)}
    return _filled(row, found)


def _skin(seen: Seen) -> Row:
    """Fine skin contrast against the training pictures, in their standard deviations of the log."""
    row = _row("skin_z", "fine skin texture against the training pictures", "sd")
    contrast, size = (seen.values(seen.chosen, name) for name in ("skin_2_4", "skin_scale"))
    mine = [(size[cell], cell, v) for cell, v in contrast.items() if v > 0]
    told = zip(*(seen.training.get(name, ()) for name in ("skin_scale", "skin_2_4")), strict=False)
    own = [(scale, v) for scale, v in told if v > 0]
    if len(mine) < LEAST or len(own) < LEAST:
        reason = seen.why("skin_2_4") if len(mine) < LEAST else "few training close-ups show skin"
        return row | {"reason": f"{reason}; {LEAST} close-ups of each are needed"}
    # Pixels between the eyes decide which grain shows: sizes are never mixed, the finest speaks.
    counts = (Counter(scale for scale, *_ in pictures) for pictures in (mine, own))
    enough = [{scale for scale, n in found.items() if n >= LEAST} for found in counts]
    scale = max(enough[0] & enough[1], default=None)
    if scale is None:
        reason = "renders and training pictures show faces at different sizes"
        return row | {"reason": f"{reason}; {LEAST} close-ups of each at one size are needed"}
    logs = np.log([v for at, v in own if at == scale])
    spread = float(logs.std(ddof=1)) or 1e-6
    middle = float(logs.mean())
    z = {cell: (math.log(v) - middle) / spread for at, cell, v in mine if at == scale}
    row["note"] = (
        f"faces with {scale:.0f} px or more between the eyes; training pictures are synthetic too: "
        "that they are not plastic is not shown"
    )
    return _filled(row, z)


def _copy_index(seen: Seen) -> Row:
    """Above the base's at the same seeds: the base saw none of these pictures, and with more
    training than held-out pictures to be near to, anybody's index lies above 0."""
    words = "nearer to a training picture than to a held-out one, above the base's (+1 = copy)"
    row = _difference(seen, "copy_index", "copy_index", words, "M")
    own = seen.training.get("copy_index", ())
    if own and row["value"] is not None:
        mine = np.mean(list(seen.values(seen.chosen, "copy_index").values()))
        row["note"] = f"itself {mine:.2f}; held-out pictures among themselves {np.mean(own):.2f}"
    return row


def _followed(seen: Seen, key: str, words: str) -> Row:
    row = _row(key, words, "share")
    mine, base = seen.values(seen.chosen, key), seen.values(BASE, key)
    if not mine:
        return row | {"reason": seen.why(key)}
    count = Count(int(sum(mine.values())), len(mine))
    row |= {"value": count.rate, "interval": count.interval.as_list(), "n": count.n}
    if base:
        row["note"] = f"{count.words}; base model {int(sum(base.values()))} of {len(base)}"
    return row


def _questioned(seen: Seen, limits: Mapping[str, float]) -> Row:
    """Mean share of yes to the questions on the prompt; whole prompts are the unit. Not believed
    where the model agrees with wrong prompts, or where two models answered."""
    row = _row(asking.FOLLOWS, "yes to the questions on the prompt (vision endpoint)", "share")
    arms = {(a.name, a.strength) for a in (seen.chosen, BASE)}
    mine, base = (seen.values(arm, asking.FOLLOWS) for arm in (seen.chosen, BASE))
    have = [s for r, s in seen.scored if (r.arm, r.strength) in arms and asking.FOLLOWS in s]
    if not have:
        return row | {"reason": asking.NOBODY}
    models = {asking.model_of(s[asking.FOLLOWS].tool) for s in have if s[asking.FOLLOWS].tool}
    if len(models) > 1:
        reason = f"different models answered ({', '.join(sorted(models))}): evaluate --ask again"
        return row | {"reason": reason}
    agreed = [s[asking.CONTROL].value for s in have if asking.CONTROL in s]
    known = [v for v in agreed if v is not None]
    wrong = float(np.mean(known)) if known else 0.0
    if wrong > asking.limit(limits, "control_mean"):
        said = (
            f"the model agrees with {100 * wrong:.0f} % of a wrong prompt's questions; not believed"
        )
        return row | {"reason": said}
    if not mine:
        return row | {"reason": seen.why(asking.FOLLOWS)}
    row = _filled(row, mine)
    row["interval"] = _share_interval(mine, row["interval"])
    row["note"] = f"{', '.join(models)}; yes to a wrong prompt's: {100 * wrong:.0f} %"
    if base:
        row["note"] += f"; base model {float(np.mean(list(base.values()))):.2f}"
    return row


def _share_interval(found: Values, interval: list[float] | None) -> list[float] | None:
    """Within 0 and 1; where all prompts agree on it, exact over the prompts."""
    values = set(found.values())
    if len(values) == 1 and values <= {0.0, 1.0}:
        prompts = len({prompt for prompt, _ in found})
        return Count(int(values.pop()) * prompts, prompts).interval.as_list()
    if interval is None or len(values) == 1:
        return None
    return [max(0.0, interval[0]), min(1.0, interval[1])]


def _proportion(seen: Seen) -> Row:
    """Head height over figure height, log ratio to the training pictures' mean."""
    row = _row("proportion_head", "head to figure, over the training pictures'", "ratio")
    own = [v for v in seen.training.get("proportion_head", ()) if v > 0]
    mine = seen.values(seen.chosen, "proportion_head")
    if len(mine) < LEAST or len(own) < LEAST:
        reason = (
            seen.why("proportion_head") if len(mine) < LEAST else "few full-body training shots"
        )
        return row | {"reason": f"{reason}; {LEAST} full-body pictures of each are needed"}
    middle = float(np.mean(np.log(own)))
    found = {cell: math.log(max(v, 1e-6)) - middle for cell, v in mine.items()}
    return _filled(row, found, math.exp)


def _variety(found: Mapping[str, Any]) -> Row:
    row = _row("diversity_ratio", "variety of one prompt's pictures over the base's", "ratio")
    if not found:
        how = "no prompt was drawn from 8 seeds: limner evaluate --tests variety"
        return row | {"reason": how}
    row |= {"value": found["ratio"], "interval": found["interval"], "n": found["n"]}
    row["note"] = "composition and colour; no network for content was run"
    return row


def _leak(untriggered: Count | None) -> Row:
    row = _row("trigger_leakage", "pictures without the trigger that show the person", "share")
    if untriggered is None or not untriggered.n:
        return row | {"reason": "the winner was not drawn without its trigger word"}
    return row | {
        "value": untriggered.rate,
        "interval": untriggered.interval.as_list(),
        "n": untriggered.n,
    }


def variety(
    mine: Sequence[np.ndarray[Any, Any]], base: Sequence[np.ndarray[Any, Any]]
) -> Row | None:
    """Ratio of mean pairwise distances of coarse pictures (8, 8, 3) in Lab, with a bootstrap
    interval over pictures; None for fewer than 8 of either."""
    if min(len(mine), len(base)) < LEAST:
        return None

    def spread(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        apart = pictures[:, None] - pictures[None]
        found: np.ndarray[Any, Any] = np.linalg.norm(apart, axis=-1).mean(axis=(2, 3))
        return found

    def mean(distances: np.ndarray[Any, Any], picks: np.ndarray[Any, Any]) -> float:
        chosen = distances[np.ix_(picks, picks)]
        apart = picks[:, None] != picks[None]  # a picture drawn twice is not alike itself
        return float(chosen[apart].mean()) if apart.any() else 0.0

    first, second = spread(np.stack(mine)), spread(np.stack(base))
    rng = np.random.default_rng(stats.BOOTSTRAP_SEED)
    ratios = []
    for _ in range(1000):
        a = mean(first, rng.integers(0, len(mine), len(mine)))
        b = mean(second, rng.integers(0, len(base), len(base)))
        ratios.append(a / max(b, 1e-9))
    low, high = (float(v) for v in np.quantile(ratios, [0.025, 0.975]))
    everyone = mean(first, np.arange(len(mine))) / max(mean(second, np.arange(len(base))), 1e-9)
    return {"ratio": everyone, "interval": [low, high], "n": len(mine)}
