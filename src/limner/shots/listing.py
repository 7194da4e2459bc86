"""Shots as plain values and as text: for --json, CSV and the clipboard.

In: shots. Out: dicts and strings; nothing is written here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from limner import lexicon
from limner.project.records import Shot


def plain(shot: Shot) -> dict[str, Any]:
    """One shot flat: id, a key an axis (and `mix`, `gaze`, ...), face_visible, prompt, seed."""
    return {
        "id": shot.id,
        **shot.attributes,
        "mix": lexicon.settings()[shot.attributes["setting"]].mix,
        "face_visible": shot.face_visible,
        "prompt": shot.prompt,
        "seed": shot.seed,
    }


def exported(shot: Shot) -> dict[str, Any]:
    """One shot as prompts.json has it: id, domain, prompt, attributes, seed, face_visible."""
    angle = lexicon.angles()[shot.attributes["angle"]]
    return {
        "id": shot.id,
        "domain": angle.domain,
        "prompt": shot.prompt,
        "attributes": shot.attributes,
        "seed": shot.seed,
        "face_visible": shot.face_visible,
    }


def table(shots: Sequence[Shot]) -> str:
    """The shots as CSV: id, domain, one column an axis, gaze, seed, prompt."""
    out = io.StringIO()
    axes = (*lexicon.AXES, "gaze")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "domain", *axes, "seed", "prompt"])
    for shot in shots:
        domain = lexicon.angles()[shot.attributes["angle"]].domain
        values = [shot.attributes[a] for a in axes]
        writer.writerow([shot.id, domain, *values, shot.seed, shot.prompt])
    return out.getvalue()


def by_domain(shots: Sequence[Shot]) -> str:
    """Prompts under the guide's headings, numbered inside each domain."""
    domains: dict[int, list[Shot]] = {}
    titles: dict[int, str] = {}
    for shot in shots:
        angle = lexicon.angles()[shot.attributes["angle"]]
        domains.setdefault(angle.domain, []).append(shot)
        titles[angle.domain] = angle.title
    parts = []
    for number in sorted(domains):
        lines = [f"DOMAIN {number}: {titles[number]} ({len(domains[number])} prompts)", ""]
        for i, shot in enumerate(domains[number], 1):
            lines += [f"Prompt {i} ({shot.id}):", shot.prompt, ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)
