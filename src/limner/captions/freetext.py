"""The compiler for free text: a prompt, or a model's description, -> one line of training text.

In: text, trigger, profile, template. Out: `Compiled`. Deterministic: the same text gives the same
caption everywhere. The guide's worked example comes out byte for byte under profile `seed`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from limner.captions import phrases as P
from limner.captions.grammar import GAZE_AT_CAMERA, Compiled, check_profile
from limner.captions.reading import Phrase, Reading, read
from limner.captions.words import either, words
from limner.errors import UsageError
from limner.lexicon.constants import find_constants

Template = Literal["character", "body"]
TEMPLATES: tuple[Template, ...] = ("character", "body")
"""character: trigger, framing, clothing, ...; body: trigger, realistic_body, part, pose, ..."""

BODY_TAG = "realistic_body"
"""Second tag of pictures of a body without a face (guide 02): in all of them, in no other."""

BODY_PARTS = (
    *("legs", "torso", "arms", "hands", "feet", "back", "shoulders", "waist", "upper body"),
    *("lower body", "full body"),
)
"""What a body picture shows; the third slot of the body template."""

SET_LIMITS: dict[str, tuple[float, str, str]] = {
    # name: (value, where it comes from, tag)
    "strict_share": (0.85, "caption-audit 1.3.0: share at which a term is critical", "published"),
    "strict_from": (4, "fewest captions that count as a set", "starting value"),
    "strict_floor": (3, "phrases every caption keeps beside its trigger", "starting value"),
}
"""When profile `strict` drops a phrase because the whole set has it."""


def compile_text(
    text: str,
    trigger: str,
    class_word: str | None = None,
    profile: str = "default",
    *,
    template: Template = "character",
    outfit_tag: str | None = None,
    allow: Collection[str] = (),
) -> Compiled:
    """A prompt in words -> caption: trigger, framing, clothing, background, expression, pose.

    Profiles: default drops light; seed keeps the guide's order and its generic light phrase; strict
    drops "looking at camera" too (sets: `drop_common`). template body puts `realistic_body` second.
    allow: traits of the person that change between pictures (`captions.constants`: vary, ignore).
    Every word left out is in `dropped` with its reason, every change in `edits`. Any text is read.
    Raises InputError for an unknown profile, UsageError for a trigger that is no word.
    """
    check_profile(profile)
    check_trigger(trigger)
    reading = read(text, trigger, class_word, frozenset(allow))
    written = _is_caption(text, trigger, reading)
    edits: list[dict[str, str]] = []
    if reading.trigger_at > 0:
        edits.append(edit(trigger, trigger, "trigger_first", "the trigger stands first"))
    parts = _body(reading, text) if template == "body" else _character(reading, profile, written)
    dropped = list(reading.dropped)
    kept = _scrub(parts, trigger, lambda t: _leaks(t, class_word, allow), dropped)
    edits += [edit(p.source, p.text, p.slot, "rewritten") for p in kept if _changed(p)]
    light = _generic_light(reading, written) if profile == "seed" else ""
    if light:
        edits += [edit(w, light, "light", "specific light -> generic") for w in reading.light]
    subject = f"{trigger} {class_word}" if class_word else trigger
    tags = [subject, *([BODY_TAG] if template == "body" else []), *_tag(outfit_tag)]
    said = ", ".join([*tags, *dict.fromkeys(p.text for p in kept), *([light] if light else [])])
    return Compiled(said, _all_dropped(reading, kept, dropped), edits)


def edit(before: str, after: str, rule: str, reason: str) -> dict[str, str]:
    """One entry of a caption's `edits` list."""
    return {"before": before, "after": after, "rule": rule, "reason": reason}


def check_trigger(trigger: str) -> None:
    """Raises UsageError for a trigger that cannot stand first and once: empty, spaces, commas."""
    if not re.fullmatch(r"[^\W_](?:[\w-]*[^\W_])?", trigger):
        raise UsageError(
            f"{trigger!r} cannot be a trigger word",
            where="trigger",
            fix="Use one word of letters, digits and underscores, e.g. grace_char.",
        )


