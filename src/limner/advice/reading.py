"""Questions about checkpoints, losses, runs and the dataset.

In: `Records` and the rules' values. Out: `Test`s.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from limner.advice import numbers
from limner.advice.evidence import Fact, Test
from limner.advice.looking import EVALUATE, Values, span, unknown, verdict_of
from limner.advice.records import Picture, Records
from limner.project.records import Measure

STRENGTHS = "Name several in evaluation.strengths, then limner evaluate && limner verdict"
CRASHES = (
    (
        "memory",
        r"out of memory|CUDA error: out|OutOfMemory|Killed|signal 9|Cannot allocate",
        "The run needed more memory than there is.",
    ),
    (
        "numbers",
        r"not finite|\bnan\b|infinit",
        "The weights ran away: the learning rate is too high.",
    ),
    (
        "disk",
        r"disk is full|No space left|cannot be written|Read-only",
        "The disk was full or not writable.",
    ),
    ("missing", r"No module named|not installed|ImportError", "A program part is missing."),
    ("picture", r"cannot be read|picture|image file", "A training picture cannot be read."),
    ("settings", r"config|setting|yaml|unknown key", "A setting is wrong."),
)
"""Kind, words of an error, cause; the first that fits (guide 04's sub-issues, merged)."""


# ---- checkpoints and losses


def _means(found: Records) -> dict[tuple[int, float], list[Picture]]:
    """(step, strength) -> its choosing pictures, by step and strength."""
    arms: dict[tuple[int, float], list[Picture]] = {}
    for picture in found.pictures:
        render = picture.render
        if render.phase == "choose" and render.step is not None and render.arm != "control":
            arms.setdefault((render.step, render.strength), []).append(picture)
    return dict(sorted(arms.items()))


def _mean(found: Records, pictures: Sequence[Picture]) -> float:
    values = [v for p in pictures if (v := p.value(found.identity)) is not None]
    return sum(values) / len(values) if values else -1.0


def _best(found: Records) -> tuple[int, float] | None:
    arms = {k: v for k, v in _means(found).items() if len(v) >= 2}
    return max(arms, key=lambda k: _mean(found, arms[k]), default=None)


def still_rising(found: Records, value: Values) -> Test:
    """Is the last checkpoint still better than the one before?"""
    arms = _means(found)
    steps = sorted({step for step, _ in arms})
    strength = found.data.get("strength")
    mine = [s for s in steps if (s, strength) in arms]
    what = "Whether identity still rises at the last checkpoint"
    if len(mine) < 2 or strength is None:
        return unknown("rising", what, "fewer than two checkpoints were compared", EVALUATE)
    last, before = mine[-1], mine[-2]
    gap, pairs = found.paired(found.identity, arms[last, strength], arms[before, strength])
    if gap is None or pairs < 2:
        reason = "the last two checkpoints share too few prompts and seeds"
        return unknown("rising", what, reason, EVALUATE)
    holds = _grows(gap, value["equal"])
    holds = False if last != _top(found) else holds
    words = f"From step {before:,} to the last, {last:,}, mean identity changes by"
    cause = "Training stopped while the likeness was still growing."
    return _change("rising", words, gap, pairs, holds, cause)


def _grows(gap: numbers.Estimate, equal: float) -> bool | None:
    """Whether a difference is surely above nothing and large enough to be seen."""
    if gap.low > 0 and gap.value > equal:
        return True
    return False if gap.high <= equal else None


def _change(
    name: str, words: str, gap: numbers.Estimate, pairs: int, holds: bool | None, cause: str
) -> Test:
    """A question on a paired change of mean identity (cosine); `words` end before the number."""
    interval = (gap.low, gap.high)
    said = f"{words} {gap.value:+.3f}{span(interval, percent=False)} ({pairs} pairs)"
    source = "scores of choosing pictures"
    fact = Fact(name, said, source, gap.value, "cosine", interval, pairs)
    return Test(
        fact, holds, "equal", cause, "the interval leaves it open", "Raise evaluation.seeds"
    )


def _top(found: Records) -> int | None:
    best = _best(found)
    return best[0] if best else None


def late_fall(found: Records, value: Values) -> Test:
    """Are late checkpoints worse than the best one?"""
    arms, best = _means(found), _best(found)
    what = "Whether likeness falls again in late checkpoints"
    later = [k for k in arms if best and k[0] > best[0] and k[1] == best[1]]
    if best is None or not arms:
        return unknown("late_fall", what, "no checkpoints were compared", EVALUATE)
    if not later:
        fact = Fact(
            "late_fall",
            f"The last checkpoint, step {best[0]:,}, has the best mean",
            "scores of choosing pictures",
        )
        return Test(fact, False)
    gap, pairs = found.paired(found.identity, arms[later[-1]], arms[best])
    if gap is None or pairs < 2:
        return unknown("late_fall", what, "too few pictures in common", EVALUATE)
    gap = numbers.widened(gap, len(arms))  # the best was picked on these very pictures
    falls = numbers.Estimate(-gap.value, -gap.high, -gap.low, gap.n)
    holds = _grows(falls, value["equal"])
    words = f"Step {later[-1][0]:,} against the best, {best[0]:,}: mean identity"
    cause = "Training went on after the likeness was best."
    return _change("late_fall", words, gap, pairs, holds, cause)


def weak_strength(found: Records, value: Values) -> Test:
    """Is the LoRA best when it is turned down?"""
    strengths = sorted({k[1] for k in _means(found)})
    what = "The best strength"
    if len(strengths) < 2 or found.data.get("strength") is None:
        reason = "only one strength was tried"
        return unknown("strength", what, reason, STRENGTHS)
    best = float(found.data["strength"])
    tried = ", ".join(f"{s:g}" for s in strengths)
    fact = Fact(
        "strength",
        f"The chosen strength is {best:g} of {tried}",
        verdict_of(found),
        best,
        "strength",
    )
    cause = "At full strength the LoRA is too strong."
    return Test(fact, best <= value["weak_strength"], "weak_strength", cause)


def wants_more(found: Records, value: Values) -> Test:
    """Does likeness still grow with strength at the strongest one tried?"""
    arms, step = _means(found), int(found.data.get("step") or -1)
    mine = sorted(s for at, s in arms if at == step)
    what = "Whether more strength would still help"
    if len(mine) < 2:
        reason = "only one strength was tried at the chosen checkpoint"
        return unknown("wants_more", what, reason, STRENGTHS)
    high, low = mine[-1], mine[-2]
    gap, pairs = found.paired(found.identity, arms[step, high], arms[step, low])
    if gap is None or pairs < 2:
        return unknown("wants_more", what, "too few pictures in common", EVALUATE)
    holds = _grows(gap, value["equal"])
    holds = None if holds and high < 1.0 else holds
    words = f"From strength {low:g} to {high:g} mean identity changes by"
    cause = "The LoRA is weak: it would need more than full strength."
    return _change("wants_more", words, gap, pairs, holds, cause)


def like_the_base(found: Records, value: Values) -> Test:
    """Is the LoRA hardly more than no LoRA at all: no lead in matches, and likeness not surely half
    of the way from the base's pictures to the line of a match?"""
    data = found.data
    mine, base = data.get("interval"), data.get("base_interval")
    if not mine or not base:
        return unknown("lead", "The lead over the base model", "nothing was claimed", EVALUATE)
    clear = mine[0] > base[1]
    way = _way(found)
    gone = ""
    if way is not None:
        gone = f"; likeness went {100 * way.value:.0f} % of the way from the base to the line"
        gone += span((way.low, way.high))
    fact = Fact(
        "lead",
        f"With the LoRA {data['hits']} of {data['n']}, without it {data['base_hits']} of "
        f"{data['base_n']} pictures pass{gone}",
        verdict_of(found),
        data["match_rate"] - data["base_match_rate"],
        "share",
        None,
        data["n"],
    )
    called = clear or (way is not None and way.low >= value["halfway"])
    holds = False if called else True if mine[1] < value["majority"] else None
    cause = "The trigger word does not call the person."
    reason = f"{data['n']} pictures leave it open"
    how = f"Raise evaluation.prompts, then {EVALUATE}"
    return Test(fact, holds, "majority", cause, reason, how)


def _way(found: Records) -> numbers.Estimate | None:
    """How far mean identity went from the base's fresh pictures (0) to the threshold (1), with
    Student's 95 % interval over prompts; the base's own mean is taken as known. None where they
    share too few prompts, or the base lies over the threshold."""
    base = [v for p in found.base if (v := p.value(found.identity)) is not None]
    gap, _ = found.paired(found.identity, found.chosen, found.base)
    line = found.data.get("threshold")
    if gap is None or line is None:
        return None
    whole = line - sum(base) / len(base)
    if whole <= 0:
        return None
    return numbers.Estimate(gap.value / whole, gap.low / whole, gap.high / whole, gap.n)


def loss_falling(found: Records, value: Values) -> Test:
    """Was held-out loss still falling at the end?"""
    held = found.held_out
    if len(held) < 2:
        return unknown(
            "falling",
            "Held-out loss at the end of training",
            "fewer than two looks were written down",
            "Train with held-out pictures",
        )
    (before, was), (last, now) = held[-2], held[-1]
    fall = (was - now) / was if was else 0.0
    fact = Fact(
        "falling",
        f"Held-out loss goes from {was:.4f} (step {before:,}) to {now:.4f} (step "
        f"{last:,}), {100 * -fall:+.1f} %",
        "logs/metrics.jsonl",
        fall,
        "share",
    )
    cause = "Training stopped while it was still learning."
    return Test(fact, fall > value["still_falling"], "still_falling", cause)


def past_the_window(found: Records, value: Values) -> Test:
    """Is the chosen checkpoint far beyond the lowest held-out loss?"""
    held = [h for h in found.held_out if h[0] > 0]
    step = found.data.get("step")
    if len(held) < 3 or step is None:
        return unknown(
            "window",
            "The chosen checkpoint beside the lowest held-out loss",
            "too few looks at held-out loss, or no choice",
            EVALUATE,
        )
    low = min(held, key=lambda h: h[1])
    times = step / low[0]
    fact = Fact(
        "window",
        f"Held-out loss is lowest at step {low[0]:,}; the choice is step {step:,}, "
        f"{times:.1f} times that",
        "logs/metrics.jsonl",
        times,
        "times",
    )
    cause = "Most of the training was spent learning the pictures, not the person."
    return Test(fact, times > value["window"], "window", cause)


def unseen_worse(found: Records, value: Values) -> Test:
    """Does the chosen checkpoint predict unseen pictures of the person worse than the bare base?"""
    held, what = found.held_out, "Held-out loss at the choice beside that before training"
    step = found.data.get("step")
    if len(held) < 2 or held[0][0] != 0 or not held[0][1] or step is None:
        return unknown("unseen", what, "no look before training, or no choice", EVALUATE)
    at, now = max(look for look in held if look[0] <= step)
    times = now / held[0][1]
    trained = dict(found.trained_loss)
    kept = trained[at] / trained[0] if trained.get(0) and at in trained else None
    said = "" if kept is None else f"; on the training pictures it went to {kept:.2f} times"
    fact = Fact(
        "unseen",
        f"Held-out loss at step {at:,} is {times:.2f} times that before training{said}",
        "logs/metrics.jsonl",
        times,
        "times",
    )
    cause = "It knows its training pictures by heart and pictures it never saw worse than before."
    weight = 1
    if kept is not None and kept > 1:  # no knowing by heart: both grew worse
        cause = (
            "Training made it worse at every picture, at its own ones too: the steps are too large."
        )
        weight = 0
    elif kept is not None and kept <= value["by_heart"]:
        weight = 2  # the two curves part: what overfitting is, whatever the pictures look like
    return Test(fact, times > value["unseen"], "unseen", cause, weight=weight)


# ---- runs


def crashed(found: Records, value: Values) -> Test:
    """Did the newest run end with an error?"""
    run = found.newest_run
    if run is None:
        return unknown("crash", "How training ended", "nothing was trained yet", "limner train")
    kind, cause = crash_kind(run.error or "")
    fact = Fact(
        "crash",
        f"Run {run.version} is {run.state}" + (f": {run.error}" if run.error else ""),
        f"run {run.version}",
    )
    return Test(fact, run.state == "failed", "", cause if kind else "See the error's words.")


def crash_kind(error: str) -> tuple[str, str]:
    """(kind, cause) of an error's words; two empty strings when none fits."""
    for kind, pattern, cause in CRASHES:
        if re.search(pattern, error, re.IGNORECASE):
            return kind, cause
    return "", ""


def spikes(found: Records, value: Values) -> Test:
    """Did the loss jump?"""
    losses = found.losses
    if len(losses) < value["fewest_pictures"]:
        return unknown(
            "spike", "Jumps of the training loss", "no losses were written", "limner train"
        )
    middle = numbers.median([v for _, v in losses])
    step, worst = max(losses, key=lambda p: p[1])
    times = worst / middle if middle else 0.0
    fact = Fact(
        "spike",
        f"The highest loss, {worst:.3f} at step {step:,}, is {times:.1f} times the median",
        "logs/metrics.jsonl",
        times,
        "times",
        n=len(losses),
    )
    return Test(fact, times > value["spike"], "spike", "The learning rate is too high.")


def saved(found: Records, value: Values) -> Test:
    """Is every checkpoint that should be there in its file?"""
    run, plan = found.newest_run, found.plan
    if run is None or plan is None or found.logged_step is None:
        return unknown(
            "saved", "Which checkpoints were saved", "no run has written a step", "limner train"
        )
    due = [int(c["step"] if isinstance(c, dict) else c) for c in plan.data.get("checkpoints") or []]
    due = [s for s in due if s <= found.logged_step]
    there = {c.step for c in found.checkpoints if found.project.path(c.path).is_file()}
    lost = [s for s in due if s not in there]
    words = f"{len(due) - len(lost)} of {len(due)} checkpoints due by step {found.logged_step:,}"
    fact = Fact(
        "saved",
        f"{words} are there" + (f"; step {lost[0]:,} is not" if lost else ""),
        f"run {run.version}",
        float(len(lost)),
        "files",
        n=len(due),
    )
    cause = "Checkpoints were not written, or were deleted afterwards."
    if not due:
        return unknown("saved", fact.text, "no checkpoint was due yet", "limner train")
    return Test(fact, bool(lost), "", cause)


def disk(found: Records, value: Values) -> Test:
    """Is there room for the checkpoints of the plan?"""
    wanted = (found.plan.data if found.plan else {}).get("disk_bytes")
    if not wanted:
        return unknown("disk", "Room for checkpoints", "no plan says what it needs", "limner plan")
    free = shutil.disk_usage(found.project.root).free
    fact = Fact(
        "disk",
        f"{free / 1e9:.1f} GB free, the plan writes {wanted / 1e9:.2f} GB",
        "this machine",
        free / 1e9,
        "GB",
    )
    return Test(fact, free < wanted, "", "The disk is too small for the run.")


# ---- the dataset


def odd_takes(found: Records) -> list[int]:
    """Trained takes whose identity with the rest of the set lies under its limit: by the odds of
    both embedders where review could tell them, since one alone errs on turned faces."""
    return [take for take, measures in found.take_measures.items() if _odd(measures)]


def _odd(measures: Mapping[str, Measure]) -> bool:
    under = {}
    for name, measure in measures.items():
        limit = measures.get(f"{name}_limit")
        if not name.startswith("identity_") or limit is None:
            continue
        if measure.value is not None and limit.value is not None:
            under[name] = measure.value < limit.value
    return under["identity_odds"] if "identity_odds" in under else any(under.values())


def strangers(found: Records, value: Values) -> Test:
    """Does a training picture show someone else?"""
    known = [
        take
        for take, m in found.take_measures.items()
        if any(k.startswith("identity_") and v.value is not None for k, v in m.items())
    ]
    if not known:
        return unknown(
            "strangers",
            "Training pictures of someone else",
            "identity within the set is not measured",
            "limner review --again",
        )
    odd = odd_takes(found)
    paths = {t.id: t.path for t in found.trained}
    fact = Fact(
        "strangers",
        f"{len(odd)} of {len(known)} training pictures with a readable face lie "
        "under the set's own limit",
        "review",
        len(odd) / len(known),
        "share",
        None,
        len(known),
        tuple(p for t in odd[:4] if (p := paths.get(t))),
    )
    low = numbers.at_least(len(odd), len(known))
    holds = True if low > value["odd_share"] else None if odd else False
    if odd and len(known) < value["fewest_pictures"]:
        holds = None  # so few have no line of their own
    cause = "Some training pictures show another face."
    reason = "so few fall under such a line by chance; look at them"
    return Test(fact, holds, "odd_share", cause, reason, "limner review --again")


def caption_findings(found: Records, value: Values) -> Test:
    """What does the check of the captions say?"""
    if found.captions is None:
        return unknown("captions", "Captions", "they were not checked", "limner captions check")
    errors = [f for f in found.captions if f.get("severity") == "error"]
    rules = sorted({str(f.get("rule")) for f in errors})
    said = f"{len(errors)} errors, {len(found.captions) - len(errors)} warnings in the captions"
    fact = Fact(
        "captions",
        said + (f": {', '.join(rules)}" if rules else ""),
        "captions check",
        float(len(errors)),
        "findings",
    )
    return Test(fact, bool(errors), "", "Captions say different things about the same person.")


def one_place(found: Records, value: Values) -> Test:
    """Is one background in too many training pictures?"""
    return _largest(found, value, "setting", "setting_share", "background")


def _largest(found: Records, value: Values, axis: str, rule: str, what: str) -> Test:
    counts = found.attribute_counts(axis)
    total = sum(counts.values())
    if not total:
        return unknown(
            axis, f"How varied the {what}s are", "no shot records them", "limner shots plan"
        )
    name, most = next(iter(counts.items()))
    fact = Fact(
        axis,
        f"{len(counts)} {what}s in {total} training pictures; the commonest, "
        f"{name.replace('_', ' ')}, is in {most}",
        "shots",
        most / total,
        "share",
        None,
        total,
    )
    return Test(fact, most / total > value[rule], rule, f"One {what} is in many training pictures.")


def close_ups(found: Records, value: Values) -> Test:
    """Are there enough close-ups?"""
    return _at_least(found, value, ("close_up", "extreme_close_up", "close"), "close", "close-ups")


def full_bodies(found: Records, value: Values) -> Test:
    """Are there enough full-body pictures?"""
    return _at_least(found, value, ("full_body",), "full_body", "full-body pictures")


def _at_least(found: Records, value: Values, ids: Sequence[str], rule: str, what: str) -> Test:
    counts = found.attribute_counts("framing")
    total, mine = sum(counts.values()), sum(counts.get(i, 0) for i in ids)
    if not total:
        return unknown(rule, f"The share of {what}", "no shot records framing", "limner shots plan")
    fact = Fact(
        rule,
        f"{mine} of {total} training pictures are {what}",
        "shots",
        mine / total,
        "share",
        None,
        total,
    )
    return Test(fact, mine / total < value[rule], rule, f"The dataset has few {what}.")


def proportions(found: Records, value: Values) -> Test:
    """Do drawn bodies have the training pictures' proportions?"""
    name, what = "proportion_head", "Head to figure, over the training pictures'"
    rows = found.data.get("measures") or []
    row: dict[str, Any] = next((m for m in rows if m.get("key") == name), {})
    if row.get("value") is None or not row.get("interval"):
        reason = row.get("reason") or "the newest verdict did not measure it"
        return unknown(name, what, reason, "Evaluate on 8 full-body prompts: --prompts FILE")
    low, high = row["interval"]
    most = value["proportion"]
    inside = low >= 1 / most and high <= most
    holds = True if low > most or high < 1 / most else False if inside else None
    shown = sorted(found.chosen, key=lambda p: -abs(p.value(name) or 0.0))
    paths = tuple(p.render.path for p in shown if p.value(name) is not None and p.render.path)
    said = f"{what}: {row['value']:.2f}{span((low, high), percent=False)}"
    fact = Fact(
        name,
        f"{said}; {1 / most:.2f} to {most:.2f} is like them",
        verdict_of(found),
        row["value"],
        "ratio",
        (low, high),
        row.get("n"),
        paths[:4],
    )
    cause = "Bodies of the training pictures do not agree, or were forgotten."
    reason = f"the interval {low:.2f} to {high:.2f} leaves it open"
    return Test(fact, holds, "proportion", cause, reason, "Evaluate on more full-body prompts")
