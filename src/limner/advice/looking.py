"""Questions about pictures: identity by pose, copies, leakage, skin, colour, background, bodies.

In: `Records` and the rules' values. Out: `Test`s. A number that nobody measured gives a test
that cannot say, with the way to get it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from limner.advice import numbers
from limner.advice.evidence import Fact, Test
from limner.advice.records import Picture, Records

Values = dict[str, float]
SHOWN = 4  # pictures named as evidence: enough to look at, few enough to be looked at
YAW_BINS = ((0.0, 20.0, "front"), (20.0, 45.0, "three-quarter"), (45.0, 181.0, "side"))
"""|yaw| in degrees, the bins of the evaluation protocol (starting value)."""
EVALUATE = "limner evaluate && limner verdict"


def unknown(key: str, what: str, reason: str, how: str) -> Test:
    """A test that cannot say."""
    return Test(Fact(key, what, ""), None, reason=reason, how=how)


def span(interval: Sequence[float] | None, *, percent: bool = True) -> str:
    """`95 % interval 79.5 to 96.2 %`; empty without one."""
    if interval is None:
        return ""
    low, high = interval
    if percent:
        return f", 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return f", 95 % interval {low:.3f} to {high:.3f}"


def _paths(pictures: Sequence[Picture]) -> tuple[str, ...]:
    return tuple(p.render.path for p in pictures[:SHOWN] if p.render.path)


def verdict_of(found: Records) -> str:
    """Where a fact of the verdict comes from."""
    return f"verdict {found.verdict.version}" if found.verdict else "verdict"


def _misses(found: Records) -> list[Picture]:
    """Fresh pictures of the chosen arm that show someone else, the least alike first."""
    missed = [p for p in found.chosen if p.value("match") != 1.0]
    return sorted(missed, key=lambda p: p.value(found.identity) or -1.0)


# ---- identity


def match_rate(found: Records, value: Values) -> Test:
    """Is the person there often enough in fresh pictures?"""
    data = found.data
    if data.get("match_rate") is None or not data.get("n"):
        return unknown(
            "match_rate",
            "Share of fresh pictures that show the person",
            "there is no verdict with pictures",
            EVALUATE,
        )
    low, high = data["interval"]
    holds = True if high < value["consistent"] else False if low >= value["consistent"] else None
    fact = Fact(
        "match_rate",
        f"{data['hits']} of {data['n']} fresh pictures show the person"
        f"{span(data['interval'])}; the goal here is {100 * value['consistent']:.0f} %",
        verdict_of(found),
        data["match_rate"],
        "share",
        (low, high),
        data["n"],
        _paths(_misses(found)),
    )
    reason = f"{data['n']} pictures leave it open{span(data['interval'])}"
    how = f"Draw more: raise evaluation.claim_seeds, then {EVALUATE}"
    return Test(fact, holds, "consistent", "", reason, how)


def ceiling(found: Records, value: Values) -> Test:
    """Is the dataset one person, by the same measure?"""
    data = found.data
    rate = data.get("ceiling")
    if rate is None:
        return unknown(
            "ceiling",
            "How many of the dataset's own pictures pass",
            "no verdict set a threshold",
            EVALUATE,
        )
    hits, n = data.get("ceiling_hits"), data.get("ceiling_n")
    count = f"{hits} of {n}" if n else f"{100 * rate:.0f} %"
    interval = tuple(data["ceiling_interval"]) if data.get("ceiling_interval") else None
    fact = Fact(
        "ceiling",
        f"{count} of the dataset's own pictures pass when left out{span(interval)}",
        verdict_of(found),
        rate,
        "share",
        interval,
        n,
    )
    cause = "The training pictures do not all show one person, so no training can."
    low, high = interval or (rate, rate)
    line = value["ceiling"]
    holds = True if interval and high < line else False if rate >= line else None
    reason = f"{count} leave it open: the interval {100 * low:.0f} to {100 * high:.0f} % holds it"
    return Test(fact, holds, "ceiling", cause, reason, "Hold more pictures back: dataset.held_out")


def by_pose(found: Records, value: Values) -> Test:
    """Does the person get lost in one pose?"""
    groups: dict[str, list[Picture]] = {}
    for picture in found.chosen:
        yaw = picture.value("yaw")
        if yaw is None or "match" not in picture.scores:
            continue
        name = next(n for low, high, n in YAW_BINS if low <= abs(yaw) < high)
        groups.setdefault(name, []).append(picture)
    enough = {k: v for k, v in groups.items() if len(v) >= value["fewest_pictures"]}
    if len(enough) < 2:
        return unknown(
            "pose",
            "Whether one pose fails more than the others",
            f"fewer than two poses have {value['fewest_pictures']:.0f} fresh pictures",
            "Evaluate on more angles (your own prompts), or more claim_seeds",
        )

    def rate(pictures: Sequence[Picture]) -> numbers.Estimate:
        return numbers.share(sum(p.value("match") == 1.0 for p in pictures), len(pictures))

    worst = min(enough, key=lambda name: rate(enough[name]).value)
    rest = [p for name, mine in enough.items() if name != worst for p in mine]
    one, two = rate(enough[worst]), rate(rest)
    gap = numbers.share_difference(one, two)
    missed = [p for p in enough[worst] if p.value("match") != 1.0]
    fact = Fact(
        "pose",
        f"{worst} views: {100 * one.value:.0f} % of {one.n} show the person, "
        f"others {100 * two.value:.0f} % of {two.n}",
        "scores of fresh pictures",
        gap.value,
        "share",
        (gap.low, gap.high),
        one.n + two.n,
        _paths(missed),
    )
    return Test(fact, gap.high < 0, "", f"The person is not learned in {worst} views.")


# ---- copies, variety, leakage


def copies(found: Records, value: Values) -> Test:
    """Are fresh pictures training pictures over again?"""
    bits = [p for p in found.chosen if p.value("copy_bits") is not None]
    if not bits:
        return unknown(
            "copies",
            "Whether fresh pictures repeat training pictures",
            "no fresh picture was compared with the training pictures",
            EVALUATE,
        )
    limit = (found.grid.settings.get("limits") or {}).get("copy_bits", 6) if found.grid else 6
    same = [p for p in bits if (p.value("copy_bits") or 0.0) <= limit]
    seen = numbers.share(len(same), len(bits))
    fact = Fact(
        "copies",
        f"{len(same)} of {len(bits)} fresh pictures are nearly a training picture "
        f"(pHash, {limit:g} bits)",
        "scores of fresh pictures",
        seen.value,
        "share",
        (seen.low, seen.high),
        len(bits),
        _paths(same),
    )
    line = value["copies"]
    holds = True if seen.low > line else False if seen.value <= line else None
    cause = "The LoRA has learned pictures by heart."
    reason = f"{len(bits)} pictures leave it open"
    return Test(fact, holds, "copies", cause, reason, "Raise evaluation.claim_seeds and evaluate")


def leakage(found: Records, value: Values) -> Test:
    """Does the person come without being called?"""
    data = found.data
    hits, n = data.get("untriggered_hits"), data.get("untriggered_n")
    if not n or hits is None:
        return unknown(
            "leak",
            "What the LoRA does without its trigger word",
            "nothing was drawn without the trigger",
            f"Set evaluation.untriggered, then {EVALUATE}",
        )
    low, high = data["untriggered_interval"]
    far = float(data.get("far_upper") or 0.0)
    line = max(far, value["leak"])
    holds = True if low > line else False if high <= line else None
    arm = [p for p in found.pictures if p.render.arm == "untriggered" and p.value("match") == 1.0]
    fact = Fact(
        "leak",
        f"Without the trigger {hits} of {n} pictures show the person"
        f"{span((low, high))}; strangers pass in at most {100 * far:.1f} %",
        verdict_of(found),
        hits / n,
        "share",
        (low, high),
        n,
        _paths(arm),
    )
    cause = "The class word or every prompt now means this person."
    reason = f"{n} pictures leave it open{span((low, high))}"
    return Test(fact, holds, "leak", cause, reason, "Raise evaluation.claim_seeds and evaluate")


# ---- what the verdict measured beside identity


def _row(found: Records, key: str) -> dict[str, Any]:
    for row in found.data.get("measures") or []:
        if row.get("key") == key:
            return dict(row)
    return {}


def measured(
    key: str,
    rule: str,
    what: str,
    cause: str,
    *,
    above: bool,
    how: str,
    score: str = "",
    listed: str = "",
) -> Callable[[Records, Values], Test]:
    """A test on one row of the verdict's measures. above: too high is the symptom, else too low.

    Established when the interval lies beyond the rule, refuted when it lies on this side of it.
    score: the render score by which the worst pictures are named. listed: what the verdict calls it
    among the unmeasured, with the command that also keeps the tests that were drawn.
    """

    def test(found: Records, value: Values) -> Test:
        row = _row(found, key)
        if row.get("value") is None:
            reason = row.get("reason") or "the newest verdict did not measure it"
            return unknown(key, what, reason, _way(found, listed) or how)
        limit, at = value[rule], float(row["value"])
        if not row.get("interval"):
            reason = "too few prompts were compared for an interval"
            return unknown(key, what, reason, "Raise evaluation.prompts and evaluate")
        low, high = row["interval"]
        beyond, within = (low > limit, high <= limit) if above else (high < limit, low >= limit)
        holds = True if beyond else False if within else None
        pictures: tuple[str, ...] = ()
        if score and holds is not False:
            known = [p for p in found.chosen if p.value(score) is not None]
            order = sorted(known, key=lambda p: p.value(score) or 0.0, reverse=above)
            pictures = _paths(order)
        unit = row.get("unit") or ""
        shown = {"share": "of 1", "M": ""}.get(unit, unit)  # M: the index's letter in its paper
        said = f"{what}: {at:.3g} {shown}".rstrip()
        fact = Fact(
            key,
            f"{said}{span((low, high), percent=False)}; the line is {limit:g}",
            verdict_of(found),
            at,
            unit,
            (low, high),
            row.get("n"),
            pictures,
        )
        reason = f"the interval {low:.3g} to {high:.3g} holds the line {limit:g}"
        return Test(fact, holds, rule, cause, reason, "Raise evaluation.claim_seeds and evaluate")

    return test


def _way(found: Records, what: str) -> str:
    """How the verdict says that an unmeasured thing is measured; empty where it does not."""
    rows = found.data.get("not_measured") or []
    return next((str(r["how"]) for r in rows if r["what"] == what and r.get("how")), "")


def bleed(found: Records, value: Values) -> Test:
    """Do training backgrounds come along, more than the base model meets them by chance?"""
    name, what = "background_similarity", "Share of prompts with a training background"
    base = [v for p in found.base if (v := p.value(name)) is not None]
    by_prompt: dict[str, list[float]] = {}
    for picture in found.chosen:
        if (seen := picture.value(name)) is not None:
            by_prompt.setdefault(picture.render.prompt_id, []).append(seen)
    if len(base) < value["fewest_pictures"] or len(by_prompt) < 2:
        reason = _row(found, "background_bleed").get("reason")
        reason = reason or "backgrounds were not compared with the training pictures'"
        return unknown("background_bleed", what, reason, EVALUATE)
    line = sum(base) / len(base) + value["bleed_deviations"] * numbers.deviation(base)
    over = {k for k, v in by_prompt.items() if sum(v) / len(v) > line}
    seen_share = numbers.share(len(over), len(by_prompt))
    limit = value["bleed_share"]
    holds = True if seen_share.low > limit else False if seen_share.value <= limit else None
    like = [p for p in found.chosen if p.render.prompt_id in over]
    like.sort(key=lambda p: -(p.value(name) or 0.0))
    fact = Fact(
        "background_bleed",
        f"{len(over)} of {len(by_prompt)} prompts get a background nearer to a training one than "
        f"the base model's do ({line:.2f} and more)",
        "scores of fresh pictures",
        seen_share.value,
        "share",
        (seen_share.low, seen_share.high),
        len(by_prompt),
        _paths(like),
    )
    cause = "Backgrounds of the training pictures come along with the person."
    reason = f"{len(by_prompt)} prompts leave it open"
    return Test(fact, holds, "bleed_share", cause, reason, "Raise evaluation.prompts and evaluate")


def lost_faces(found: Records, value: Values) -> Test:
    """Does a checkpoint lose faces where the base model draws them? All that were drawn count, the
    dropped ones too: a run that ruins faces late is a fact of the run. The bound is shared out over
    the checkpoints (Bonferroni), since the worst of many is looked for."""
    what = "Whether checkpoints lose faces"
    base = {p.cell: p.value("face") for p in found.base + found.arm("base", None, "choose")}
    arms: dict[str, list[Picture]] = {}
    for picture in found.pictures:
        render = picture.render
        seen = picture.value("face") is not None and base.get(picture.cell) == 1.0
        if render.step is not None and render.phase in ("choose", "claim") and seen:
            arms.setdefault(f"{render.arm} at {render.strength:g}", []).append(picture)
    if not arms:
        return unknown("lost_faces", what, "no checkpoint drew what the base drew too", EVALUATE)
    lost = {name: [p for p in mine if p.value("face") != 1.0] for name, mine in arms.items()}
    worst = max(
        arms, key=lambda name: numbers.at_least(len(lost[name]), len(arms[name]), len(arms))
    )
    n, hits = len(arms[worst]), len(lost[worst])
    low = numbers.at_least(hits, n, len(arms))
    limit = value["no_face"]
    share = hits / n
    fact = Fact(
        "lost_faces",
        f"{worst} loses the face in {hits} of {n} pictures in which the base model draws one "
        f"(at least {100 * low:.0f} %, all {len(arms)} checkpoints considered)",
        "scores of all pictures",
        share,
        "share",
        None,
        n,
        _paths(lost[worst]),
    )
    cause = "Training breaks faces: the learning rate is too high, or there were too many steps."
    holds = True if low > limit else False if share <= limit else None
    reason = f"{n} pictures leave it open"
    return Test(fact, holds, "no_face", cause, reason, "Raise evaluation.seeds and evaluate")


def following(found: Records, value: Values) -> Test:
    """Are prompts followed less than by the base model, by the vision endpoint's answers?

    Only where the verdict believes the endpoint: its row has a value then.
    """
    name, what = "follows_questions", "Questions on the prompt answered yes, beside the base model"
    row, how = _row(found, name), "limner evaluate --ask && limner verdict"
    gap, pairs = found.paired(name, found.chosen, found.base)
    if row.get("value") is None or gap is None or pairs < value["fewest_pictures"]:
        reason = row.get("reason") or "too few pictures of both were asked about"
        return unknown(name, what, reason, how)
    limit = value["following"]
    holds = True if gap.high < -limit else False if gap.low >= -limit else None
    known = [p for p in found.chosen if p.value(name) is not None]
    known.sort(key=lambda p: p.value(name) or 0.0)
    fact = Fact(
        name,
        f"{what}: {gap.value:+.2f}{span((gap.low, gap.high), percent=False)} ({pairs} pairs)",
        verdict_of(found),
        gap.value,
        "share",
        (gap.low, gap.high),
        pairs,
        _paths(known),
    )
    cause = "The LoRA draws what it was trained on instead of what is asked for."
    reason = f"{pairs} pairs leave it open"
    return Test(fact, holds, "following", cause, reason, "Raise evaluation.prompts and evaluate")


skin = measured(
    "skin_z",
    "skin_z",
    "Skin texture of close-ups against the training pictures, deviations",
    "The LoRA draws smoother skin than its own training pictures have.",
    above=False,
    how=EVALUATE,
    score="skin_2_4",
)
copy_index = measured(
    "copy_index",
    "copy_index",
    "Copy index above the base model's: nearer to a training picture than to the person",
    "The LoRA repeats training faces instead of knowing the person.",
    above=True,
    how=EVALUATE,
    score="copy_index",
)
diversity = measured(
    "diversity_ratio",
    "diversity",
    "Variety at one prompt beside the base model's",
    "The LoRA draws one picture again and again.",
    above=False,
    how="limner evaluate --tests variety && limner verdict",
    listed="variety at one prompt",
)
_against_base = measured(
    "chroma_ratio",
    "chroma",
    "Colour beside the base model's at the same seeds",
    "The LoRA overdrives colour.",
    above=True,
    how=EVALUATE,
    score="chroma",
)


def chroma(found: Records, value: Values) -> Test:
    """Is colour overdriven: beyond the base model's, and beyond what the person's pictures have?

    Somebody with red hair in bright clothes is more colourful than whom the base draws; that is
    the person. Without colours of training pictures the base alone is asked.
    """
    test, least = _against_base(found, value), value["fewest_pictures"]
    own = [m["picture_chroma"].value for m in found.take_measures.values() if "picture_chroma" in m]
    known = [v for v in own if v is not None]
    by_prompt: dict[str, list[float]] = {}
    for picture in found.chosen:
        if (seen := picture.value("chroma")) is not None:
            by_prompt.setdefault(picture.render.prompt_id, []).append(seen)
    ours = numbers.mean(by_prompt)
    theirs = numbers.mean({str(k): [v] for k, v in enumerate(known)})
    if test.holds is not True or len(known) < least:
        return test
    if ours is None or theirs is None or min(ours.value, theirs.value) <= 0:
        return test
    at = ours.value / theirs.value
    wide = math.hypot(ours.high / ours.value - 1, theirs.high / theirs.value - 1)  # delta method
    low, high = at * (1 - wide), at * (1 + wide)
    limit = value["chroma"]
    said = f"{test.fact.text}; {at:.2f} times its {len(known)} training pictures'"
    return replace(
        test,
        fact=replace(test.fact, text=f"{said}{span((low, high), percent=False)}"),
        holds=True if low > limit else False if high <= limit else None,
        reason=f"it is {low:.2f} to {high:.2f} times its training pictures': the colour may be "
        "the person's own",
    )


clipped = measured(
    "clipped_difference",
    "clipped",
    "Clipped pixels more than the base model at the same seeds",
    "The LoRA burns out light and dark.",
    above=True,
    how=EVALUATE,
    score="clipped",
)
