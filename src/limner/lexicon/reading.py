"""Vocabulary files: YAML in, values out, every wrong entry named with its file, line and field.

In: the text of a file `outfits.yaml`, `settings.yaml`, ... Out: id -> value. The same reader serves
Limner's own words and a project's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.lexicon import values as V

FILES = {
    "outfit": "outfits",
    "setting": "settings",
    "lighting": "lightings",
    "pose": "poses",
    "camera": "cameras",
    "expression": "moods",
    "angle": "angles",
    "framing": "framings",
    "genre": "genres",
}
"""Axis -> name of its file, without .yaml."""

OWN_AXES = ("outfit", "setting", "lighting", "pose", "camera")
"""Axes a project may add words to; angles, framings and moods are what quotas count in."""

FORMALITIES = ("casual", "smart", "formal", "sport", "swim", "lounge", "work")
WEARS = ("neutral", "feminine", "masculine")
SEASONS = ("any", "warm", "cold")
MIXES = ("indoor", "outdoor", "neutral")
FEATURES = ("seat", "table", "wall", "rail", "stairs", "ground", "open")
"""What a place can have for a pose: something to sit on or lean at, ground, open space."""
GENRES = ("lifestyle", "studio", "street", "editorial", "candid_phone")
FRAMINGS = ("close_up", "half_body", "cowboy", "full_body")

_ID = re.compile(r"[a-z][a-z0-9_]*")
_UNSAFE = re.compile(
    r"\b(?:child(?:ren|ish)?|kids?|minors?|teens?|teenage[rd]?|toddler"
    r"|baby(?! (?:blue|pink))|babies"
    r"|school ?(?:girl|boy)|school uniform|nude|naked|topless|lingerie"
    r"|underwear|erotic|sexy|fetish|see-through)\b",
    re.IGNORECASE,
)
"""Words are for adults and safe for work; other scopes are no part of the vocabulary."""


@dataclass(frozen=True)
class Rule:
    """What a field may hold.

    kind: text | texts | pieces | choice | choices | number | flag | garment | any.
    """

    kind: str
    needed: bool = False
    among: tuple[str, ...] = ()


_TEXT, _TEXTS = Rule("text", True), Rule("texts", True)
RULES: dict[str, dict[str, Rule]] = {
    "outfit": {
        "phrase": _TEXT,
        "detail": Rule("text"),
        "pieces": Rule("pieces"),
        "formality": Rule("choice", True, FORMALITIES),
        "wear": Rule("choice", True, WEARS),
        "season": Rule("choice", True, SEASONS),
        "outdoor": Rule("flag"),
        **{part: Rule("garment") for part in ("top", "over", "bottom", "dress")},
    },
    "setting": {
        "phrase": _TEXT,
        "detail": Rule("text"),
        "props": Rule("text"),
        "names": Rule("texts"),
        "objects": Rule("texts"),
        "mix": Rule("choice", True, MIXES),
        "formality": Rule("choices", True, FORMALITIES),
        "season": Rule("choice", True, SEASONS),
        "lightings": Rule("texts", True),
        "at": Rule("choice", False, ("in", "on", "at")),
        "has": Rule("choices", False, FEATURES),
        "genres": Rule("choices", False, GENRES),
    },
    "lighting": {
        "phrase": _TEXT,
        "detail": Rule("texts"),
        "source": Rule("texts"),
        "manner": Rule("texts"),
        "kind": Rule("choice", True, ("natural", "artificial")),
        "places": Rule("texts"),
        "genres": Rule("choices", False, GENRES),
    },
    "pose": {
        "phrase": _TEXTS,
        "framings": Rule("choices", True, FRAMINGS),
        "needs": Rule("choices", False, FEATURES),
        "pitch": Rule("number"),
        "roll": Rule("number"),
    },
    "camera": {
        "detail": Rule("text"),
        "framings": Rule("choices", True, FRAMINGS),
        **{part: Rule("texts") for part in ("body", "lens", "look")},
        "genres": Rule("choices", False, GENRES),
    },
    "expression": {
        **dict.fromkeys(("caption", "expression", "mood"), _TEXTS),
        "gaze": Rule("choices", True, ("camera", "away", "down")),
        "drawn": Rule("number"),
    },
    "angle": {
        **{part: Rule("any", True) for part in ("domain", "title", "yaw", "body_yaw", "face")},
        "phrase": _TEXTS,
    },
    "framing": {"phrase": _TEXT, "prompt": _TEXTS, "face_share": Rule("any", True)},
    "genre": {"phrase": _TEXTS},
}
"""Axis -> field -> what it may hold; any other field is an error."""

_EITHER = {
    "outfit": (("detail",), ("pieces",)),
    "setting": (("detail", "props"), ("names", "objects")),
    "lighting": (("detail",), ("source", "manner")),
    "camera": (("detail",), ("body", "lens", "look")),
}
"""Axis -> two ways to word a value; one of them must be there."""


def read(text: str, axis: str, file: str) -> dict[str, Any]:
    """One file's values by id. Raises InputError with file, line and field."""
    data = _load(text, file)
    found: dict[str, Any] = {}
    for key in data:
        entry = data[key]
        where = Place(file, data, str(key))
        if not _ID.fullmatch(str(key)):
            where.fail(
                f"{key!r} is no id", "Use small letters, digits and _, starting with a letter."
            )
        if not isinstance(entry, dict):
            where.fail(f"{key} holds no fields", "Write it as `id: {phrase: ..., ...}`.")
        check_entry(entry, axis, where)
        found[str(key)] = make(axis, str(key), entry)
    return found


