"""Captions by a model that looks at the pictures, or its words as a check of them.

In: a project with kept takes and a `Captioner`. Out: captions by author "model", edited by the same
rules as prompts are; or disagreements between picture and plan. Each answer is journaled the moment
it came: run again after a kill, at most the one under way is asked twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from limner import lexicon
from limner.captions.captioners import Captioner, Said
from limner.captions.comparing import Comparison, compare
from limner.captions.freetext import compile_text
from limner.captions.grammar import compile_caption
from limner.captions.reading import Reading, read
from limner.captions.stage import (
    asked,
    changing_traits,
    has_attributes,
    kept_takes,
    read_back_now,
    shown,
    write_beside,
)
from limner.errors import LimnerError
from limner.events import Event, Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes, sha256_file
from limner.project.records import Measure, Take
from limner.project.rules import Rule
from limner.project.texts import text_file

RULES: dict[str, Rule] = {
    "repeat_words": Rule(5, "starting value", "ours", "words of a run that is looked for"),
    "repeat_times": Rule(
        3, "community", "JoyCaption repeats itself in 1.5-3 % of its answers", "times it may stand"
    ),
    "failures_in_a_row": Rule(3, "starting value", "ours", "failed pictures before it stops"),
}
"""Every number a run of a captioner works by."""

AGREEMENT = "caption_agreement"
"""Measure: share of the compared slots in which a model's description agrees with the plan."""


@dataclass(frozen=True)
class Heard:
    """A model's words on a take; `why` is set when they cannot be used."""

    text: str
    new: bool
    why: str | None = None


@lexicon.confined
def describe(
    project: Project, captioner: Captioner, *, profile: str | None = None, attempts: int = 3
) -> Events:
    """Caption every kept take by a model; captions by a person stay as they are.

    The words go through the rules of `compile_text`: trigger first, constants, light and camera
    out. Raises NotReadyError (nothing kept), EndpointError (three failures in a row). Result:
    {total, described, unchanged, by_hand, asked, reused, failed, captioner}.
    """
    with project.exclusive("captions"):
        lexicon.learn(project.root / lexicon.OWN_FOLDER)
        takes = kept_takes(project)
        read_back_now(project)
        have = project.store.captions()
        wanted = [t for t in takes if t.id not in have or have[t.id].author != "person"]
        counts = {"described": 0, "unchanged": 0}
        failed: list[dict[str, Any]] = []
        reused = 0
        for take, heard in _listen(project, captioner, wanted, attempts):
            if take is None:
                yield heard  # an event of the work
                continue
            reused += not heard.new
            why = heard.why or _write(project, take, heard.text, profile, counts)
            if why:
                failed.append({"take": take.id, "shot": take.shot_id, "text": why})
                yield Notice(f"{take.shot_id}: {why}", "warning")
        project.store.log("captions", "described all", failed=len(failed), **counts)
        yield Result(
            {
                "total": len(takes),
                **counts,
                "by_hand": len(takes) - len(wanted),
                "asked": len(wanted) - reused,
                "reused": reused,
                "failed": failed,
                "captioner": captioner.identity,
            }
        )


@lexicon.confined
def look(project: Project, captioner: Captioner, *, attempts: int = 3) -> Events:
    """Let a model look at every kept take and report where picture and plan disagree.

    No caption and no decision is changed; each take gets the measure `caption_agreement`. Raises as
    `describe`. Result: {total, compared, asked, reused, failed, findings, captioner}.
    """
    with project.exclusive("captions"):
        lexicon.learn(project.root / lexicon.OWN_FOLDER)
        takes = kept_takes(project)
        findings: list[dict[str, str]] = []
        failed: list[dict[str, Any]] = []
        compared = reused = 0
        for take, heard in _listen(project, captioner, takes, attempts):
            if take is None:
                yield heard
                continue
            reused += not heard.new
            if heard.why:
                failed.append({"take": take.id, "shot": take.shot_id, "text": heard.why})
                yield Notice(f"{take.shot_id}: {heard.why}", "warning")
                continue
            plan, seen = _plan(project, take), _seen(project, heard.text)
            answer = compare(plan, seen, heard.text)
            compared += answer.agreement is not None
            project.store.put_measures(take.id, [_measure(answer, captioner)])
            findings += _findings(project, take, answer, heard.text)
        yield Result(
            {
                "total": len(takes),
                "compared": compared,
                "asked": len(takes) - reused,
                "reused": reused,
                "failed": failed,
                "findings": findings,
                "captioner": captioner.identity,
            }
        )


def _write(
    project: Project, take: Take, words: str, profile: str | None, counts: dict[str, int]
) -> str | None:
    """Edit the words and record them as the take's caption; why not, if nothing is left."""
    character = project.character
    made = compile_text(
        words,
        character.trigger,
        character.class_word if character.captions.class_word else None,
        profile or character.captions.profile,
        outfit_tag=shown(project, take).get("outfit_tag"),
        allow=changing_traits(project),
    )
    if ", " not in made.text:
        return f"nothing of the model's words could be kept: {words[:120]!r}"
    old = project.store.captions().get(take.id)
    if old is None or old.text != made.text:
        project.store.put_caption(take.id, made.text, "model", made.dropped)
        counts["described"] += 1
    else:
        counts["unchanged"] += 1
    write_beside(project, take, made.text)
    return None


