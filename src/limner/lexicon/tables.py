"""Tables of words that ship: YAML for people, the same parsed beforehand for the machine.

In: package and name. Out: what `data/NAME.yaml` says. Parsing 70 kB of YAML takes 0.4 s and every
command would pay it; `data/parsed.json` (made by scripts/build_words.py) is read in 2 ms. It
counts only where it was made from this very text, so that an edit of a YAML file is never missed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

PARSED = "parsed.json"
"""File name -> {sha256 of the YAML, value}."""


@cache
def table(package: str, name: str) -> dict[str, Any]:
    """What a table says: mappings, lists, texts and numbers. Not to be changed by the caller."""
    data = (_folder(package) / f"{name}.yaml").read_bytes()
    known = _parsed(package).get(name)
    if known is not None and known["sha256"] == hashlib.sha256(data).hexdigest():
        value: dict[str, Any] = known["value"]
        return value
    return parse(data)


def parse(data: bytes) -> dict[str, Any]:
    """YAML as plain values."""
    from ruamel.yaml import YAML

    value: dict[str, Any] = YAML(typ="safe").load(data.decode("utf-8"))
    return value


def compiled(package: str) -> str:
    """The text of a package's parsed.json, made anew from its YAML files."""
    found = {}
    for file in sorted(_folder(package).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            data = file.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            found[file.name.removesuffix(".yaml")] = {"sha256": digest, "value": parse(data)}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"


def _folder(package: str) -> Traversable:
    return resources.files(package) / "data"


@cache
def _parsed(package: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((_folder(package) / PARSED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found
