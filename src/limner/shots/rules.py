"""What goes with what, and how much of it: the rules and the numbers of a shot plan.

In: the lexicon and what a source can do. Out: `Rules` (allowed values of each axis, given another)
and `THRESHOLDS`. No text, no randomness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limner import lexicon
from limner.errors import InputError

PRESETS: dict[str, dict[str, dict[str, float]]] = {
    # The guide's 30/30/20/20 angles and 30/25/20/15/10 moods; framing derived from its numbers.
    "seed": {
        "angle": {"front": 30, "three_quarter": 30, "side": 20, "back": 20},
        "framing": {"close_up": 30, "half_body": 25, "cowboy": 15, "full_body": 30},
        "expression": {
            **{"happy": 30, "peaceful": 25, "confident": 20, "contemplative": 15, "playful": 10}
        },
        "mix": {"indoor": 40, "outdoor": 40, "neutral": 20},
    },
    "portrait": {
        "angle": {"front": 30, "three_quarter": 30, "side": 20, "back": 20},
        "framing": {"close_up": 45, "half_body": 35, "cowboy": 10, "full_body": 10},
        "expression": {
            **{"happy": 30, "peaceful": 25, "confident": 20, "contemplative": 15, "playful": 10}
        },
        "mix": {"indoor": 40, "outdoor": 40, "neutral": 20},
    },
}
"""Shares in percent by preset, axis and value. `mix`: indoor, outdoor or neutral place."""

THRESHOLDS: dict[str, tuple[float, str, str]] = {
    # name: (value, where it comes from, tag)
    "distinct_settings": (15, "the guide's dataset: 15+ settings", "community"),
    "distinct_outfits": (15, "the guide's dataset: 15+ outfits", "community"),
    "distinct_lightings": (8, "the guide's dataset: 8-10 lighting conditions", "community"),
    "distinct_share": (0.375, "15 of 40, scaled to smaller plans", "starting value"),
    "repeat_share": (0.15, "no place, outfit or light in more of the prompts", "starting value"),
    "domains_of_mood": (3, "each mood in at least so many angle domains", "starting value"),
    "domains_of_light": (2, "each light in at least so many angle domains", "starting value"),
    "words_min": (35, "shortest prompt for Soul ID", "starting value"),
    "words_max": (75, "longest prompt for Soul ID", "starting value"),
    "shared_run": (6, "words in a row that two prompts may not share", "starting value"),
    "shared_run_up_to": (60, "plans up to this size must have no shared run", "starting value"),
    "shared_run_prompts": (3, "prompts of a larger plan with one run of words", "starting value"),
    "likeness_of_shots": (0.6, "Jaccard of two shots' attributes", "starting value"),
    "likeness_of_texts": (0.75, "Jaccard of two prompts' words", "starting value"),
    "told_share": (0.8, "of the prompts must tell an axis before it is judged", "starting value"),
    "clause_share": (0.35, "prompts with one clause: caption-audit's INFO line", "community"),
    "association": (0.05, "bias-corrected Cramer's V of two free axes", "starting value"),
    "association_from": (20, "smallest plan in which V is judged", "starting value"),
    "phone_share": (0.2, "of the cameras are phones: style, hard on a face", "starting value"),
    "signature_fewest": (20, "shots of a signature outfit, fewest: the guide", "community"),
    "signature_most": (30, "shots of a signature outfit, most: the guide", "community"),
    "pool_setting": (0.5, "distinct settings per shot: each about twice", "starting value"),
    "pool_outfit": (0.5, "distinct outfits per shot: each about twice", "starting value"),
    "pool_pose": (0.5, "distinct poses per shot: each about twice", "starting value"),
    "pool_lighting": (0.25, "distinct lights per shot: 10 of 40", "starting value"),
    "pool_camera": (0.2, "distinct cameras per shot: 8 of 40", "starting value"),
}
"""Every number that `check` and the report judge by; `shots.thresholds` in character.yaml wins."""


def threshold(name: str, own: Mapping[str, float] | None = None) -> float:
    """A threshold, or the user's own value. Raises InputError for an unknown name in `own`."""
    for key in own or {}:
        if key not in THRESHOLDS:
            raise InputError(
                f"no threshold {key!r}",
                where="shots.thresholds",
                fix=f"Use one of: {', '.join(THRESHOLDS)}",
            )
    return float((own or {}).get(name, THRESHOLDS[name][0]))


def wear_of(class_word: str) -> str:
    """feminine, masculine or neutral clothes, by the words of the lexicon's trait `sex`."""
    words = set(class_word.lower().split())
    if words & set(lexicon.traits()["sex"]["female"]):
        return "feminine"
    return "masculine" if words & set(lexicon.traits()["sex"]["male"]) else "neutral"


