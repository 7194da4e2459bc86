"""What a model site wants beside the LoRA: Civitai's upload kit, and the dataset as one zip.

In: a bundle under way. Out: civitai/ (no site takes uploads of models by program, so this is made
for its four-step form) and NAME_dataset.zip, the same bytes for the same dataset.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from limner.project import Project, files
from limner.project.records import Dataset
from limner.release import archiving, locks, page, story

CIVITAI = "civitai"
FEWEST_PREVIEWS, MOST_PREVIEWS = 10, 15
"""Previews that the guide asks for."""


def civitai(part: Path, told: dict[str, Any], lora: str) -> None:
    """Write the kit into `part`/civitai; the samples must be there already."""
    folder = part / CIVITAI
    folder.mkdir()
    _same_file(part / lora, folder / lora)
    previews = []
    for sample in told["all_samples"][:MOST_PREVIEWS]:
        name = Path(sample["file"]).name
        _same_file(part / sample["file"], folder / f"preview_{name}")
        previews.append({
            "file": f"preview_{name}", "prompt": sample["prompt"], "negative": sample["negative"],
            "seed": sample["seed"], "strength": sample["strength"],
            "parameters": sample["parameters"],
        })  # fmt: skip
    files.write_json(folder / "settings.json", _wizard(told, lora, previews))
    template = page.templates().get_template("civitai.md.j2")
    text = template.render(**told, lora=lora)
    files.write_text(folder / "description.md", text)
    files.write_text(folder / "description.html", _html(text))
    steps = page.templates().get_template("checklist.md.j2")
    files.write_text(
        folder / "checklist.md",
        steps.render(**told, lora=lora, previews=len(previews), fewest=FEWEST_PREVIEWS),
    )
    licence = Path(__file__).parent / "templates" / "licence.txt"
    files.write_bytes(folder / "LICENSE.txt", licence.read_bytes())


def _wizard(told: dict[str, Any], lora: str, previews: list[dict[str, Any]]) -> dict[str, Any]:
    """Every field of the form, by its step."""
    subject, use, config = told["subject"], told["use"], told["config"]
    measured = use["measured_at"] if use else []
    family = [] if subject["small"] else ["qwen image edit"]
    return {
        "name": f"{subject['name']} v{told['release']}",
        "type": "LORA",
        "category": "character",
        "tags": ["character", subject["class_word"], *family],
        "baseModel": "Qwen" if family else "Other",
        "baseModelNote": f"choose the entry for {told['base_model'] or subject['base']} by hand",
        "version": f"v{told['release']}",
        "trainedWords": [subject["trigger"]],
        "epochs": None,
        "steps": told["updates"],
        "strength": {
            "min": min(measured, default=None),
            "max": max(measured, default=None),
            "recommended": use["strength"] if use else None,
        },
        "training": {
            "images": len(told["dataset"].train) if told["dataset"] else None,
            **{k: config.get(k) for k in ("rank", "learning_rate", "batch", "resolution")},
        },
        "nsfw": False,
        "poi": False,
        "permissions": {
            "noCredit": True, "derivatives": True, "commercial": ["Image", "Sell"],
            "differentLicense": True,
        },
        "files": [lora],
        "previews": previews,
    }  # fmt: skip


def _html(text: str) -> str:
    """The description's few forms (headings, lists, paragraphs) as HTML; the site pastes both."""
    from markupsafe import escape

    out: list[str] = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if all(line.startswith("- ") for line in lines):
            items = "".join(f"<li>{escape(line[2:])}</li>" for line in lines)
            out.append(f"<ul>{items}</ul>")
        elif lines[0].startswith("#"):
            level = len(lines[0]) - len(lines[0].lstrip("#"))
            out.append(f"<h{level}>{escape(lines[0].lstrip('# '))}</h{level}>")
            rest = " ".join(lines[1:])
            out += [f"<p>{escape(rest)}</p>"] if rest else []
        else:
            out.append(f"<p>{escape(' '.join(lines))}</p>")
    return "\n".join(out) + "\n"


def _same_file(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the disk knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def parameters(sample: dict[str, Any], settings: dict[str, Any], lora: str, sha256: str) -> str:
    """Generation data in the one line form that sites and viewers read from a picture.

    `<lora:NAME:STRENGTH>` stands in the prompt as A1111 writes it; the hash is AutoV2, the first
    ten hex digits of the file's SHA-256.
    """
    stem = Path(lora).stem
    words = {
        "Steps": settings.get("steps"),
        "Sampler": story.sampler_words(settings) or None,
        "CFG scale": settings.get("true_cfg_scale"),
        "Seed": sample["seed"],
        "Size": f"{settings['width']}x{settings['height']}" if settings.get("width") else None,
        "Model": settings.get("base_name"),
        "Lora hashes": f'"{stem}: {sha256[:10]}"',
        "Version": story.versions(),
    }
    line = ", ".join(f"{k}: {v}" for k, v in words.items() if v is not None)
    prompt = f"{sample['prompt']} <lora:{stem}:{sample['strength']:g}>"
    negative = str(settings.get("negative_prompt") or "").strip()
    return f"{prompt}\nNegative prompt: {negative}\n{line}" if negative else f"{prompt}\n{line}"


def dataset_zip(project: Project, dataset: Dataset, out: Path) -> None:
    """Pictures and captions that were trained on, with the lock, in one zip that is laid out in one
    fixed way."""
    lock = locks.lock_path(project, dataset)
    names = [str(e["path"]) for e in dataset.lock.get("files") or []]
    found = {name: lock.parent / name for name in names}
    found[locks.LOCK_FILE] = lock
    about = {"trigger": project.character.trigger, "likeness": project.character.likeness,
             "lock_sha256": dataset.lock_sha256, "pictures": len(dataset.train)}  # fmt: skip
    readme = out.with_name(f".{out.name}.about")
    readme.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    found["dataset.json"] = readme
    with out.open("wb") as raw:
        archiving.lay_out(raw, archiving.of_files(found))
    readme.unlink()