def _load(text: str, file: str) -> Any:
    from limner.project.yamlfile import yaml_of

    data = yaml_of(text, Path(file))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(f"{file} holds no entries", where=file, fix="Write `id: {phrase: ...}`.")
    return data


@dataclass(frozen=True)
class Place:
    """Where an entry stands, for errors: file, line of the entry or of one of its fields."""

    file: str
    data: Any
    key: str

    def fail(self, what: str, fix: str, field: str | None = None) -> None:
        """Raise InputError at `file:line: id.field`."""
        line: int | None = None
        try:
            line = self.data.lc.key(self.key)[0] + 1
            if field is not None and field in self.data[self.key]:
                line = self.data[self.key].lc.key(field)[0] + 1
        except (AttributeError, KeyError, TypeError):
            pass
        name = self.key if field is None else f"{self.key}.{field}"
        place = f"{self.file}:{line}" if line else self.file
        raise InputError(what, where=f"{place}: {name}", fix=fix)


def check_entry(entry: Mapping[str, Any], axis: str, where: Place) -> None:
    """Fields known and of the right kind, the needed ones there. Raises InputError."""
    rules = RULES[axis]
    for field in entry:
        if field not in rules:
            where.fail(f"no field {field!r} in {axis}", f"Use: {', '.join(rules)}.", field)
    for field, rule in rules.items():
        if field not in entry:
            if rule.needed:
                where.fail(f"{where.key} has no {field}", f"Add `{field}:`.{_choices(rule)}")
            continue
        _check_field(entry[field], rule, field, where)
    if axis in _EITHER and not any(all(f in entry for f in way) for way in _EITHER[axis]):
        ways = " or ".join(" with ".join(way) for way in _EITHER[axis])
        where.fail(f"{where.key} has no words for a prompt", f"Add {ways}.")
    if axis == "expression" and len(entry["caption"]) != len(entry["expression"]):
        where.fail("as many captions as expressions are needed", "Pair them one by one.", "caption")


def _choices(rule: Rule) -> str:
    return f" One of: {', '.join(rule.among)}." if rule.among else ""


