"""The verifier: findings on any set of prompts, a project's or a file's; nothing is changed.

In: `Item`s and what was asked for (quotas, trigger, dialect). Out: findings {rule, severity, where,
text, fix}. What could not be told from a text is said as such, never counted as zero.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from limner import lexicon
from limner.lexicon.constants import find_constants
from limner.lexicon.wording import count_words
from limner.project.adults import UNDER_18
from limner.shots.dialects import Dialect, dialect_of
from limner.shots.items import COUNTED, Item, shares, unknown
from limner.shots.promptset import allowed_prompts
from limner.shots.quotas import REST
from limner.shots.reading import read_prompt
from limner.shots.report import associations_of, needed_distinct, runs
from limner.shots.rules import suits, threshold
from limner.shots.search import cramers_v

Finding = dict[str, str]

_NEGATION = re.compile(r"\b(?:no|not|without|never|avoid|don['’]t)\b", re.IGNORECASE)
_VAGUE = re.compile(
    r"\b(?:beautiful|pretty|nice|gorgeous|stunning|attractive|perfect|amazing|good-looking"
    r"|lovely|sexy|hot (?:woman|man|girl))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w'-]+")
_AXIS_NAMES = {"expression": "expression", "setting": "place", "lighting": "light"}
FREE_PAIRS = (
    *(("angle", b) for b in ("expression", "framing", "setting", "outfit", "lighting")),
    *(("expression", b) for b in ("framing", "setting", "outfit", "lighting", "pose")),
)
"""Pairs of axes that no rule of what goes with what ties together."""


MOST_COMPARED = 1_000
"""Prompts compared with each other for near-equal words (work budget); equal ones always are."""


@dataclass(frozen=True)
class Asked:
    """What a set is held against. targets: axis -> value -> number; empty = no quotas."""

    targets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    trigger: str | None = None
    class_word: str | None = None
    dialect: str = "inbox"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    tolerance: int = 1


def finding(rule: str, severity: str, where: str, text: str, fix: str) -> Finding:
    """One finding in the form of all checks."""
    return {"rule": rule, "severity": severity, "where": where, "text": text, "fix": fix}


def check_items(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """All findings on a set: prompt by prompt, then pairs, then the set as a whole."""
    speech = dialect_of(asked.dialect)
    found: list[Finding] = []
    for item in items:
        found += _words_of(item, asked, speech)
        found += _contradictions(item)
    found += _twins(items, asked)
    found += _shares(items, asked)
    found += _repeats(items, asked)
    return found + _sticking(items, asked)


def guess_trigger(texts: Sequence[str]) -> str | None:
    """A word with an underscore that stands in most prompts; None = there is none."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(set(re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", text)))
    best = words.most_common(1)
    return best[0][0] if best and best[0][1] * 2 > len(texts) else None


def _words_of(item: Item, asked: Asked, speech: Dialect) -> list[Finding]:
    """Trigger, length, constants, negations, empty praise, minors and missing parts of a prompt."""
    found = []
    own = asked.thresholds
    text, where = item.text, item.where
    if asked.trigger and speech.trigger:
        times = len(re.findall(rf"(?<!\w){re.escape(asked.trigger)}(?!\w)", text))
        if times != 1:
            said = f"the trigger {asked.trigger} stands {times} times in the prompt"
            found.append(finding("trigger", "error", where, said, "Write it exactly once."))
    words = count_words(text)
    low, high = speech.words
    if speech.trigger:
        low, high = int(threshold("words_min", own)), int(threshold("words_max", own))
    if not low <= words <= high:
        said = f"{words} words, outside {low} to {high}"
        fix = "Name what is missing." if words < low else "Shorten the background and the style."
        found.append(finding("length", "warning", where, said, fix))
    for constant in find_constants(text, asked.class_word):
        said = f'"{constant.words}" names a constant of the person ({constant.trait})'
        fix = "Delete these words; the reference picture and the trigger carry them."
        found.append(finding("constant", "error", where, said, fix))
    if match := UNDER_18.search(text):
        said = f'"{match.group(0)}": Limner makes pictures of adults only'
        found.append(finding("minor", "error", where, said, "Delete this prompt."))
    if match := _NEGATION.search(text):
        said = f'"{match.group(0)}": picture models read what is not wanted as wanted'
        found.append(finding("negation", "warning", where, said, "Say what should be there."))
    if match := _VAGUE.search(text):
        said = f'"{match.group(0)}" shows nothing that can be seen'
        found.append(finding("vague", "warning", where, said, "Name light, clothes or mood."))
    if missing := _missing(item, speech):
        names = ", ".join(_AXIS_NAMES.get(a, a) for a in missing)
        fix = f"Add: {names}. Without it the source decides, and the caption cannot tell."
        found.append(finding("missing", "warning", where, f"says nothing of: {names}", fix))
    return found