def _tag(outfit_tag: str | None) -> list[str]:
    return [outfit_tag.strip()] if outfit_tag and outfit_tag.strip() else []


def _is_caption(text: str, trigger: str, reading: Reading) -> bool:
    """Whether the text is a caption already: begins with the trigger, nothing of a prompt in it."""
    starts = re.match(rf"\s*{re.escape(trigger)}\s*(?:,|$)", text)
    of_prompts = {"camera", "quality", "material", "cut", "background", "temperature"}
    return bool(starts) and not of_prompts & {d["rule"] for d in reading.dropped}


# ---- the character's template


def _character(reading: Reading, profile: str, written: bool) -> list[Phrase]:
    framing = sorted(reading.of("framing"), key=lambda p: p.text == "portrait")[:1]
    angle = reading.of("angle")[:1]
    if not framing:  # "profile view" frames a picture when nothing else does
        framing, angle = angle, []
    gaze, face = reading.of("gaze")[:1], reading.of("expression")[:1]
    if profile == "strict" and [g.text for g in gaze] == [GAZE_AT_CAMERA]:
        reading.dropped.append(P.drop(gaze[0].source, "set"))
        gaze = []
    clothing, place = _clothing(reading, written), _place(reading, written)
    mood, state = reading.of("mood")[:1], reading.of("state")[:2]
    pose = reading.of("pose")[:2]
    joins = gaze and face and gaze[0].clause == face[0].clause and _mergeable(gaze[0], face[0])
    if profile == "seed" and joins:
        both = f"{gaze[0].text} with {face[0].text}"
        source = f"{gaze[0].source} {face[0].source}"
        face, gaze = [Phrase("expression", both, source, face[0].clause)], []
    return [*framing, *clothing, *place, *face, *mood, *angle, *pose, *gaze, *state]


def _mergeable(gaze: Phrase, face: Phrase) -> bool:
    """Only a noun goes behind "with": looking at camera with genuine smile."""
    return face.text.split()[-1] in words("expression") and "at camera" in gaze.text


_ANY_CLOTHES = ("outfit", "ensemble", "attire", "clothes", "clothing", "wear")


def _clothing(reading: Reading, written: bool) -> list[Phrase]:
    found = reading.of("clothing")
    if not found:
        return []
    items = list(dict.fromkeys(p.text for p in found))
    items = [i for i in items if i not in _ANY_CLOTHES] or items
    worn = any("worn" in p.marks for p in found) or not written
    said = f"wearing {P.join_clothes(items)}" if worn else P.join_clothes(items)
    source = " ".join(dict.fromkeys(p.source for p in found))
    return [Phrase("clothing", said, source, found[0].clause)]


def _place(reading: Reading, written: bool) -> list[Phrase]:
    found = reading.of("place")
    if not found:
        return []
    first = next((p for p in found if "weak" not in p.marks), found[0])
    typed = "typed" in first.marks or first.text.split()[-1] in words("place_type")
    bare = typed or (written and "behind" not in first.marks)
    said = first.text if bare else f"{first.text} background"
    return [Phrase("place", said, first.source, first.clause)]


def _generic_light(reading: Reading, written: bool) -> str:
    """`natural lighting` for whatever light was named; a caption's own generic light stays."""
    if not reading.light:
        return ""
    first = P.tokens_of(reading.light[0].lower())
    if (
        written
        and len(first) == 2
        and first[1] == "lighting"
        and first[0] in words("generic_light")
    ):
        return " ".join(first)
    made = any(either("artificial").search(w) for w in reading.light)
    return "artificial lighting" if made else "natural lighting"


# ---- the body's template


def _body(reading: Reading, text: str) -> list[Phrase]:
    """Part, pose, clothing, background; no face, so no expression, gaze or mood."""
    low = text.lower()
    part = next((p for p in BODY_PARTS if re.search(rf"\b{p.replace(' ', '[- ]')}\b", low)), None)
    parts = [Phrase("part", part, part, 0)] if part else []
    pose = [p for p in reading.of("pose")[:2] if p.text != part]
    return [
        *parts,
        *pose,
        *_clothing(reading, written=True),
        *_place(reading, written=True),
        *reading.of("angle")[:1],
    ]


