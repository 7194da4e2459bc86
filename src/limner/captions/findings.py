"""What the check can find: its rules, its numbers, and a finding with the change that mends it.

In: nothing. Out: `RULES` (what each rule says and why), `NUMBERS` (every number it judges by, with
source and tag) and `Finding`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limner.project.rules import Rule, values_of

Severity = Literal["error", "warning"]

_AUDIT = "caption-audit 1.3.0"
NUMBERS: dict[str, Rule] = {
    "frequency_note": Rule(0.35, "published", _AUDIT, "share from which a phrase is listed"),
    "frequency_warning": Rule(0.60, "published", _AUDIT, "share from which a phrase is a warning"),
    "frequency_error": Rule(0.85, "published", _AUDIT, "share from which a phrase is an error"),
    "frequency_from": Rule(10, "starting value", "ours", "fewest captions shares are judged in"),
    "likeness": Rule(0.90, "published", _AUDIT, "Jaccard of word sets: almost the same caption"),
    "words_min": Rule(6, "starting value", "ours", "shortest caption, words"),
    "words_max": Rule(40, "starting value", "ours: 15 to 40 words", "longest caption, words"),
    "tokens_max": Rule(
        512, "published", "Qwen-Image text path, 512 to 1,024 tokens", "most tokens, estimated"
    ),
    "trigger_distance": Rule(2, "starting value", "ours", "edits that make a misspelt trigger"),
    "sometimes_share": Rule(
        0.80, "starting value", "ours: in fewer captions it changes", "glasses, make-up: constant"
    ),
    "shown_share": Rule(
        0.80, "starting value", "ours", "share of pictures from which they show a phrase too"
    ),
    "front_yaw": Rule(40, "starting value", "review's own", "degrees: no front view beyond"),
    "profile_yaw": Rule(
        12, "derived", "18 to 79 measured on 20 drawn profiles", "degrees: no profile within"
    ),
}
"""Every number the check judges by; `captions.thresholds` in character.yaml wins."""


def numbers(own: Mapping[str, float] | None) -> dict[str, float]:
    """The numbers with the user's own. Raises InputError for an unknown name."""
    return values_of(NUMBERS, own, "captions.thresholds")


RULES: dict[str, str] = {
    # in the order in which their mends are applied to one caption
    "unreadable": "a file that cannot be opened or is too large",
    "encoding_binary": "bytes that are no text",
    "encoding_bom": "a byte order mark before the text",
    "encoding_not_utf8": "UTF-16, Windows-1252 and others: trainers read UTF-8",
    "encoding_mojibake": "UTF-8 that was read as Windows-1252 (cafÃ©)",
    "encoding_invisible": "zero-width and direction marks: invisible, yet tokens",
    "encoding_control": "control characters",
    "encoding_space": "spaces that are not the plain one",
    "encoding_lost": "U+FFFD: a letter was lost",
    "encoding_decomposed": "accents stored apart from their letters",
    "encoding_crlf": "line ends of Windows",
    "encoding_lines": "more than one line",
    "jsonl": "a line of a JSON-lines file that is no caption",
    "missing": "a picture without a caption",
    "empty": "a caption without a word",
    "orphan": "a caption without a picture",
    "shared": "two pictures with one caption",
    "two_captions": "a .txt and a .caption for one picture",
    "file": "a project's caption file that differs from the record",
    "unfinished": "a change that was cut short",
    "camera": "lenses, cameras, quality words: no content of the picture",
    "constant": "words that name what never changes: they must fuse with the trigger",
    "contradiction": "the caption says other than what was measured or recorded",
    "frequency": "a phrase in too many captions: it fuses with the trigger",
    "length": "too few or too many words",
    "tokens": "more tokens than the text encoder takes",
    "duplicate": "the same caption twice",
    "likeness": "almost the same caption twice",
    "trigger_placeholder": "[trigger]: only ai-toolkit puts the word in its place",
    "trigger_misspelt": "a word that is almost the trigger",
    "trigger_missing": "no trigger",
    "trigger_repeated": "the trigger more than once",
    "trigger_not_first": "the trigger is not the first word",
}
"""Rule -> what it finds."""

RANK = {rule: i for i, rule in enumerate(RULES)}


@dataclass(frozen=True)
class Mend:
    """How one caption is mended: a function of its text; `remove`: the file goes (undo has it).

    `clean`: the encoding is mended as well.
    """

    key: str
    how: Callable[[str], str] = str
    clean: bool = False
    remove: bool = False


@dataclass(frozen=True)
class Finding:
    """One finding. `subject`: what it is about (a phrase, a word), part of its id.

    `by_hand`: the command to run where nothing can be mended by rule. `evidence`: what it rests on.
    """

    rule: str
    severity: Severity
    file: str
    text: str
    fix: str
    subject: str = ""
    mends: tuple[Mend, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    waived: str | None = None

    @property
    def id(self) -> str:
        """A short name that stays as long as rule, file and subject do."""
        spoken = "\x1f".join((self.rule, self.file, self.subject))
        return hashlib.blake2b(spoken.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """For `--json`: {rule, severity, file, text, fix, id, subject, mendable, waived, ...}."""
        found: dict[str, Any] = {
            "rule": self.rule,
            "severity": self.severity,
            "file": printable(self.file),
            "text": printable(self.text),
            "fix": printable(self.fix),
            "id": self.id,
            "subject": printable(self.subject),
            "mendable": len(self.mends),
            "waived": self.waived,
        }
        return {**found, **({"evidence": dict(self.evidence)} if self.evidence else {})}


def printable(text: str) -> str:
    """`text` as it can be printed: file names of other encodings have no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
