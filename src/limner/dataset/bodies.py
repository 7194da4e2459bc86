"""The second folder: real bodies with their own captions, licences and consents.

In: `takes/realism/pictures.json` as the inbox writes it, and captions by hand beside the pictures.
Out: `Body` entries for the folder `20_grace_char_realbody`, as the guide names it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.project import Project
from limner.project.files import sha256_bytes

PLACE = Path("takes") / "realism"
RECORD = "pictures.json"
TAG = "realistic_body"
"""The word that is second in every caption of a body and in none of the character's."""
SUFFIX = "realbody"
_FACTS = ("licence", "consent", "from", "original_sha256")


@dataclass(frozen=True)
class Body:
    """One picture of a body: its file in `takes/realism`, caption and papers."""

    source: Path
    sha256: str
    width: int
    height: int
    stem: str
    caption: str
    author: str
    facts: dict[str, str]

    @property
    def picture(self) -> str:
        """File name of the picture in the dataset."""
        return f"{self.stem}{self.source.suffix}"

    @property
    def text(self) -> str:
        """File name of the caption in the dataset."""
        return f"{self.stem}.txt"


def folder_name(project: Project) -> str:
    """`20_grace_char_realbody`: repeats, trigger, kind."""
    character = project.character
    return f"{character.dataset.realism_repeats}_{character.trigger}_{SUFFIX}"


def body_caption(trigger: str, words: str) -> str:
    """`grace_char, realistic_body, <words>` on one line; a hand's own opening is not doubled."""
    said = [part.strip() for part in " ".join(words.split()).split(",") if part.strip()]
    rest = [part for part in said if part not in (trigger, TAG)]
    return ", ".join([trigger, TAG, *rest])


def bodies(project: Project) -> list[Body]:
    """The bodies to train on, in file order; [] without any, or with realism_repeats 0.

    A caption by hand is `takes/realism/real_001.txt`; else it says the two words that are known.
    Raises InputError: a damaged record, a picture that is gone or another, papers that are missing.
    """
    record = project.root / PLACE / RECORD
    if not record.exists() or project.character.dataset.realism_repeats == 0:
        return []
    trigger = project.character.trigger
    found = []
    for number, row in enumerate(_rows(record), start=1):
        source = record.parent / Path(str(row["file"])).name
        by_hand = source.with_suffix(".txt")
        words = by_hand.read_text("utf-8-sig", errors="replace") if by_hand.is_file() else ""
        found.append(
            Body(
                source,
                str(row["sha256"]),
                int(row["width"]),
                int(row["height"]),
                f"body_{number:03d}",
                body_caption(trigger, words),
                "person" if words.strip() else "rule",
                {key: str(row.get(key, "")) for key in _FACTS},
            )
        )
    return found


def _rows(record: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(record.read_text("utf-8"))
        needed = ("file", "sha256", "width", "height")
        for row in rows:
            _ = [row[key] for key in needed], int(row["width"]), int(row["height"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "The record of the real pictures cannot be read",
            where=str(record),
            fix="Restore it from a backup; it holds the licences.",
        ) from None
    for row in rows:
        for paper in ("licence", "consent"):
            if not str(row.get(paper, "")).strip():
                raise InputError(
                    f"The real picture {row['file']} has no {paper}",
                    where=str(record),
                    fix="Take it out of the folder and the record, or give it in again with "
                    "`limner inbox --kind realism --licence ... --consent ...`.",
                )
    return [dict(row) for row in rows]


def read_body(body: Body) -> bytes:
    """The picture's bytes. Raises InputError when it is not the one that was taken in."""
    try:
        data = body.source.read_bytes()
    except OSError as error:
        raise InputError(
            f"The real picture {body.source.name} cannot be read: {error.strerror}",
            where=str(body.source),
            fix="Put the file back, or take it out of the record.",
        ) from None
    if sha256_bytes(data) != body.sha256:
        raise InputError(
            f"The real picture {body.source.name} is not the one that was taken in",
            where=str(body.source),
            fix="Put the file back; its licence and consent are for that one.",
        )
    return data


def lock_rows(entries: Sequence[Body], folder: str) -> list[dict[str, Any]]:
    """What the lock says of them: files, sums, captions, licence and consent of each."""
    return [
        {
            "file": f"{folder}/{body.picture}",
            "sha256": body.sha256,
            "width": body.width,
            "height": body.height,
            "caption_file": f"{folder}/{body.text}",
            "caption_sha256": sha256_bytes(body.caption.encode()),
            "caption_author": body.author,
            "kind": "realism",
            **body.facts,
        }
        for body in entries
    ]
