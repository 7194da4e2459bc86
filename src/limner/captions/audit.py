"""The check: findings on a project's captions, text only; nothing is changed.

In: a `Project` with kept takes. Out: [{rule, severity, file, text, fix}]. Thresholds stand in
`THRESHOLDS`; `captions.thresholds` in character.yaml wins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from limner.captions.stage import kept_takes, shown, text_file
from limner.errors import InputError
from limner.lexicon.constants import find_constants
from limner.project import Project

Finding = dict[str, str]

THRESHOLDS: dict[str, tuple[float, str, str]] = {
    # name: (value, where it comes from, tag)
    "frequency_warning": (0.60, "caption-audit 1.3.0: share of captions with a term", "published"),
    "frequency_error": (0.85, "caption-audit 1.3.0: share of captions with a term", "published"),
    "frequency_from": (10, "fewest captions in which shares are judged", "starting value"),
    "likeness": (0.90, "caption-audit 1.3.0: Jaccard of word sets", "published"),
    "words_min": (6, "shortest caption", "starting value"),
    "words_max": (40, "longest caption", "starting value"),
    "trigger_distance": (2, "edits that make a near-miss of the trigger", "starting value"),
}
"""Every number the check judges by."""

SLOT_WORDS = frozenset(
    (
        *("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "with", "from", "over"),
        *("wearing", "holding", "shot", "portrait", "background", "setting", "mood", "view"),
        *("expression", "looking"),
    )
)
"""Function words and the grammar's own slot words: expected in most captions, no attribute."""

_CAMERA = re.compile(
    r"\b(?:\d+ ?mm|f/\d|bokeh|canon|nikon|sony|leica|fujifilm|arri|depth of field|8k|4k|uhd|hdr|"
    r"raw photo|photorealistic|ultra[- ]detailed|masterpiece|best quality|high quality|"
    r"professional photography)\b",
    re.IGNORECASE,
)


def threshold(name: str, own: Mapping[str, float]) -> float:
    """A threshold, or the user's own value. Raises InputError for an unknown name in `own`."""
    for key in own:
        if key not in THRESHOLDS:
            raise InputError(
                f"no threshold {key!r}",
                where="captions.thresholds",
                fix=f"Use one of: {', '.join(THRESHOLDS)}",
            )
    return float(own.get(name, THRESHOLDS[name][0]))


def check(project: Project) -> list[Finding]:
    """Findings on the captions of the kept takes. Raises NotReadyError when nothing is kept."""
    takes = kept_takes(project)
    captions = project.store.captions()
    character = project.character
    own = character.captions.thresholds
    found: list[Finding] = []
    texts: dict[str, str] = {}
    for take in takes:
        file = text_file(project, take)
        where = project.relative(file)
        caption = captions.get(take.id)
        if caption is None:
            fix = "Run `limner captions compile`."
            found.append(_finding("missing", "error", where, "there is no caption", fix))
            continue
        texts[where] = caption.text
        found += check_text(caption.text, where, character.trigger, character.class_word, own)
        if file.is_file() and " ".join(file.read_text("utf-8", "replace").split()) != caption.text:
            text = "the file differs from the recorded caption"
            fix = "Run `limner captions compile`; it takes your edit over."
            found.append(_finding("file", "warning", where, text, fix))
        place = _other_place(caption.text, shown(project, take))
        if place:
            fix = "Correct the caption, or reject the take."
            found.append(_finding("contradiction", "warning", where, place, fix))
    return [*found, *check_set(texts, character.trigger, character.class_word, own)]


def _finding(rule: str, severity: str, where: str, text: str, fix: str) -> Finding:
    return {"rule": rule, "severity": severity, "file": where, "text": text, "fix": fix}