def _check_field(value: Any, rule: Rule, field: str, where: Place) -> None:
    many = {"texts", "choices", "pieces"}
    if rule.kind == "any":
        return
    if rule.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            where.fail(f"{field} must be a number", "Write degrees, for example 12.", field)
        return
    if rule.kind == "flag":
        if not isinstance(value, bool):
            where.fail(f"{field} is yes or no", "Write true or false.", field)
        return
    if rule.kind == "garment":
        told = isinstance(value, dict) and set(value) == {"kind", "color"}
        if not told or not all(isinstance(v, str) for v in value.values()):
            fix = (
                "Write `{kind: tshirt, color: white}`, or leave it out: only the atelier reads it."
            )
            where.fail(f"{field} must name a kind and a color", fix, field)
        return
    if rule.kind in many and (not isinstance(value, list) or not value):
        where.fail(f"{field} must be a list", f"Write `{field}: [one, two]`.", field)
    items: Sequence[Any] = value if rule.kind in many else [value]
    if rule.kind == "pieces":
        if not all(isinstance(p, list) and p for p in items):
            where.fail("pieces must be a list of lists", "Write `[[blue shirt], [jeans]]`.", field)
        items = [w for piece in items for w in piece]
    for item in items:
        if not isinstance(item, str) or not item.strip():
            where.fail(f"{field} must be text", f"Write words.{_choices(rule)}", field)
        if rule.among and item not in rule.among:
            where.fail(f"{field}: there is no {item!r}", f"Use: {', '.join(rule.among)}.", field)
        if match := _UNSAFE.search(item):
            where.fail(
                f"{field}: {match.group(0)!r} is outside the vocabulary",
                "Words are for adults and safe for work.",
                field,
            )


def make(axis: str, key: str, entry: Mapping[str, Any]) -> Any:
    """A checked entry as its value; words for a prompt are derived where only pieces are given."""
    plain = {str(k): _plain(v) for k, v in entry.items()}
    if axis == "outfit":
        for part in ("top", "over", "bottom", "dress"):
            if part in plain:
                plain[part] = V.Garment(**plain[part])
        if "detail" not in plain:
            first = [piece[0] for piece in plain["pieces"]]
            over = len(first) == 3
            plain["detail"] = (
                f"{first[0]} over {first[1]} with {first[2]}" if over else " and ".join(first)
            )
        return V.Outfit(id=key, **plain)
    if axis == "setting":
        plain.setdefault("detail", plain.get("names", ("",))[0])
        plain.setdefault("props", " and ".join(plain.get("objects", ())[:2]))
        return V.Setting(id=key, **plain)
    if axis == "lighting":
        if "detail" not in plain:
            pairs = zip(plain["source"], plain["manner"], strict=False)
            plain["detail"] = tuple(f"{a} {b}" for a, b in pairs)
        return V.Lighting(id=key, **plain)
    if axis == "camera":
        if "detail" not in plain:
            plain["detail"] = ", ".join(plain[part][0] for part in ("body", "lens", "look"))
        return V.Camera(id=key, **plain)
    others: dict[str, Any] = {
        "pose": V.Pose,
        "expression": V.Mood,
        "angle": V.Angle,
        "framing": V.Framing,
        "genre": V.Genre,
    }
    return others[axis](id=key, **plain)


def _plain(value: Any) -> Any:
    """Values without ruamel's types: lists as tuples, mappings as dicts."""
    if isinstance(value, list):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value) if isinstance(value, str) else value


def check_links(tables: Mapping[str, Mapping[str, Any]], own: Mapping[str, Sequence[str]]) -> None:
    """Every light a place names and every place a light names exists.

    own: axis -> ids to look at. Raises InputError naming the entry.
    """
    for key in own.get("setting", ()):
        for light in tables["setting"][key].lightings:
            if light not in tables["lighting"]:
                raise InputError(
                    f"there is no lighting {light!r}",
                    where=f"settings.yaml: {key}.lightings",
                    fix="Name a light of Limner, or add it to lightings.yaml.",
                )
    for key in own.get("lighting", ()):
        for place in tables["lighting"][key].places:
            if place not in tables["setting"] and place not in MIXES:
                raise InputError(
                    f"there is no setting {place!r}",
                    where=f"lightings.yaml: {key}.places",
                    fix=f"Name a setting, or one of: {', '.join(MIXES)}.",
                )