def _missing(item: Item, speech: Dialect) -> list[str]:
    wanted = [a for a in item.reading.missing if a != "camera" or "camera" not in speech.drop]
    if item.heading:
        wanted = [a for a in wanted if a != "angle"]
    return wanted


def _contradictions(item: Item) -> list[Finding]:
    """What cannot be in one picture, and a text that says other than its plan or heading."""
    found = []
    said = item.reading.attributes
    for axis in ("framing", "angle", "gaze", "setting"):
        if others := item.reading.rivals.get(axis):
            both = ", ".join((said[axis], *others))
            name = _AXIS_NAMES.get(axis, axis)
            found.append(_clash(item, f"names more than one {name}: {both}", "Keep one of them."))
    if item.heading and "angle" in said and _domain(said["angle"]) != _domain(item.heading):
        what = f"the heading says {item.heading}, the prompt {said['angle']}"
        found.append(_clash(item, what, "Move the prompt, or change its angle."))
    if item.planned:
        for axis in lexicon.AXES:
            planned, read = item.attributes.get(axis), said.get(axis)
            if planned and read and planned != read:
                what = f"{axis} is planned as {planned}, the prompt says {read}"
                found.append(finding("drift", "error", item.where, what, "Write the prompt anew."))
    angle, setting = item.value("angle"), item.attributes.get("setting")
    if angle == "pure_back" and {"expression", "gaze"} & set(item.reading.words):
        what = "a back view shows no face, but the prompt names expression or gaze"
        found.append(_clash(item, what, "Let the person look back over the shoulder."))
    light, outfit = item.attributes.get("lighting"), item.attributes.get("outfit")
    if setting and light and not _may_be_lit(item, setting, light):
        what = f"{light} cannot happen at {setting}"
        found.append(_clash(item, what, "Change the light or the place."))
    if setting and outfit and not suits(lexicon.outfits()[outfit], lexicon.settings()[setting]):
        what = f"{outfit} is not worn at {setting}"
        found.append(_clash(item, what, "Change the clothes or the place."))
    pose, framing = item.attributes.get("pose"), item.attributes.get("framing")
    if pose and framing and framing not in lexicon.poses()[pose].framings:
        what = f"{pose} cannot be seen in a {framing} picture"
        found.append(_clash(item, what, "Use a wider framing or another pose."))
    return found


_WINDOW = ("soft_window", "blinds_light", "late_sun_window", "skylight")
_DAY = ("morning_light", "bright_sun", "golden_hour", "overcast", "open_shade", "dappled_sun")


def _may_be_lit(item: Item, setting: str, light: str) -> bool:
    """A plan keeps to the lexicon; of a text only what cannot be is a contradiction.

    (The guide's own example has golden hour sun inside a cafe: it comes through the window.)
    """
    place = lexicon.settings()[setting]
    if item.planned:
        return light in lexicon.lights_at(place)
    by_night = "night" in setting and light in _DAY
    return not by_night and not (place.mix == "outdoor" and light in _WINDOW)


