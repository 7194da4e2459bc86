"""Commands that write captions: compile, trigger, describe (checking and editing stand apart)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.making import captions_app
from limner.cli.shell import command, project, root, screen
from limner.cli.show import Answer
from limner.errors import UsageError

Prompt = Annotated[
    str | None, typer.Argument(help="A prompt to compile; without it, every kept take's shot")
]
Trigger = Annotated[
    str | None, typer.Option(help="Trigger word; default the project's", show_default=False)
]
Profile = Annotated[str | None, typer.Option(help="default, seed or strict; default the project's")]
ClassWord = Annotated[
    str | None, typer.Option(help="Class word to write beside the trigger, e.g. woman")
]
OutfitTag = Annotated[str | None, typer.Option(help="Tag of a signature outfit, e.g. red_dress")]
Template = Annotated[str, typer.Option(help="character, or body (realistic_body second)")]
PromptFile = Annotated[
    Path | None, typer.Option("--file", help="Prompts, one a line, compiled as one set")
]


@command(captions_app, "compile")
def captions_compile(
    prompt: Prompt = None,
    trigger: Trigger = None,
    profile: Profile = None,
    class_word: ClassWord = None,
    outfit_tag: OutfitTag = None,
    template: Template = "character",
    file: PromptFile = None,
) -> Answer:
    """Compile captions: of the kept takes, or of one prompt or a file of prompts anywhere."""
    from limner import captions

    if prompt is None and file is None:
        found = screen().run(captions.compile(project(), profile=profile))
        return Answer(found, [f"{found['compiled']} captions compiled"])
    if prompt is not None and file is not None:
        raise UsageError("Give a prompt or --file, not both")
    settings = _settings(trigger, profile, class_word)
    texts = [prompt] if prompt is not None else _lines(file)
    made = captions.compile_texts(
        texts, **settings, outfit_tag=outfit_tag, template=captions.template_named(template)
    )
    if prompt is not None:
        return Answer(captions.as_dict(made[0]), [made[0].text])
    return Answer({"captions": [captions.as_dict(m) for m in made]}, [m.text for m in made])


def _lines(file: Path | None) -> list[str]:
    from limner.errors import InputError

    assert file is not None
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The prompts cannot be read: {error}", where=str(file)) from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError("The file holds no prompt", where=str(file), fix="Write one a line.")
    return found


def _settings(trigger: str | None, profile: str | None, class_word: str | None) -> dict[str, Any]:
    """What was given on the command line, else what the project says, else the defaults."""
    if trigger is None or profile is None:
        own = _character()
        if own is None and trigger is None:
            raise UsageError(
                "Which trigger word?", fix="Give --trigger, or run this inside a project."
            )
        if own is not None:
            wanted = own.class_word if own.captions.class_word else None
            class_word = class_word or (wanted if trigger is None else None)
            trigger, profile = trigger or own.trigger, profile or own.captions.profile
    return {"trigger": trigger, "profile": profile or "default", "class_word": class_word}


def _character() -> Any:
    """The project's character, None outside a project."""
    from limner.errors import NotAProjectError
    from limner.project import Project

    try:
        return Project.open(root()).character
    except NotAProjectError:
        return None
