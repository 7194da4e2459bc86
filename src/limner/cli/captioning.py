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
    from limner import captions, lexicon

    if prompt is None and file is None:
        if trigger or class_word or outfit_tag or template != "character":
            raise UsageError(
                "These options are for a prompt; a project's own stand in character.yaml",
                fix='Give the prompt too: limner captions compile --trigger WORD "PROMPT".',
            )
        found = screen().run(captions.compile(project(), profile=profile))
        return Answer(found, [f"{found['compiled']} captions compiled"])
    if prompt is not None and file is not None:
        raise UsageError("Give a prompt or --file, not both")
    lexicon.learn(root() / lexicon.OWN_FOLDER)  # a project's own words, if it has any
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
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"The prompts cannot be read: {why}",
            where=str(file),
            fix="Give a UTF-8 text file, one prompt a line.",
        ) from None
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


Base = Annotated[
    str | None, typer.Option(help="Base whose tokenizer counts: a name, a folder, miniature")
]


@command(captions_app, "trigger")
def captions_trigger(
    word: Annotated[str, typer.Argument(help="The word to judge")],
    base: Base = None,
    class_word: ClassWord = None,
) -> Answer:
    """Judge a trigger word: form, tokens of the base's own tokenizer, words of the language."""
    from limner.captions.trigger import advise
    from limner.captions.vocabularies import BASE

    own = _character()
    if base is None:
        trained = own.training.base if own is not None else BASE
        base = BASE if trained == "miniature" else trained
    given = class_word or (own.class_word if own is not None else "")
    advice = advise(word, base, class_word=given)
    weighty = [f for f in advice.findings if f["severity"] != "info"]
    return Answer(advice.as_dict(), _trigger_lines(advice), findings=bool(weighty))


def _trigger_lines(advice: Any) -> list[str]:
    measured = "" if advice.tokens_at_start else ", as far as measured"
    lines = [f"{advice.word}: {advice.verdict}{measured}"]
    if advice.tokens_at_start is None:
        lines.append(f"tokens: not measured ({advice.tokens_reason})")
    else:
        lines.append(
            f"tokens: {advice.tokens_at_start} at the start of a caption "
            f"({' + '.join(advice.pieces)}), {advice.tokens_inside} inside a sentence "
            f"({advice.tokenizer})"
        )
        if advice.tokens_reason:
            lines.append(f"  {advice.tokens_reason}")
    for finding in advice.findings:
        lines.append(f"{finding['severity']}: {finding['text']}  [{finding['source']}]")
        lines.append(f"  fix: {finding['fix']}")
    return [*lines, advice.conflict]


Picture = Annotated[
    Path | None, typer.Argument(help="One picture to try; without it, every kept take")
]
Url = Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint; else LIMNER_LLM_URL")]
Model = Annotated[str | None, typer.Option(help="Model name; with --local a folder or an id")]
Local = Annotated[bool, typer.Option("--local", help="Run the model here with transformers")]
Asked = Annotated[
    str | None, typer.Option("--prompt", help="What to ask; {name}, {class_word}, {words}")
]
AskedFile = Annotated[Path | None, typer.Option("--prompt-file", help="The same from a text file")]
Words = Annotated[int | None, typer.Option(help="Words asked for")]
Show = Annotated[bool, typer.Option("--show", help="Show the exact request and send nothing")]
Init = Annotated[bool, typer.Option("--init", help="Write captioner.yaml to edit, ask nothing")]
CheckOnly = Annotated[
    bool, typer.Option("--check", help="Write no caption; report where picture and plan disagree")
]


@command(captions_app, "describe")
def captions_describe(
    picture: Picture = None,
    url: Url = None,
    model: Model = None,
    local: Local = False,
    prompt: Asked = None,
    prompt_file: AskedFile = None,
    words: Words = None,
    trigger: Trigger = None,
    profile: Profile = None,
    class_word: ClassWord = None,
    show: Show = False,
    init: Init = False,
    check: CheckOnly = False,
) -> Answer:
    """Let a model look at the pictures: captions edited by the same rules, or a check of them."""
    from limner.captions import captioners, describing

    if init:
        return _write_captioner_file(model or "")
    if prompt is not None and prompt_file is not None:
        raise UsageError("Give --prompt or --prompt-file, not both")
    given = {
        "where": "local" if local else None,
        "url": url,
        "model": model,
        "prompt": prompt if prompt_file is None else "\n".join(_lines(prompt_file)),
        "words": words,
    }
    own = _character()
    settings = captioners.load_settings(root() if own is not None else None, given)
    name = trigger or (own.trigger if own is not None else "")
    if not name:
        raise UsageError("Which trigger word?", fix="Give --trigger, or run this in a project.")
    asked = captioners.captioner_prompt(
        settings, name, class_word or (own.class_word if own is not None else "person")
    )
    captioner = captioners.open_captioner(settings, asked, only_shown=show)
    try:
        if show:
            return _show_request(captioner, picture)
        if picture is not None:
            return _try_one(captioner, picture, name, profile, class_word)
        work = (
            describing.look(project(), captioner, attempts=settings.attempts)
            if check
            else describing.describe(
                project(), captioner, profile=profile, attempts=settings.attempts
            )
        )
        found = screen().run(work)
    finally:
        captioner.close()
    if check:
        return _looked(found)
    lines = [
        f"{found['described']} captions by {found['captioner']['model']}, {found['unchanged']} "
        f"unchanged, {found['by_hand']} by hand stay",
        *(f"{f['shot']}: {f['text']}" for f in found["failed"]),
    ]
    return Answer(found, lines, findings=bool(found["failed"]))


def _write_captioner_file(model: str) -> Answer:
    from limner.captions.captioners import own_words, write_settings

    path = write_settings(project().root, own_words(model))
    return Answer({"path": str(path)}, [f"wrote {path}"])


def _show_request(captioner: Any, picture: Path | None) -> Answer:
    import json

    from limner.captions.stage import kept_takes

    if picture is None:
        here = project()
        picture = here.path(str(kept_takes(here)[0].path))
    request = captioner.request(picture)
    return Answer({"request": request}, [json.dumps(request, indent=1, ensure_ascii=False)])


def _try_one(
    captioner: Any, picture: Path, trigger: str, profile: str | None, class_word: str | None
) -> Answer:
    """One picture through the code of the batch; nothing is recorded."""
    from limner import captions

    said = captioner.caption(picture)
    made = captions.compile_text(said.text, trigger, class_word, profile or "default")
    data = {**captions.as_dict(made), "said": said.text, "model": said.model}
    return Answer(data, [made.text])


def _looked(found: dict[str, Any]) -> Answer:
    lines = [
        f"{found['compared']} of {found['total']} pictures compared by "
        f"{found['captioner']['model']}, {len(found['findings'])} disagreements"
    ]
    for finding in found["findings"]:
        lines += [f"warning: {finding['shot']}: {finding['text']}", f"  fix: {finding['fix']}"]
    lines += [f"{f['shot']}: {f['text']}" for f in found["failed"]]
    return Answer(found, lines, findings=bool(found["findings"] or found["failed"]))
