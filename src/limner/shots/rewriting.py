"""Rewriting by a language model, checked afterwards: what it changes must not change the picture.

In: shots with prompts and a chat client. Out: `Rewritten` a shot: the new text, or our own with the
reasons why the new one was refused. The check is the same reading that imports use.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.errors import UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.lexicon.constants import find_constants
from limner.llm import Client, EndpointError, Message, system, user
from limner.project import Project
from limner.project.files import sha256_bytes, write_text
from limner.project.records import Shot
from limner.shots.dialects import Dialect, dialect_of
from limner.shots.listing import by_domain
from limner.shots.promptset import allowed_prompts
from limner.shots.reading import read_prompt
from limner.shots.report import runs
from limner.shots.rules import threshold
from limner.shots.stage import dialect_for, learn, planned

INSTRUCTION = """You rewrite prompts for a picture generator. Keep every fact: light, clothes with \
their colours, place, framing, angle, pose, gaze, expression, mood and camera, in words a reader \
would recognise at once; add nothing that can be seen. Say nothing of hair, eyes, skin, face, \
age, build or ethnicity. Keep the word {name} exactly once, as it is. Write {low} to {high} \
words in one flowing line, no list, no quotes, no negations. Answer with the prompt alone."""
"""What the model is told; shown by `--show`."""
TOKENS, TEMPERATURE = 400, 0.8
"""Most tokens of a reply (a prompt has about 100), and how freely it may word (starting values)."""
JOURNAL = "rewritten.jsonl"
GIVE_UP_AFTER = 3
"""Failures of the endpoint in a row after which the rest keeps its own text."""


@dataclass(frozen=True)
class Rewritten:
    """What became of one prompt. `text` is the one to use; `refused`: why it is still our own."""

    shot: str
    text: str
    changed: bool
    refused: tuple[str, ...] = ()
    proposed: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def request_for(prompt: str, name: str, speech: Dialect) -> list[Message]:
    """The exact messages sent for one prompt."""
    low, high = speech.words
    return [system(INSTRUCTION.format(name=name, low=low, high=high)), user(prompt)]


def faults_of(
    text: str, shot: Shot, name: str, class_word: str | None, speech: Dialect
) -> list[str]:
    """Why a rewritten prompt may not stand for its shot; empty = it may."""
    faults = []
    times = len(re.findall(rf"(?<!\w){re.escape(name)}(?!\w)", text))
    if times != 1:
        faults.append(f"{name} stands {times} times in it")
    low, high = speech.words
    words = len(text.split())
    if not low <= words <= high:
        faults.append(f"it has {words} words, not {low} to {high}")
    faults += [
        f'"{c.words}" names a constant ({c.trait})' for c in find_constants(text, class_word)
    ]
    if match := re.search(r"\b(?:no|not|without|never)\b", text, re.IGNORECASE):
        faults.append(f'"{match.group(0)}" is a negation')
    faults += _lost(text, shot, speech)
    return faults


def _lost(text: str, shot: Shot, speech: Dialect) -> list[str]:
    """Planned attributes that are gone or turned into others; an added one that contradicts."""
    read = read_prompt(text)
    before = read_prompt(shot.prompt)
    faults = []
    for axis in (*lexicon.AXES, "gaze"):
        planned = shot.attributes.get(axis)
        if planned is None or (axis == "camera" and "camera" in speech.drop):
            continue
        if axis in ("expression", "gaze") and not shot.face_visible:
            if axis in read.words and axis not in before.words:
                faults.append(f"{axis} was added, but no face is seen")
            continue
        got = read.attributes.get(axis)
        if got != planned:
            said = f"it says {got}" if got else "it is not said any more"
            faults.append(f"{axis} {planned}: {said}")
    for axis in ("framing", "angle", "setting"):
        if others := read.rivals.get(axis):
            faults.append(f"{axis}: it also says {', '.join(others)}")
    return faults


def rewrite(
    shots: Sequence[Shot],
    client: Client,
    *,
    name: str,
    class_word: str | None = None,
    dialect: str = "inbox",
    beside: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
    done: Callable[[Rewritten], None] | None = None,
) -> Events:
    """Ask for another wording of every prompt; each is checked, and a failed check keeps ours.

    name: the trigger (or the person's words in a dialect without one). beside: prompts of the set
    that are not rewritten; `shared_run` counts them too. An endpoint that fails three
    times in a row ends the asking; nothing is lost. done: told of every answered prompt at once.
    Result: [Rewritten].
    """
    speech = dialect_of(dialect)
    length = int(threshold("shared_run", thresholds))
    most = allowed_prompts(len(shots) + len(beside), thresholds)
    taken: Counter[tuple[str, ...]] = Counter()
    for text in (*beside, *(shot.prompt for shot in shots)):
        taken.update(runs(text, length))
    ticker = Ticker("rewriting", len(shots))
    found: list[Rewritten] = []
    failures = 0
    for shot in shots:
        own = runs(shot.prompt, length)
        try:
            if failures >= GIVE_UP_AFTER:
                raise EndpointError("The endpoint failed too often and is not asked any more")
            said = _line(
                client.chat(
                    request_for(shot.prompt, name, speech),
                    max_tokens=TOKENS,
                    temperature=TEMPERATURE,
                ).text
            )
            failures = 0
        except EndpointError as error:
            failures += 1
            found.append(Rewritten(shot.id, shot.prompt, False, (error.what,)))
            yield ticker.tick(note=f"{shot.id}: kept")
            continue
        faults = faults_of(said, shot, name, class_word, speech)
        fresh = runs(said, length)
        if shared := [run for run in fresh - own if taken[run] >= most]:
            others = "another prompt" if most == 1 else f"{most} other prompts"
            faults.append(f'"{" ".join(min(shared))}" stands in {others}')
        if faults:
            yield Notice(f"{shot.id}: our own text stays: {'; '.join(faults)}", "warning")
            found.append(Rewritten(shot.id, shot.prompt, False, tuple(faults), said))
        else:
            taken.subtract(own)
            taken.update(fresh)
            found.append(Rewritten(shot.id, said, said != shot.prompt, (), said))
        if done is not None:
            done(found[-1])
        yield ticker.tick(note=shot.id)
    yield Result(found)


def _line(text: str) -> str:
    """A reply as one line, without a label, quotes or a full stop around the prompt."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^(?:here[^:]{0,60}:|(?:rewritten )?prompt:)\s*", "", text, flags=re.IGNORECASE)
    return text.strip("\"'“”` ").removesuffix(".")


