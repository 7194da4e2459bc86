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
        "mix": _mix(shot),
        "face_visible": shot.face_visible,
        "prompt": shot.prompt,
        "seed": shot.seed,
    }


def _mix(shot: Shot) -> str | None:
    """The kind of place; None where an imported prompt names a place of its own."""
    setting = shot.attributes.get("setting")
    return lexicon.settings()[setting].mix if setting else None


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
        values = [shot.attributes.get(a, "") for a in axes]
        writer.writerow([shot.id, domain, *values, shot.seed, shot.prompt])
    return out.getvalue()


def _by_domain(shots: Sequence[Shot]) -> dict[int, list[Shot]]:
    domains: dict[int, list[Shot]] = {}
    for shot in shots:
        domain = lexicon.angles()[shot.attributes["angle"]].domain
        domains.setdefault(domain, []).append(shot)
    return dict(sorted(domains.items()))


def by_domain(shots: Sequence[Shot]) -> str:
    """Prompts under the guide's headings, numbered inside each domain."""
    titles = {angle.domain: angle.title for angle in lexicon.angles().values()}
    parts = []
    for number, among in _by_domain(shots).items():
        lines = [f"DOMAIN {number}: {titles[number]} ({len(among)} prompts)", ""]
        for i, shot in enumerate(among, 1):
            lines += [f"Prompt {i} ({shot.id}):", shot.prompt, ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def mapping(shots: Sequence[Shot]) -> str:
    """The guide's prompt_mapping.txt: one line a picture, `img_001.jpg = DOMAIN 1, Prompt 1: ...`.

    Pictures are numbered through the domains in order, as the guide names its files.
    """
    lines: list[str] = []
    for number, among in _by_domain(shots).items():
        for i, shot in enumerate(among, 1):
            picture = f"img_{len(lines) + 1:03d}.jpg"
            lines.append(f"{picture} = DOMAIN {number}, Prompt {i}: {shot.prompt}")
    return "\n".join(lines) + "\n"
