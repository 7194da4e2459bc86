"""The stage: a caption for every kept take, and hand edits read back.

In: a `Project` with kept takes. Out: captions with author and history in the store, and a text file
beside each kept picture, which a person may edit; their text is taken over and never replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from limner import lexicon
from limner.captions.freetext import compile_text, drop_common
from limner.captions.grammar import Compiled, compile_caption
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project, texts
from limner.project.files import write_text
from limner.project.records import Caption, Shot, Take
from limner.project.texts import text_file

CAPTIONED_AXES = ("angle", "framing", "expression", "outfit", "setting", "pose")
"""Axes a caption speaks of; lighting and camera are left out anyway."""

MOST_VARIANTS = 24
"""Wordings tried before two equal captions are accepted."""


@lexicon.confined
def compile(project: Project, *, profile: str | None = None, over_model: bool = False) -> Events:
    """Write a caption for each kept take from its shot; hand edits are read back first and stay.

    From the shot's attributes when it has them, else from its prompt's text. Captions by a model
    stay too, unless `over_model`. profile: instead of the project's. Raises NotReadyError when
    nothing is kept. Result: {total, compiled, unchanged, by_hand, by_model, read_back, dropped}.
    """
    with project.exclusive("captions"):
        lexicon.learn(project.root / lexicon.OWN_FOLDER)
        takes = kept_takes(project)
        read = read_back_now(project)
        for take_id in read:
            shot = project.store.take(take_id).shot_id
            yield Notice(f"{shot}: your caption was read back and stays as it is.")
        counts = {"total": len(takes), "compiled": 0, "unchanged": 0, "by_hand": 0, "by_model": 0}
        ticker = Ticker("captions", len(takes))
        have = project.store.captions()
        stays = {"person"} if over_model else {"person", "model"}
        made = _compile_all(
            project,
            [t for t in takes if t.id not in have or have[t.id].author not in stays],
            {c.text for c in have.values() if c.author in stays},
            profile or project.character.captions.profile,
        )
        name, noun = project.character.trigger, project.character.class_word
        if bare := [i for i, c in made.items() if c.text in (name, f"{name} {noun}")]:
            some = ", ".join(project.store.take(i).shot_id for i in bare[:4])
            yield Notice(
                f"{len(bare)} captions say nothing but the trigger ({some}): English prompts are "
                "read; write these by hand, or `limner captions describe`.",
                "warning",
            )
        for take in takes:
            counts[_put(project, take, have.get(take.id), made.get(take.id))] += 1
            yield ticker.tick(note=take.shot_id)
        project.store.log("captions", "compiled", **counts)
        dropped = sum(len(c.dropped) for c in made.values())
        yield Result({**counts, "read_back": len(read), "dropped": dropped})


def kept_takes(project: Project) -> list[Take]:
    """The kept takes in shot order. Raises NotReadyError when there are none."""
    takes = project.store.kept()
    if not takes:
        raise NotReadyError(
            "No take is kept yet, so there is nothing to caption",
            where=str(project.root / "takes"),
            fix="Run `limner generate` and `limner review` first.",
        )
    return takes


def _put(project: Project, take: Take, old: Caption | None, made: Compiled | None) -> str:
    """Record one take's caption; says which counter it belongs to."""
    if made is None:
        assert old is not None
        write_beside(project, take, old.text)
        return "by_hand" if old.author == "person" else "by_model"
    if old is not None and old.text == made.text:
        write_beside(project, take, made.text)
        return "unchanged"
    project.store.put_caption(take.id, made.text, "rule", made.dropped)
    write_beside(project, take, made.text)
    return "compiled"


def _compile_all(
    project: Project, takes: list[Take], used: set[str], profile: str
) -> dict[int, Compiled]:
    """Take id -> its caption; profile strict then drops what the whole set would say."""
    made: dict[int, Compiled] = {}
    tags: set[str] = set()
    for take in takes:
        made[take.id] = _compile(project, take, used, profile)
        used.add(made[take.id].text)
        tags.add(shown(project, take).get("outfit_tag", "").strip())
    if profile == "strict":
        both = drop_common(list(made.values()), keep=sorted(tags - {""}))
        made = dict(zip(made, both, strict=True))
    return made


