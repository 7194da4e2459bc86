"""The check: findings on the captions of a project or of any folder; nothing is changed.

In: a `Project`, or a folder with captions. Out: an `Audit`: findings with their mends, the phrases
that stand in many captions and whether the pictures show them, and what could not be measured.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limner.captions import alike, folder, leaks, spelling, steps
from limner.captions.agreeing import against_attributes, against_itself, against_measures
from limner.captions.asking import Look
from limner.captions.counting import Phrase, phrases
from limner.captions.findings import RANK, Finding, Mend, Severity, numbers, printable
from limner.captions.folder import Item, Sheet, open_sheet
from limner.captions.mending import delete_phrase
from limner.captions.seen import Pictures
from limner.captions.stage import shown
from limner.errors import NotReadyError
from limner.lexicon.wording import count_words
from limner.project import Project
from limner.project.settings import TRIGGER_PATTERN

BODY_TAG = "realistic_body"
"""Captions of body-only pictures carry it by design: their phrases are counted apart."""


@dataclass(frozen=True)
class Audit:
    """What a check found. `phrases`: those in many captions, with whether the pictures show them.

    `unmeasured`: [{what, why, way}]: what the check could not look at.
    """

    root: Path
    trigger: str
    pictures: int
    captions: int
    findings: tuple[Finding, ...]
    phrases: tuple[dict[str, Any], ...] = ()
    unmeasured: tuple[dict[str, str], ...] = ()
    policy: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0

    @property
    def active(self) -> list[Finding]:
        """Findings nobody waived."""
        return [f for f in self.findings if f.waived is None]

    @property
    def waived(self) -> list[Finding]:
        """Findings that were accepted with a reason."""
        return [f for f in self.findings if f.waived is not None]

    def fix_command(self, folder: Path | None, *more: str) -> str:
        """The command line that mends findings of this check, ready to paste."""
        given = ["--trigger", self.trigger] if folder is not None and self.trigger else []
        place = [str(folder)] if folder is not None else []
        return printable(shlex.join(["limner", "captions", "fix", *place, *given, *more]))

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "findings": [f.as_json() for f in self.active],
            "waived": [f.as_json() for f in self.waived],
            "phrases": list(self.phrases),
            "not_measured": list(self.unmeasured),
            "captions": self.captions,
            "pictures": self.pictures,
            "trigger": self.trigger or None,
            "constants": dict(self.policy),
            "longest_tokens_estimated": self.tokens,
        }


def check(project: Project) -> list[dict[str, Any]]:
    """Findings on the captions of the kept takes, waived ones aside, as JSON-able objects.

    Raises NotReadyError when nothing is kept.
    """
    return [f.as_json() for f in examine(project).active]


def examine(
    place: Project | Path | Sheet,
    *,
    trigger: str | None = None,
    class_word: str | None = None,
    constants: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    look: Look | None = None,
    asked: int = 8,
) -> Audit:
    """Check a project or any folder. In a project, what is not given is read from character.yaml.

    trigger: none given in a folder: the trigger is not checked, and the audit says so. constants:
    trait or own words -> fuse, vary, ignore or sometimes. look: a model to ask about `asked`
    pictures of each fused phrase nothing else can tell of. Raises InputError (no folder, unknown
    trait or number), NotReadyError (no captions and no pictures; nothing kept).
    """
    sheet = place if isinstance(place, Sheet) else open_sheet(place)
    if not sheet.items and not sheet.problems:
        raise NotReadyError(
            "There is no picture and no caption in this folder",
            where=str(sheet.root),
            fix="Name a folder of pictures with .txt, .caption or metadata.jsonl beside them.",
        )
    character = None if sheet.project is None else sheet.project.character
    if character is not None:
        trigger = character.trigger if trigger is None else trigger
        class_word = character.class_word if class_word is None else class_word
        constants = {**character.captions.constants, **(constants or {})}
        thresholds = {**character.captions.thresholds, **(thresholds or {})}
    policy, value = leaks.policy(constants), numbers(thresholds)
    name, noun = trigger or "", class_word or ""
    pictures = Pictures(sheet, look, asked)
    owner = {i.picture: i.key for i in reversed(sheet.items) if i.picture is not None}
    first = set(owner.values())  # a picture told of twice counts once, a text without one never
    texts = {k: t for k, t in sheet.said.items() if k in first}
    found = [*_of_files(sheet, name), *_of_project(sheet)]
    for key, text in texts.items():
        found += on_text(text, key, name, value)
    found += leaks.constant_findings(texts, noun, policy, value)
    measured, unmeasured = _agreement(sheet, value)
    found += measured
    likely = "" if name else likely_trigger(sheet) or ""
    counted, listed = _counted(texts, name or likely, noun, value, pictures)
    found += [*counted, *_alike(texts, {(name or likely).lower(), *noun.lower().split()}, value)]
    if not name:
        hint = f" Most captions begin with {likely}." if likely else ""
        way = f"Give --trigger, or check inside the project.{hint}"
        unmeasured.append({"what": "the trigger", "why": "no trigger was given", "way": way})
    return Audit(
        root=sheet.root,
        trigger=name,
        pictures=sum(i.picture is not None for i in sheet.items),
        captions=len(texts),
        findings=_settled([_located(f, sheet) for f in found], steps.waivers(sheet)),
        phrases=tuple(listed),
        unmeasured=tuple(unmeasured),
        policy=policy,
        tokens=max(map(tokens, texts.values()), default=0),
    )


def _settled(found: Sequence[Finding], waived: Mapping[str, str]) -> tuple[Finding, ...]:
    """Each finding once, errors first, in the order of rules and files; waived ones marked."""
    once = {f.id: f for f in found}
    order = sorted(once.values(), key=lambda f: (f.severity != "error", RANK[f.rule], f.file))
    return tuple(replace(f, waived=waived.get(f.id)) for f in order)


def _by_hand(key: str) -> str:
    return f"`limner captions edit --file {shlex.quote(key)} --text ...`"


def _located(finding: Finding, sheet: Sheet) -> Finding:
    """The finding with commands that name the folder, so that they can be pasted."""
    if sheet.project is not None:
        return finding
    where = shlex.quote(str(sheet.root))
    fix = finding.fix.replace("`limner captions edit ", f"`limner captions edit {where} ")
    fix = re.sub(r"`(limner captions undo \d+)`", lambda m: f"`{m[1]} --in {where}`", fix)
    return replace(finding, fix=fix)


# ---- files and records


def _of_files(sheet: Sheet, trigger: str) -> list[Finding]:
    found = [_problem(p) for p in sheet.problems]
    for item in sheet.items:
        found += _of_item(sheet, item, trigger)
    return found


_PROBLEMS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "Give read permission, or take the file away."),
    "jsonl": ("error", "Correct that line by hand: one JSON object with file_name and text."),
    "shared": ("warning", "Give each picture a name and a caption of its own."),
    "two_captions": ("warning", "Keep the one your trainer reads."),
}


def _problem(problem: folder.Problem) -> Finding:
    severity, fix = _PROBLEMS[problem.rule]
    return Finding(problem.rule, severity, problem.file, problem.says, fix, problem.says)


def _of_item(sheet: Sheet, item: Item, trigger: str) -> list[Finding]:
    """Missing, orphan, empty, and every fault of the encoding."""
    key = item.key
    if item.raw is None:
        if sheet.project is not None:
            fix = "Run `limner captions compile`."
            return [Finding("missing", "error", key, "there is no caption", fix)]
        text = f"{item.picture} has no caption"
        fix = f"Write one: {_by_hand(key)}"
        return [Finding("missing", "error", key, text, fix)]
    found = []
    if item.picture is None:
        if item.line is not None:
            fix = "Correct the file name, or take the line out."
            return [Finding("orphan", "warning", key, "its picture is not there", fix)]
        fix = "Remove the file (undo brings it back), or bring its picture."
        mend = (Mend(key, remove=True),)
        found.append(
            Finding("orphan", "warning", key, "there is no picture to it", fix, mends=mend)
        )
    for fault in folder.faults(item):
        if fault.certain:
            fix = "Save it as UTF-8, one line, without the fault."
            mends: tuple[Mend, ...] = (Mend(key, clean=True),)
        else:
            fix, mends = "Write the caption anew.", ()
        severity: Severity = "error" if fault.rule in _HARD else "warning"
        found.append(Finding(fault.rule, severity, key, fault.says, fix, mends=mends))
    if item.text is not None and not item.said:
        mends = (Mend(key, lambda _: trigger),) if trigger else ()
        fix = "Say what the picture shows; the mend writes the trigger alone."
        found.append(Finding("empty", "error", key, "the caption is empty", fix, mends=mends))
    return found


_HARD = frozenset(("encoding_binary", "encoding_not_utf8", "encoding_mojibake", "encoding_lost"))


def _of_project(sheet: Sheet) -> list[Finding]:
    """Files that differ from the record, and a step that was cut short."""
    found = []
    if sheet.project is not None:
        recorded = sheet.project.store.captions()
        for item in sheet.items:
            caption = recorded.get(sheet.takes[item.key].id)
            if caption is not None and item.text is not None and item.said != caption.text:
                text = "the file differs from the recorded caption"
                fix = "Run `limner captions compile`; it takes your edit over."
                found.append(Finding("file", "warning", item.key, text, fix))
    for step in steps.unfinished(sheet):
        text = f"step {step.number} ({step.what}) was cut short"
        fix = f"The next change finishes it; or `limner captions undo {step.number}`."
        found.append(Finding("unfinished", "warning", "captions", text, fix, str(step.number)))
    return found


# ---- one caption


def on_text(text: str, key: str, trigger: str, value: Mapping[str, float]) -> list[Finding]:
    """Findings on one caption alone: trigger, camera words, length, contradiction in itself."""
    found = spelling.trigger_findings(text, key, trigger, value)
    found += [*leaks.camera_findings(text, key), *against_itself(text, key)]
    words, many = count_words(text), tokens(text)
    if not value["words_min"] <= words <= value["words_max"]:
        low, high = value["words_min"], value["words_max"]
        said = f"{words} words, outside {low:g} to {high:g} (about {many} tokens, estimated)"
        fix = f"Shorten or complete it: {_by_hand(key)}"
        found.append(Finding("length", "warning", key, said, fix))
    if many > value["tokens_max"]:
        said = f"about {many} tokens (estimated), more than {value['tokens_max']:g}"
        fix = "Shorten it: what is beyond is cut off without a word."
        found.append(Finding("tokens", "error", key, said, fix))
    return found


def tokens(text: str) -> int:
    """Tokens of a caption, estimated without a vocabulary: one for a mark or a word of up to seven
    letters, one more for every five further letters, one for each letter beyond ASCII.

    An upper estimate for English (ours; a byte-pair vocabulary has most words whole).
    """
    count = 0
    for piece in re.findall(r"[A-Za-z]+|\d|[^\w\s]|_|[^\W\dA-Za-z_]", text):
        count += 1 + max(0, -(-(len(piece) - 7) // 5)) if piece.isascii() else 1
    return count


# ---- all captions together


def _alike(texts: Mapping[str, str], drop: set[str], value: Mapping[str, float]) -> list[Finding]:
    found = []
    for first, *others in alike.equal_groups(texts):
        for key in others:
            fix = f"Say what is different: {_by_hand(key)}"
            text = f"the same caption as {first}"
            found.append(Finding("duplicate", "error", key, text, fix, first))
    for first, key, score in alike.alike_pairs(texts, drop, value["likeness"]):
        text = f"almost the same words as {first} (likeness {score:.2f})"
        fix = f"Say what is different: {_by_hand(key)}"
        found.append(Finding("likeness", "warning", key, text, fix, first))
    return found


def _counted(
    texts: Mapping[str, str],
    trigger: str,
    class_word: str,
    value: Mapping[str, float],
    pictures: Pictures | None,
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """(findings, listed phrases). Body-only captions are counted apart from the others."""
    body = {k: t for k, t in texts.items() if BODY_TAG in t}
    groups = [{k: t for k, t in texts.items() if k not in body}, body]
    found, listed = [], []
    for group in groups:
        if len(group) < value["frequency_from"]:
            continue
        noun = f"{class_word} {BODY_TAG}" if group is body else class_word
        for phrase in phrases(group, trigger, noun, least=value["frequency_note"]):
            fused = phrase.share >= value["frequency_warning"]
            seen = None if pictures is None else pictures.show(phrase.words, phrase.keys, ask=fused)
            verdict = "not measured" if seen is None else seen.verdict(value["shown_share"])
            said = "" if seen is None else seen.words(value["shown_share"])
            listed.append(
                {
                    "phrase": phrase.words,
                    "captions": len(phrase.keys),
                    "of": phrase.total,
                    "share": round(phrase.share, 4),
                    "pictures": verdict,
                    "pictures_show": None if seen is None else seen.shown,
                    "how": printable(said),
                }
            )
            if fused:
                absent = seen.absent if seen is not None else frozenset()
                found.append(_fused(phrase, verdict, said, absent, value))
    return found, listed


def _fused(
    phrase: Phrase, verdict: str, said: str, absent: frozenset[str], value: Mapping[str, float]
) -> Finding:
    severity: Severity = "error" if phrase.share >= value["frequency_error"] else "warning"
    text = f'"{phrase.words}" stands in {len(phrase.keys)} of {phrase.total} captions'
    text += f" ({100 * phrase.share:.0f} %) and fuses with the trigger"
    if said:
        text += f"; {said}"
    words = phrase.words
    known = {"both": frozenset[str](), "partly": absent}.get(verdict, frozenset(phrase.keys))
    gone = [k for k in phrase.keys if k in known]
    fix = {
        "both": "The words are right, the pictures are alike: vary the pictures, or waive it.",
        "text only": "Delete it: the pictures do not show it.",
        "partly": f"Delete it from the {len(gone)} captions whose pictures do not show it.",
        "not measured": "Vary it or drop it; the mend deletes it everywhere.",
    }[verdict]
    mends = tuple(Mend(k, lambda t: delete_phrase(t, words)) for k in gone)
    evidence = {"captions": len(phrase.keys), "of": phrase.total, "pictures": verdict}
    return Finding(
        *("frequency", severity, "captions", text, fix, words), mends=mends, evidence=evidence
    )


def _agreement(
    sheet: Sheet, value: Mapping[str, float]
) -> tuple[list[Finding], list[dict[str, str]]]:
    """Captions against what is recorded and measured of their pictures; and what is not."""
    if sheet.project is None:
        why = "Limner holds no measures of this folder's pictures"
        way = "Take them into a project (`limner inbox`) and run `limner review`."
        what = "contradictions with measured framing, angle and face count"
        return [], [{"what": what, "why": why, "way": way}]
    found: list[Finding] = []
    reasons: Counter[tuple[str, str]] = Counter()
    for item in sheet.items:
        if not item.said:
            continue
        take = sheet.takes[item.key]
        found += against_attributes(item.said, item.key, shown(sheet.project, take))
        if "framing" in take.labels:  # a drawing's own labels are exact, a detector's answer is not
            continue
        measures = sheet.project.store.measures(take.id)
        more, absent = against_measures(item.said, item.key, measures, take.height, value)
        told = {(f.file, f.subject) for f in found}
        found += [f for f in more if (f.file, f.subject) not in told]
        reasons.update((n, _why(r)) for n, r in absent.items())
    names = {"face_count": "face count", "face_width": "framing", "yaw": "angle"}
    way = "Run `limner review`; a face that is too small or turned away stays unmeasured."
    unmeasured = [
        {"what": f"{names[name]} of {n} pictures", "why": why, "way": way}
        for (name, why), n in sorted(reasons.items())
    ]
    return found, unmeasured


def _why(reason: str) -> str:
    """A reason without the numbers of one picture, so that equal ones are counted together."""
    return re.sub(r" of [\d.]+ px or more", " that is large enough", reason)


def likely_trigger(sheet: Sheet) -> str | None:
    """The word most captions begin with, where it looks like a trigger (grace_char); else None."""
    firsts = Counter(w[0] for t in sheet.said.values() if (w := re.findall(r"[^\s,，、]+", t)))
    word, n = next(iter(firsts.most_common(1)), ("", 0))
    fits = re.match(TRIGGER_PATTERN, word) and ("_" in word or any(c.isdigit() for c in word))
    return word if fits and n * 2 > len(sheet.said) else None