# ---- asking, each picture once


def _listen(
    project: Project, captioner: Captioner, takes: Sequence[Take], attempts: int
) -> Iterator[tuple[Take | None, Any]]:
    """(take, Heard) for every take, with (None, event) between; answers are journaled at once."""
    identity = captioner.identity
    answered, under_way, spent = _journal(project)
    keys = {t.id: _key(project, t, identity) for t in takes}
    told = {*answered, *spent}
    lost = [t for t in takes if keys[t.id] in under_way and keys[t.id] not in told]
    if lost:
        yield (
            None,
            Notice(f"Under way when the last run stopped, and sent again: {len(lost)}."),
        )
    done = sum(keys[t.id] in answered for t in takes)
    ticker = Ticker("describe", len(takes), already=done)
    in_a_row = 0
    for take in takes:
        key = keys[take.id]
        if key in answered:
            yield take, Heard(answered[key], new=False, why=None)
            continue
        try:
            text = _ask(project, captioner, take, key, attempts, spent.get(key, 0))
        except LimnerError as error:
            in_a_row += 1
            if in_a_row >= RULES["failures_in_a_row"].value:
                raise
            yield take, Heard("", new=True, why=str(error))
            continue
        in_a_row = 0
        yield take, Heard(text, new=True, why=_unusable(text))
        yield None, _tick(ticker, take)


def _tick(ticker: Ticker, take: Take) -> Event:
    return ticker.tick(note=take.shot_id)


def _ask(
    project: Project, captioner: Captioner, take: Take, key: str, attempts: int, before: int
) -> str:
    """Journal, ask, journal. A repeating answer is asked for again with another seed.

    before: attempts that earlier runs made in vain; their seeds are not tried again.
    """
    picture = project.path(str(take.path))
    project.store.log("captions", "asked", take=take.id, key=key)
    said = Said("", "")
    tries = 0
    for attempt in range(before, before + max(attempts, 1)):
        tries = attempt + 1 - before
        said = captioner.caption(picture, attempt)
        if _unusable(said.text) is None:
            break
    project.store.log(
        "captions",
        "answered",
        take=take.id,
        key=key,
        text=said.text,
        model=said.model,
        cut=said.cut,
        tries=tries,
        refused=list(said.refused),
    )
    return said.text


def _journal(project: Project) -> tuple[dict[str, str], set[str], dict[str, int]]:
    """Key -> words of usable answers, the keys that were asked at all, and key -> attempts that
    gave nothing usable: those are asked again."""
    answered: dict[str, str] = {}
    asked: set[str] = set()
    spent: dict[str, int] = {}
    for line in project.store.diary("captions", limit=10**9):
        if line.kind == "asked":
            asked.add(str(line.data["key"]))
        elif line.kind == "answered":
            key, text = str(line.data["key"]), str(line.data["text"])
            if _unusable(text) is None:
                answered[key] = text
            else:
                spent[key] = spent.get(key, 0) + int(line.data.get("tries", 1))
    return answered, asked, spent


def _key(project: Project, take: Take, identity: dict[str, Any]) -> str:
    """Changes with the picture and with whatever the answer depends on."""
    picture = take.sha256 or sha256_file(project.path(str(take.path)))
    return sha256_bytes(canonical_json([picture, identity]).encode())


def _unusable(text: str) -> str | None:
    """Why an answer cannot be used: empty, or the repetition glitch."""
    if not text.strip():
        return "the model said nothing"
    run = repeated_run(text)
    return f'the model repeats itself ("{run}")' if run else None


def repeated_run(text: str) -> str | None:
    """A run of words that stands too often in a text, None when it is sound."""
    size, times = int(RULES["repeat_words"].value), int(RULES["repeat_times"].value)
    words = re.findall(r"[^\W_]+", text.lower())
    runs = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
    worst = max(runs.items(), key=lambda r: r[1], default=None)
    return " ".join(worst[0]) if worst and worst[1] >= times else None


# ---- picture against plan


def _plan(project: Project, take: Take) -> Reading:
    """What the take should show, read off its caption by attributes or its prompt."""
    trigger = project.character.trigger
    attributes = shown(project, take)
    if has_attributes(attributes):
        text = compile_caption(attributes, trigger).text
    else:
        text = asked(project, take).prompt
    return read(text, trigger, project.character.class_word)


def _seen(project: Project, words: str) -> Reading:
    return read(words, project.character.trigger, project.character.class_word)


def _measure(answer: Comparison, captioner: Captioner) -> Measure:
    reason = None if answer.compared else "the description names nothing that was planned"
    tool = f"{captioner.identity.get('model', '')}"
    return Measure(AGREEMENT, answer.agreement, "share", reason, tool)


def _findings(project: Project, take: Take, answer: Comparison, words: str) -> list[dict[str, str]]:
    where = project.relative(text_file(project, take))
    return [
        {
            "rule": f"picture_{found.slot}",
            "severity": "warning",
            "file": where,
            "take": str(take.id),
            "shot": take.shot_id,
            "text": found.text,
            "said": words,
            "fix": f"Look at it; `limner reject {take.id}` if the picture is wrong, else correct "
            "the caption.",
        }
        for found in answer.disagreements
    ]