def _compile(project: Project, take: Take, used: set[str], profile: str) -> Compiled:
    """The take's caption in the first wording no other caption has."""
    character = project.character
    attributes = shown(project, take)
    class_word = character.class_word if character.captions.class_word else None
    if not has_attributes(attributes):
        return compile_text(
            asked(project, take).prompt,
            character.trigger,
            class_word,
            profile,
            outfit_tag=attributes.get("outfit_tag"),
            allow=changing_traits(project),
        )
    first = int.from_bytes(hashlib.blake2b(take.shot_id.encode(), digest_size=3).digest(), "big")
    made = None
    for variant in range(first, first + MOST_VARIANTS):
        made = compile_caption(
            attributes, character.trigger, class_word=class_word, profile=profile, variant=variant
        )
        if made.text not in used:
            break
    assert made is not None
    return made


def changing_traits(project: Project) -> list[str]:
    """Traits that the user says change between pictures, so that captions may say them."""
    own = project.character.captions.constants
    return [name for name, policy in own.items() if policy in ("vary", "ignore")]


def has_attributes(attributes: Mapping[str, str]) -> bool:
    """Whether a shot's attributes say all that a caption names; an imported prompt's may not."""
    return all(attributes.get(axis) in lexicon.axis(axis) for axis in CAPTIONED_AXES)


def shown(project: Project, take: Take) -> dict[str, str]:
    """What the take shows: what was asked, with what the source made instead.

    Other clothes than a signature outfit do not carry its tag.
    """
    shot = asked(project, take)
    swapped = take.labels.get("substituted", {})
    made = {axis: change["made"] for axis, change in swapped.items()}
    found = {**shot.attributes, **made}
    if made.get("outfit", shot.attributes.get("outfit")) != shot.attributes.get("outfit"):
        found.pop("outfit_tag", None)
    return found


def asked(project: Project, take: Take) -> Shot:
    """The take's shot as it was when the take was made. Raises InputError when it has none."""
    shot = project.store.shot(take.shot_id)
    if shot is None:
        raise InputError(f"take {take.id} belongs to {take.shot_id}, which is not planned")
    return take.asked(shot)


def write_beside(project: Project, take: Take, text: str) -> None:
    """Write a caption into the file beside its picture, if it is not there already."""
    file = text_file(project, take)
    if not file.is_file() or file.read_text("utf-8", errors="replace") != text:
        write_text(file, text)


def read_back(project: Project) -> list[int]:
    """Take over captions a person changed in files (`project.texts.edited`); returns the takes'
    ids. Raises InputError for no UTF-8."""
    with project.exclusive("captions"):
        return read_back_now(project)


def read_back_now(project: Project) -> list[int]:
    """`read_back` for a caller that holds the captions of the project already."""
    found = texts.edited(project)
    for one in found:
        project.store.put_caption(one.take_id, one.text, "person")
        file = project.relative(one.file)
        project.store.log("captions", "read back", take=one.take_id, file=file)
    newest = {one.take_id: one.text for one in found}
    for take_id, text in newest.items():
        write_beside(project, project.store.take(take_id), text)
    return [*newest]


def edit(project: Project, take_id: int, text: str) -> Caption:
    """Set a take's caption by hand; it stays until it is edited again.

    Raises UsageError for an empty text, StoreError for an unknown take, InputError for one without
    a picture.
    """
    line = " ".join(text.split())
    if not line:
        raise UsageError("A caption cannot be empty", fix="Give the text, or leave it as it is.")
    take = project.store.take(take_id)
    text_file(project, take)  # one without a picture is refused before anything is recorded
    with project.exclusive("captions"):
        project.store.put_caption(take_id, line, "person")
        write_beside(project, take, line)
    return project.store.captions()[take_id]