@lexicon.confined
def rewrite_plan(project: Project, client: Client) -> Events:
    """Rewrite the prompts of a project's shots that have no take yet.

    Each answer is kept as it comes, and shots/rewritten.jsonl remembers what was answered: after a
    stop nothing is asked (and paid) twice. Raises NotReadyError, UsageError (nothing to rewrite).
    Result: {asked, rewritten, kept: [{shot, refused, proposed}], prompts}.
    """
    learn(project)
    character = project.character
    speech = dialect_of(dialect_for(project))
    if not speech.trigger:
        raise UsageError(
            f"Prompts for {speech.id} are short on purpose and are not rewritten",
            fix="Rewriting is for sources that read whole sentences.",
        )
    with project.exclusive("shots"):
        made = {t.shot_id for t in project.store.takes()}
        journal = project.folder("shots") / JOURNAL
        ready = _answered(journal)
        everything = planned(project)
        shots = [s for s in everything if s.id not in made and _mark(s.id, s.prompt) not in ready]
        asked = {s.id for s in shots}
        if not shots:
            raise UsageError("Every prompt is a model's already, or its shot has a take")

        def keep(row: Rewritten) -> None:
            if row.changed:
                project.store.update_shot(row.shot, prompt=row.text)
            with journal.open("a", encoding="utf-8") as out:
                out.write(_mark(row.shot, row.text) + "\n")

        rows: list[Rewritten] = []
        for event in rewrite(
            shots,
            client,
            name=character.trigger,
            class_word=character.class_word,
            dialect=speech.id,
            beside=[s.prompt for s in everything if s.id not in asked],
            thresholds=character.shots.thresholds,
            done=keep,
        ):
            if isinstance(event, Result):
                rows = event.value
            else:
                yield event
        write_text(project.folder("shots") / "prompts.txt", by_domain(project.store.shots()))
        changed = sum(row.changed for row in rows)
        project.store.log("shots", "rewritten", count=changed, **client.endpoint.as_dict())
    kept = [row.as_dict() for row in rows if row.refused]
    value = {"asked": len(rows), "rewritten": changed, "kept": kept}
    yield Result({**value, "prompts": "shots/prompts.txt"})


def _mark(shot: str, prompt: str) -> str:
    """One line of the journal: this prompt of this shot was answered for."""
    return json.dumps({"shot": shot, "sha256": sha256_bytes(prompt.encode())})


def _answered(journal: Path) -> set[str]:
    return set(journal.read_text(encoding="utf-8").splitlines()) if journal.exists() else set()
