"""The words of a release: usage guide, model card and the LoRA's metadata.

In: the story of a project. Out: texts and strings made of measured facts only; what was not
measured is said to be so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from limner.models import lora
from limner.project import Project
from limner.release import page, reading, story

ARCHITECTURE = "Qwen-Image-Edit-Plus/lora"
"""modelspec.architecture where the trainer wrote none, as musubi-tuner spells it (published)."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""What a base on the Hub is called; a local folder or the miniature is no base_model there."""
GUIDE_PROMPTS = 10  # the guide asks for 5 to 10 tested prompts


def facts(
    project: Project,
    read: reading.Reading | None,
    release: int,
    samples: list[dict[str, Any]],
    weights: str = "",
) -> dict[str, Any]:
    """Everything the texts are filled with. read: the verdict, None when there is none; weights:
    how they were rounded, empty: not at all."""
    store = project.store
    run = story.judged_run(project, read)
    config = story.run_config(run)
    dataset = store.dataset(run.dataset_version) if run else None
    about = story.subject(project, run, read)
    return {
        "release": release,
        "subject": about,
        "about_pictures": story.about_pictures(about),
        "verdict": read,
        "use": story.use(project, run, read),
        "unmeasured": story.unmeasured(project, run, read),
        "training_words": story.training_words(config),
        "updates": story.updates(project, read),
        "template": config.get("template"),
        "base_model": _hub_id(str(config.get("base") or "")),
        "base_fingerprint": config.get("base_fingerprint"),
        "dataset": dataset,
        "likeness_words": story.likeness_words(project),
        "samples": samples[:GUIDE_PROMPTS],
        "all_samples": samples,
        "weights": weights,
        "config": config,
        "styles": styles(read),
        "outfits": outfits(read),
        "benchmarks": story.benchmarks(read),
    }


def styles(read: reading.Reading | None) -> list[str]:
    """Style LoRAs that were stacked on the chosen checkpoint, each with what it cost."""
    lines = []
    for row in read.styles if read else []:
        line = f"{row['file']} at {row['strength']:g}: identity {row['difference']:+.3f}"
        if row.get("interval"):
            line += f", 95 % interval {row['interval'][0]:+.3f} to {row['interval'][1]:+.3f}"
        if row.get("hits") is not None:
            line += f"; the same person in {row['hits']} of {row['n']}"
            line += f", alone in {row['alone_hits']}" if row.get("alone_hits") is not None else ""
        lines.append(line)
    return lines


def outfits(read: reading.Reading | None) -> list[str]:
    """The match rate by outfit, for a character with outfits of its own."""
    rows = read.outfits if read else []
    return [f"{o['outfit'].replace('_', ' ')}: {o['hits']} of {o['n']}" for o in rows]


def _hub_id(base: str) -> str:
    return base if HUB_ID.fullmatch(base) else ""


def usage(told: dict[str, Any], name: str) -> str:
    """USAGE.md in the form of the guide's part 8."""
    return (
        page.templates()
        .get_template("usage.md.j2")
        .render(**told, lora=name, sampler_words=story.sampler_words)
    )


def _strength_words(use: dict[str, Any] | None, read: reading.Reading | None) -> str:
    if not use:
        return "No strength was measured."
    said = f"Strength {use['strength']:g}"
    tried = [*use["measured_at"], *(row["strength"] for row in (read.strengths if read else []))]
    if read is not None and read.picked and use["strength"] not in tried:
        return f"{said} was chosen by a person and not measured (tried: {use['measured_words']})."
    return f"{said} was measured (tried: {use['measured_words']})."


def workflow_note(told: dict[str, Any], name: str) -> str:
    """What stands beside the nodes of the ComfyUI workflow."""
    use = told["use"]
    lines = [
        f"{told['subject']['name']} v{told['release']}: {verdict_words(told['verdict'])}.",
        f"Put {name} into models/loras.",
        f"Trigger: {told['subject']['trigger']}, first in the prompt.",
        _strength_words(use, told["verdict"]),
        f"It was trained with the {told['template'] or 'unknown'} template, so keep the text node.",
    ]
    if told["subject"]["small"]:
        lines.append("It belongs to the miniature base, which ComfyUI cannot load.")
    return "\n".join(lines)


def card(told: dict[str, Any], name: str) -> str:
    """README.md: a Hugging Face model card; its front matter is YAML (written as JSON values)."""
    template = page.templates().get_template("card.md.j2")
    return template.render(**told, lora=name, quoted=_quoted)


def _quoted(value: object) -> str:
    """A YAML scalar: a JSON string is one."""
    return json.dumps(str(value), ensure_ascii=False)


def metadata(
    project: Project,
    told: dict[str, Any],
    *,
    trained: Mapping[str, str],
    lock_sha256: str,
    captions: int,
    date: str,
    thumbnail: str | None = None,
) -> dict[str, str]:
    """Metadata to add to the LoRA: ModelSpec 1.0.1, the trigger for LoRA managers, limner.*.

    `trained`: what the trainer wrote; its architecture and tag counts stay.
    """
    from limner import __version__

    character, read = project.character, told["verdict"]
    hint = f"{character.trigger} first in the prompt"
    if read is not None and read.strength is not None:
        hint += f"; strength {read.strength:g}"
        sampling = story.sampling_words(read.settings)
        hint += f"; {sampling}" if sampling else ""
    words = {
        "modelspec.sai_model_spec": lora.MODELSPEC,
        "modelspec.architecture": trained.get("modelspec.architecture", ARCHITECTURE),
        "modelspec.implementation": trained.get("modelspec.implementation", "diffusers"),
        "modelspec.title": f"{character.name} v{told['release']}",
        "modelspec.description": f"Character LoRA, {told['likeness_words']}. {verdict_words(read)}",
        "modelspec.date": date,
        "modelspec.trigger_phrase": character.trigger,
        "modelspec.usage_hint": hint,
        "modelspec.tags": f"character, {character.class_word}",
        "modelspec.license": "apache-2.0",
        "limner.version": __version__,
        "limner.lock_sha256": lock_sha256,
        "limner.verdict": verdict_words(read),
        "limner.likeness": character.likeness,
        "limner.release": str(told["release"]),
    }
    if read is not None and read.step is not None and told["updates"] is not None:
        words["limner.step"] = str(told["updates"])
    if read is not None and read.picked:
        words["limner.chosen_by"] = "person"
    if thumbnail:
        words["modelspec.thumbnail"] = thumbnail
    if captions and "ss_tag_frequency" not in trained:  # LoRA managers look for the trigger here
        tags = {f"1_{character.trigger}": {character.trigger: captions}}
        words["ss_tag_frequency"] = json.dumps(tags)
    return words


def verdict_words(read: reading.Reading | None) -> str:
    """The verdict in one line for places that hold no more."""
    if read is None:
        return "not evaluated"
    if read.picked:
        return str(read.picked["words"])
    claim = read.claim
    if claim is None:
        return read.state[0].lower()
    return f"{read.state[0].lower()}: {claim.words}, 95 % interval {claim.interval}"