def check_text(
    text: str, where: str, trigger: str, class_word: str, own: Mapping[str, float]
) -> list[Finding]:
    """Findings on one caption: trigger, constants, camera words, length."""
    found = []
    times = len(re.findall(rf"(?<!\w){re.escape(trigger)}(?!\w)", text))
    if times == 0:
        near = [w for w in re.findall(r"\w+", text) if _near(w, trigger, own)]
        said = f'"{near[0]}" looks like a misspelt trigger' if near else "the trigger is missing"
        fix = f"Begin with {trigger}."
        found.append(_finding("trigger_missing", "error", where, said, fix))
    elif times > 1:
        said = f"the trigger stands {times} times"
        found.append(_finding("trigger_repeated", "error", where, said, "Keep the first only."))
    elif not re.match(rf"{re.escape(trigger)}(?!\w)", text):
        said = "the trigger is not first"
        found.append(_finding("trigger_not_first", "error", where, said, f"Begin with {trigger}."))
    for constant in find_constants(text, class_word):
        said = f'"{constant.words}" names a constant ({constant.trait}, character {constant.start})'
        fix = "Delete these words: they must fuse with the trigger."
        found.append(_finding("constant", "error", where, said, fix))
    for match in _CAMERA.finditer(text):
        said = f'"{match.group(0)}" is about the camera or quality'
        found.append(_finding("camera", "error", where, said, "Delete these words."))
    words = len(text.split())
    if not threshold("words_min", own) <= words <= threshold("words_max", own):
        low, high = threshold("words_min", own), threshold("words_max", own)
        said = f"{words} words, outside {low:g} to {high:g}"
        found.append(_finding("length", "warning", where, said, "Shorten or complete it."))
    return found


def check_set(
    texts: Mapping[str, str], trigger: str, class_word: str, own: Mapping[str, float]
) -> list[Finding]:
    """Findings on all captions together: equal ones, and words that stand in too many."""
    found = []
    words = {where: _words(text, trigger, class_word) for where, text in texts.items()}
    for (a, first), (b, second) in combinations(words.items(), 2):
        likeness = len(first & second) / max(len(first | second), 1)
        if texts[a] == texts[b]:
            said = f"the same caption as {a}"
            found.append(_finding("duplicate", "error", b, said, "Say what is different."))
        elif likeness >= threshold("likeness", own):
            said = f"almost the same words as {a} (likeness {likeness:.2f})"
            found.append(_finding("likeness", "warning", b, said, "Say what is different."))
    if len(texts) >= threshold("frequency_from", own):
        found += _frequent(list(texts.values()), list(words.values()), trigger, own)
    return found


def _words(text: str, trigger: str, class_word: str) -> set[str]:
    spoken = set(re.findall(r"[\w'-]+", text.lower()))
    return spoken - {trigger, *class_word.lower().split()}


def _frequent(
    texts: Sequence[str], words: Sequence[set[str]], trigger: str, own: Mapping[str, float]
) -> list[Finding]:
    """Document frequency of words and of comma segments, the trigger aside."""
    counts: Counter[str] = Counter()
    for text, spoken in zip(texts, words, strict=True):
        segments = {s.strip().lower() for s in text.split(",")[1:]}
        counts.update((segments | spoken) - SLOT_WORDS - {trigger})
    found = []
    for term, n in counts.most_common():
        share = n / len(texts)
        if share < threshold("frequency_warning", own):
            break
        severity = "error" if share >= threshold("frequency_error", own) else "warning"
        said = f'"{term}" stands in {n} of {len(texts)} captions ({share:.0%})'
        fix = "Vary it or drop it: a constant of the captions binds to the trigger."
        found.append(_finding("frequency", severity, "captions", said, fix))
    return found


def _near(word: str, trigger: str, own: Mapping[str, float]) -> bool:
    return 0 < edit_distance(word.lower(), trigger) <= threshold("trigger_distance", own)


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and changes of one character."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _other_place(text: str, attributes: Mapping[str, str]) -> str | None:
    """A place the caption names that is another than the picture's."""
    from limner import lexicon

    own = lexicon.settings()[attributes["setting"]]
    segments = [s.strip().lower() for s in text.split(",")]
    for setting in lexicon.settings().values():
        names = {setting.phrase, f"{setting.phrase} background", f"{setting.phrase} setting"}
        if setting.phrase != own.phrase and names & set(segments):
            return f"it says {setting.phrase}, the picture shows {own.phrase}"
    return None
