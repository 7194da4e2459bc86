"""The trigger in a caption: missing, misspelt, not first, more than once, or left as [trigger].

In: a caption and the trigger. Out: findings with their mends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from limner.captions.findings import Finding, Mend
from limner.captions.mending import trigger_first

_PLACEHOLDER = re.compile(r"\[trigger\]|\[name\]|\{trigger\}", re.IGNORECASE)


def trigger_findings(
    text: str, key: str, trigger: str, value: Mapping[str, float]
) -> list[Finding]:
    """Findings on the trigger of one caption; none when `trigger` is empty (not asked)."""
    if not trigger:
        return []
    fix = f"Begin with {trigger}."
    if found := _PLACEHOLDER.search(text):
        said = f"{found.group(0)} is put in its place by ai-toolkit only"

        def placed(t: str) -> str:
            return trigger_first(_PLACEHOLDER.sub(trigger, t), trigger)

        return [
            Finding(
                *("trigger_placeholder", "warning", key, said, f"Write {trigger}."),
                mends=(Mend(key, placed),),
            )
        ]
    times = len(re.findall(rf"(?<!\w){re.escape(trigger)}(?!\w)", text))
    mend = (Mend(key, lambda t: trigger_first(t, trigger)),)
    near = misspelt(text, trigger, value)
    if near:
        said = f'"{near[0]}" looks like a misspelt trigger'
        spelt = (Mend(key, lambda t: trigger_first(_respelt(t, near, trigger), trigger)),)
        return [Finding("trigger_misspelt", "error", key, said, fix, near[0], spelt)]
    if times == 0:
        said = "the trigger is missing"
        return [Finding("trigger_missing", "error", key, said, fix, mends=mend)]
    if times > 1:
        said = f"the trigger stands {times} times"
        return [Finding("trigger_repeated", "error", key, said, "Keep the first only.", mends=mend)]
    if not re.match(rf"{re.escape(trigger)}(?!\w)", text):
        said = "the trigger is not first"
        return [Finding("trigger_not_first", "error", key, said, fix, mends=mend)]
    return []


def misspelt(text: str, trigger: str, value: Mapping[str, float]) -> list[str]:
    """Words of `text` that are almost the trigger: other case, joints (grace-char), a few letters.

    A short trigger, or one without a joint, has ordinary words near it (maya, may): then only one
    letter may differ, and only a word at the beginning counts.
    """
    plain = _plain(trigger)
    rare = "_" in trigger or any(c.isdigit() for c in trigger)
    most = min(int(value["trigger_distance"]), max(1, len(plain) // 4)) if rare else 1
    words = re.findall(r"[\w-]+", text)
    n = trigger.count("_") + 1
    joined = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)] if n > 1 else []
    found = []
    for i, word in enumerate(words):
        if word == trigger:
            continue
        same, first = _plain(word) == plain, i == 0
        apart = abs(len(word) - len(trigger)) > most + 1  # spares the table for most words
        close = (rare or first) and not apart and 0 < edit_distance(_plain(word), plain) <= most
        if same or (close and len(word) > 2):
            found.append(word)
    return found + [pair for pair in joined if _plain(pair) == plain and pair not in found]


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word).lower()


def _respelt(text: str, near: list[str], trigger: str) -> str:
    for word in sorted(near, key=len, reverse=True):
        inner = r"\s+".join(map(re.escape, word.split()))
        text = re.sub(rf"(?<![\w-]){inner}(?![\w-])", lambda _: trigger, text)
    return text


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and changes of one character."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