def _clash(item: Item, text: str, fix: str) -> Finding:
    return finding("contradiction", "warning", item.where, text, fix)


def _domain(angle: str) -> int:
    return lexicon.angles()[angle].domain


def _twins(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """Equal and near-equal prompts, equal shots, and runs of words in too many prompts."""
    found = []
    own = asked.thresholds
    words = [frozenset(w.lower() for w in _WORD.findall(i.text)) for i in items]
    known = [{(a, v) for a in (*lexicon.AXES, "gaze") if (v := i.attributes.get(a))} for i in items]
    alike, same_shot = threshold("likeness_of_texts", own), threshold("likeness_of_shots", own)
    first: dict[str, int] = {}
    for j, item in enumerate(items):
        equal = first.setdefault(item.text.casefold(), j)
        near = range(j) if j < MOST_COMPARED else range(0)
        for i in [equal] if equal < j else near:
            if items[i].text.casefold() == item.text.casefold():
                said = f"the same prompt as {items[i].where}"
                found.append(finding("duplicate", "error", item.where, said, "Delete one."))
                break
            either = len(words[i] | words[j])
            likeness = len(words[i] & words[j]) / either if either else 0.0
            if likeness > alike:
                said = f"nearly the same words as {items[i].where} (likeness {likeness:.2f})"
                fix = "Change place, clothes or light of one."
                found.append(finding("near_duplicate", "warning", item.where, said, fix))
                break
            shot = len(known[i] & known[j]) / (len(known[i] | known[j]) or 1)
            if shot > same_shot and min(len(known[i]), len(known[j])) > 5:
                said = f"almost the same shot as {items[i].where} (likeness {shot:.2f})"
                fix = "Change place, clothes or light of one."
                found.append(finding("likeness", "warning", item.where, said, fix))
                break
    return found + _shared_words(items, asked)


def _shared_words(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """Runs of words in more prompts than allowed, the most frequent of overlapping ones only."""
    length = int(threshold("shared_run", asked.thresholds))
    most = allowed_prompts(len(items), asked.thresholds)
    where: dict[tuple[str, ...], list[str]] = {}
    for item in items:
        for run in sorted(runs(item.text, length)):
            where.setdefault(run, []).append(item.where)
    groups: dict[tuple[str, ...], tuple[str, ...]] = {}
    for run, places in where.items():
        if len(places) > most:
            groups.setdefault(tuple(places), run)
    return [
        finding(
            "shared_run",
            "warning",
            places[-1],
            f'"{" ".join(run)}" stands in {len(places)} prompts ({", ".join(places[:4])}'
            f"{', ...' if len(places) > 4 else ''}), at most {most} may share it",
            "Say it in other words.",
        )
        for places, run in groups.items()
    ]


def _shares(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """Shares that are off by more than the tolerance, on axes that most prompts tell."""
    found = []
    have, silent = shares(items), unknown(items)
    enough = threshold("told_share", asked.thresholds)
    for axis, wanted in asked.targets.items():
        total = sum(wanted.values())
        told = sum(have[axis].values())
        if told < enough * total:
            said = f"{axis}: {silent[axis]} prompts do not say it, so its shares are not measured"
            fix = "Name it in the prompts, or add a column with its value."
            found.append(finding("not_measured", "warning", "set", said, fix))
            continue
        for value, number in wanted.items():
            got = have[axis].get(value, 0)
            if abs(got - number) > asked.tolerance and value != REST:
                said = f"{axis} {value}: {got}, asked for {number} of {total}"
                more = "Plan the missing ones: `limner shots import FILE --fill`."
                fix = more if got < number else "Turn some of them into what is missing."
                found.append(finding("quota", "warning", "set", said, fix))
    return found


def _repeats(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """Too few distinct values, one value too often, a clause that stands in most prompts.

    What was asked for by number (a quota, a signature outfit) is no fault.
    """
    found = []
    own = asked.thresholds
    have, silent, total = shares(items), unknown(items), len(items)
    fix = "Vary it over the set."
    for axis, need in needed_distinct(total, own).items():
        asked_for = asked.targets.get(axis, {})
        if asked_for and REST not in asked_for:
            need = min(need, sum(n > 0 for n in asked_for.values()))
        if len(have[axis]) + silent[axis] < need:
            said = f"{len(have[axis])} distinct values of {axis}, fewer than {need}"
            found.append(finding(f"distinct_{axis}", "warning", "set", said, fix))
    most = max(2.0, threshold("repeat_share", own) * total)
    for axis in ("setting", "outfit", "lighting"):
        for value, n in have[axis].items():
            if n > max(most, asked.targets.get(axis, {}).get(value, 0)):
                said = f"{value} stands in {n} of {total} prompts"
                found.append(finding("repeat", "warning", "set", said, fix))
    segments: Counter[str] = Counter()
    for item in items:
        clauses = re.split(r"[,.;，、。；]", item.text)
        segments.update({s.strip().casefold() for s in clauses} - {""})
    limit = max(3.0, threshold("clause_share", own) * total)
    for clause, n in segments.most_common(20):
        if n > limit and len(clause.split()) > 1 and not _asked_for(clause, n, asked):
            said = f'"{clause}" stands in {n} of {total} prompts; a LoRA binds it to the trigger'
            found.append(finding("in_most", "warning", "set", said, fix))
    return found + _domains(items, own)


def _asked_for(clause: str, often: int, asked: Asked) -> bool:
    """Whether a clause says a value that a quota wants at least so often."""
    said = read_prompt(clause).attributes
    return any(asked.targets.get(a, {}).get(v, 0) >= often for a, v in said.items())


def _domains(items: Sequence[Item], own: Mapping[str, float]) -> list[Finding]:
    """Each mood and each light spread over enough angle domains."""
    found = []
    domains = {a for i in items if (a := i.value("angle"))}
    for axis, name in (("expression", "domains_of_mood"), ("lighting", "domains_of_light")):
        pairs = [
            (v, a)
            for i in items
            if (v := i.value(axis)) and (a := i.value("angle")) and i.face_visible
        ]
        for value, n in Counter(v for v, _ in pairs).items():
            seen = len({a for v, a in pairs if v == value})
            need = min(int(threshold(name, own)), len(domains), n)
            if seen < need:
                said = (
                    f"{value} stands in {seen} of {len(domains)} angle domains, fewer than {need}"
                )
                found.append(finding(name, "warning", "set", said, "Use it at other angles too."))
    return found


def _free_pairs(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Pairs that no rule ties: exactly where everything is known, else those surely free."""
    columns = {axis: [i.value(axis) for i in items] for axis in COUNTED}
    known = {a: [v for v in values if v is not None] for a, values in columns.items()}
    if any(len(values) < len(items) for values in known.values()):
        return list(FREE_PAIRS)
    entries = associations_of(known, [i.face_visible for i in items])
    return [(e["axes"][0], e["axes"][1]) for e in entries if not e["by_rule"]]


def _sticking(items: Sequence[Item], asked: Asked) -> list[Finding]:
    """Pairs of free axes that go together (bias-corrected Cramer's V), where most prompts tell."""
    found = []
    if len(items) < threshold("association_from", asked.thresholds):
        return []
    limit = threshold("association", asked.thresholds)
    for a, b in _free_pairs(items):
        both = [(x, y) for i in items if (x := i.value(a)) and (y := i.value(b)) and i.face_visible]
        if len(both) < threshold("told_share", asked.thresholds) * len(items):
            continue
        v = cramers_v([x for x, _ in both], [y for _, y in both])
        if v is not None and v > limit:
            said = f"{a} and {b} stick together (Cramer's V {v:.2f}, bias-corrected)"
            fix = f"Give each {b} to several {a}s."
            found.append(finding("association", "warning", "set", said, fix))
    return found