@dataclass(frozen=True)
class Rules:
    """Allowed values: each mapping says what may stand beside a value of another axis.

    places: pose -> settings with what it needs (a pose left out fits anywhere). genres: the kinds
    of photography asked for; they bind place, light and camera together. variants: mood -> how
    many of its expressions can be made.
    """

    values: dict[str, tuple[str, ...]]
    lightings: dict[str, tuple[str, ...]]
    outfits: dict[str, tuple[str, ...]]
    poses: dict[str, tuple[str, ...]]
    cameras: dict[str, tuple[str, ...]]
    places: dict[str, frozenset[str]]
    genres: tuple[str, ...]
    variants: dict[str, int]

    def shared_genres(self, setting: str, lighting: str, camera: str) -> tuple[str, ...]:
        """Kinds of photography that suit place, light and camera at once; no tag suits all."""
        tags = (
            lexicon.settings()[setting].genres,
            lexicon.lightings()[lighting].genres,
            lexicon.cameras()[camera].genres,
        )
        return tuple(g for g in self.genres if all(not own or g in own for own in tags))

    def narrowed(self, values: Mapping[str, Sequence[str]]) -> Rules:
        """The same rules for fewer values."""
        kept = {axis: tuple(values.get(axis, own)) for axis, own in self.values.items()}

        def cut(table: Mapping[str, tuple[str, ...]], host: str, axis: str) -> Any:
            own = set(kept[axis])
            return {h: tuple(v for v in table[h] if v in own) for h in kept[host] if h in table}

        return replace(
            self,
            values=kept,
            lightings=cut(self.lightings, "setting", "lighting"),
            outfits=cut(self.outfits, "setting", "outfit"),
            poses=cut(self.poses, "framing", "pose"),
            cameras=cut(self.cameras, "framing", "camera"),
        )


def rules_for(
    wear: str,
    abilities: Mapping[str, Sequence[str]] | None = None,
    genres: Sequence[str] | None = None,
) -> Rules:
    """The rules for one kind of wardrobe, one source's abilities (axis -> ids; None = all), genres.

    Raises InputError for an unknown genre, or when an axis is left without any value.
    """
    asked = _asked_genres(genres)
    values: dict[str, tuple[str, ...]] = {}
    for axis in lexicon.AXES:
        known = lexicon.axis(axis)
        able = set((abilities or {}).get(axis, tuple(known)))
        values[axis] = tuple(v for v in known if v in able and _suits_genres(known[v], asked))
        if not values[axis]:
            raise InputError(f"the source can make no {axis} that Limner knows", where=axis)
    fits = ("neutral", wear)
    clothes = {k: o for k, o in lexicon.outfits().items() if k in values["outfit"]}
    clothes = {k: o for k, o in clothes.items() if o.wear in fits}
    places = {k: s for k, s in lexicon.settings().items() if k in values["setting"]}
    lit = set(values["lighting"])
    lightings = {k: tuple(v for v in lexicon.lights_at(s) if v in lit) for k, s in places.items()}
    outfits = {k: tuple(o.id for o in clothes.values() if suits(o, s)) for k, s in places.items()}
    values["setting"] = tuple(k for k in places if lightings[k] and outfits[k])
    values["outfit"] = tuple(clothes)
    if not values["setting"]:
        raise InputError("no place of this source goes with any of its lights and outfits")
    poses = lexicon.poses()
    can = {p: frozenset(s for s, q in places.items() if set(poses[p].needs) & set(q.has))
           for p in values["pose"] if poses[p].needs}  # fmt: skip
    values["pose"] = tuple(p for p in values["pose"] if p not in can or can[p])
    drawn_only = "expression" in (abilities or {})
    return Rules(
        values=values,
        lightings=lightings,
        outfits=outfits,
        poses=_by_framing(values, {k: p.framings for k, p in poses.items()}, "pose"),
        cameras=_by_framing(
            values, {k: c.framings for k, c in lexicon.cameras().items()}, "camera"
        ),
        places=can,
        genres=asked,
        variants={
            k: m.drawn if drawn_only else len(m.expression) for k, m in lexicon.moods().items()
        },
    )


def gazes_of(angle: str, mood: str) -> tuple[str, ...]:
    """Gazes of a mood, with repeats as weights; a profile does not look into the camera."""
    if not lexicon.angles()[angle].face:
        return ("away",)
    fitting = lexicon.moods()[mood].gaze
    if angle == "side":
        fitting = tuple(g for g in fitting if g != "camera") or ("away",)
    return fitting


def _asked_genres(genres: Sequence[str] | None) -> tuple[str, ...]:
    known = tuple(lexicon.genres())
    for genre in genres or ():
        if genre not in known:
            raise InputError(
                f"no genre {genre!r}", where="shots.genres", fix=f"Use some of: {', '.join(known)}"
            )
    return tuple(g for g in known if not genres or g in genres)


def _suits_genres(value: Any, asked: Sequence[str]) -> bool:
    own = getattr(value, "genres", ())
    return not own or bool(set(own) & set(asked))


def suits(outfit: lexicon.Outfit, setting: lexicon.Setting) -> bool:
    """Whether an outfit may be worn at a place: formality, no clothes of the other season, and no
    coats and hats indoors."""
    clash = {outfit.season, setting.season} == {"warm", "cold"}
    clash = clash or (outfit.outdoor and setting.mix == "indoor")
    return outfit.formality in setting.formality and not clash


def _by_framing(
    values: Mapping[str, tuple[str, ...]], needs: Mapping[str, tuple[str, ...]], axis: str
) -> dict[str, tuple[str, ...]]:
    return {
        framing: tuple(v for v in values[axis] if framing in needs[v])
        for framing in values["framing"]
    }