# ---- what may not stay


def _leaks(text: str, class_word: str | None, allow: Collection[str]) -> bool:
    return any(c.trait not in allow for c in find_constants(text, class_word))


def _scrub(
    parts: Sequence[Phrase],
    trigger: str,
    leaks: Callable[[str], bool],
    dropped: list[P.Dropped],
) -> list[Phrase]:
    """The last gate: no phrase that names a constant or repeats the trigger gets through."""
    kept = []
    for part in parts:
        if re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", part.text, re.IGNORECASE):
            dropped.append(P.drop(part.source, "double"))
        elif leaks(part.text):
            dropped.append(P.drop(part.source, "identity"))
        else:
            kept.append(part)
    while kept and leaks(", ".join(p.text for p in kept)):
        dropped.append(P.drop(kept.pop().source, "identity"))  # two phrases that read as one
    return kept


def _changed(part: Phrase) -> bool:
    return part.text.lower() != part.source.lower()


def _all_dropped(
    reading: Reading, kept: Sequence[Phrase], dropped: list[P.Dropped]
) -> list[P.Dropped]:
    """Dropped words, and the phrases that found their slot taken, in the order of discovery."""
    told = " / ".join([*(p.source for p in kept), *(d["text"] for d in dropped)])
    rest = [p for p in reading.phrases if p.source not in told]
    both = [*dropped, *(P.drop(p.source, "double") for p in rest)]
    seen: set[tuple[str, str]] = set()
    unique = []
    for entry in both:
        key = entry["text"].lower(), entry["rule"]
        if key not in seen:
            seen.add(key)
            unique.append(entry)
    return unique


# ---- the set


def drop_common(
    captions: Sequence[Compiled], own: dict[str, float] | None = None, *, keep: Sequence[str] = ()
) -> list[Compiled]:
    """Drop the phrases that stand in (almost) every caption: they would bind to the trigger.

    The first phrase (trigger, class word), `keep` (outfit tags) and `realistic_body` stay, and so
    do the rarest `strict_floor` phrases of a caption. own: values for `SET_LIMITS` by name.
    """
    limits = {n: float((own or {}).get(n, v[0])) for n, v in SET_LIMITS.items()}
    if len(captions) < limits["strict_from"]:
        return list(captions)
    always = {BODY_TAG, *keep}
    counts = Counter(p for c in captions for p in dict.fromkeys(c.text.split(", ")[1:]))
    common = {
        p
        for p, n in counts.items()
        if n / len(captions) >= limits["strict_share"] and p not in always
    }
    out = []
    for caption in captions:
        head, *parts = caption.text.split(", ")
        going = sorted((p for p in parts if p in common), key=lambda p: -counts[p])
        floor = int(limits["strict_floor"])
        going = going[: max(len(parts) - floor, 0)]
        left = [p for p in parts if p not in going]
        drops = [*caption.dropped, *(P.drop(p, "set") for p in going)]
        out.append(Compiled(", ".join([head, *left]), drops, caption.edits))
    return out


def compile_texts(
    texts: Sequence[str],
    trigger: str,
    class_word: str | None = None,
    profile: str = "default",
    *,
    template: Template = "character",
    outfit_tag: str | None = None,
) -> list[Compiled]:
    """`compile_text` on each; several under profile `strict` are one set (`drop_common`)."""
    made = [
        compile_text(t, trigger, class_word, profile, template=template, outfit_tag=outfit_tag)
        for t in texts
    ]
    if profile == "strict":
        return drop_common(made, keep=_tag(outfit_tag))
    return made


def as_dict(made: Compiled) -> dict[str, Any]:
    """A caption as `--json` shows it: caption, dropped [{text, reason, rule}], edits."""
    return {"caption": made.text, "dropped": made.dropped, "edits": made.edits}


def template_named(name: str) -> Template:
    """A template by its name. Raises UsageError."""
    for known in TEMPLATES:
        if name == known:
            return known
    raise UsageError(f"There is no template {name!r}", fix=f"Use {' or '.join(TEMPLATES)}.")
