"""Sample pictures that a trainer wrote while it trained, told apart by step and prompt.

In: a folder of pictures with the step in their names, as ai-toolkit, musubi-tuner, kohya,
SimpleTuner, OneTrainer or Limner write them. Out: one `Sample` a step, prompt and seed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Sample:
    """One picture. `prompt_id`: what is paired between steps; `seed`: None when no name says it;
    `made`: what tells a newer picture of the same step and prompt from an older one."""

    path: Path
    step: int
    prompt_id: str
    seed: int | None = None
    text: str = ""
    made: str = ""
    unit: str = "step"


@dataclass(frozen=True)
class SampleSet:
    """The samples of a folder by step and prompt. `trainer`: whose naming it is; `replaced`: older
    pictures of the same cell; `unread`: pictures whose name holds no step."""

    samples: tuple[Sample, ...]
    trainer: str
    replaced: int
    unread: tuple[str, ...]

    @property
    def steps(self) -> list[int]:
        """Every step (or epoch) that has a picture, in order."""
        return sorted({s.step for s in self.samples})

    @property
    def prompts(self) -> list[str]:
        """Every prompt id, in order."""
        return sorted({s.prompt_id for s in self.samples}, key=_natural)

    @property
    def unit(self) -> str:
        """`step`, or `epoch` where the names count those."""
        return self.samples[0].unit if self.samples else "step"


@dataclass(frozen=True)
class _Naming:
    """How one trainer names its samples; groups: step, id, seed, made, epoch."""

    trainer: str
    pattern: re.Pattern[str]


NAMINGS = (
    # toolkit/models/base_model.py: {milliseconds}__{step:09d}_{prompt index}
    _Naming("ai-toolkit", re.compile(r"^(?P<made>\d{10,})__(?P<step>\d{5,})_(?P<id>\d+)$")),
    # hv_train_network.py: {name}_{step:06d or e + epoch:06d}_{index:02d}_{time}_{seed}
    _Naming(
        "musubi-tuner",
        re.compile(
            r"^(?:.*_)?(?:(?P<step>\d{6})|e(?P<epoch>\d{6}))_(?P<id>\d{2,})_(?P<made>\d{14})"
            r"(?:_(?P<seed>\d+))?$"
        ),
    ),
    # training-sample-{date}_{time}-{global step}-{epoch}-{epoch step}; one folder a prompt
    _Naming(
        "OneTrainer",
        re.compile(
            r"^(?:.*-)?training-sample-(?P<made>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)-(?P<step>\d+)"
            r"-\d+-\d+$"
        ),
    ),
    # the step said aloud: step_000100_0, step_500_name_1024x1024, name-step00250-p3, checkpoint-500
    _Naming(
        "step in the name",
        re.compile(
            r"^(?P<before>.*?)(?<![a-z])(?:steps?|checkpoint|iter)[ _=-]*(?P<step>\d+)"
            r"(?P<after>.*)$",
            re.IGNORECASE,
        ),
    ),
)
_SEED = re.compile(r"(?<![a-z])(?:seed|s)[ _=-]*(\d+)", re.IGNORECASE)
_TIME = re.compile(r"\d{12,}")


def read_folder(folder: Path) -> SampleSet:
    """Find and tell apart the samples below `folder`; of one cell made twice the newest counts.

    Raises InputError when there is no folder, no picture, or none whose name holds a step.
    """
    if not folder.is_dir():
        raise InputError(
            "There is no such folder of samples", where=str(folder), fix="Check the path."
        )
    pictures = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    if not pictures:
        raise InputError(
            "The folder holds no picture",
            where=str(folder),
            fix="Give the folder the trainer writes its samples to, e.g. output/NAME/samples.",
        )
    read: list[tuple[str, Sample]] = []
    unread = []
    for path in pictures:
        found = read_name(path.relative_to(folder))
        if found is None:
            unread.append(str(path.relative_to(folder)))
        else:
            read.append((found[0], _with_notes(folder / found[1].path, found[1])))
    if not read:
        raise InputError(
            f"No name of the {len(pictures)} pictures holds a training step",
            where=str(pictures[0]),
            fix="Name them like step_000500_0.png: the step, then which prompt.",
        )
    trainer = Counter(name for name, _ in read).most_common(1)[0][0]
    kept = _newest(sample for name, sample in read if name == trainer)
    unread += [str(s.path.relative_to(folder)) for name, s in read if name != trainer]
    same = sum(name == trainer for name, _ in read)
    return SampleSet(tuple(kept), trainer, same - len(kept), tuple(unread))


def read_name(path: Path) -> tuple[str, Sample] | None:
    """(whose naming, sample) of a path relative to its folder; None when no step is in it.

    A step may stand in a folder's name: step_000100/portrait.png.
    """
    parents = path.parts[:-1]
    for naming in NAMINGS:
        hit = naming.pattern.match(path.stem)
        if hit:
            return naming.trainer, _sample(path, hit, parents)
    for depth, parent in enumerate(parents):
        hit = NAMINGS[-1].pattern.match(parent)
        if hit:
            name, seed = _bare(path.stem)
            others = (*parents[:depth], *parents[depth + 1 :], name)
            prompt = "/".join(part for part in others if part)
            return "a folder a step", Sample(path, int(hit["step"]), prompt, seed)
    return None


def _sample(path: Path, hit: re.Match[str], parents: Sequence[str]) -> Sample:
    groups = hit.groupdict()
    epoch = groups.get("epoch")
    seed = int(groups["seed"]) if groups.get("seed") else None
    name = groups.get("id")
    if name is None and "before" in groups:
        name, seed = _bare("_".join(str(groups[key]) for key in ("before", "after")))
    name = str(int(name)) if name and name.isdigit() else name or ""
    prompt = "/".join(part for part in (*parents, name) if part)
    step = int(epoch or groups["step"])
    unit = "epoch" if epoch else "step"
    return Sample(path, step, prompt or "0", seed, made=groups.get("made") or "", unit=unit)


def _bare(text: str) -> tuple[str, int | None]:
    """(what is left of a name without its seed and its time, the seed)."""
    found = _SEED.search(text)
    rest = _TIME.sub("", _SEED.sub("", text))
    return "_".join(part for part in re.split(r"[ _=.-]+", rest) if part), (
        int(found[1]) if found else None
    )


def _with_notes(path: Path, sample: Sample) -> Sample:
    """The sample with its prompt and seed where a note beside or inside the picture tells them."""
    text, seed = "", sample.seed
    note = path.with_suffix(".txt")
    if note.is_file():
        text = note.read_text(encoding="utf-8", errors="replace").strip()[:2000]
    facts = _facts_inside(path)
    text = text or str(facts.get("prompt") or "")
    if seed is None and str(facts.get("seed", "")).isdigit():
        seed = int(facts["seed"])
    return Sample(path, sample.step, sample.prompt_id, seed, text, sample.made, sample.unit)


def _facts_inside(path: Path) -> dict[str, Any]:
    """What Limner wrote into its own PNG: prompt, seed, step; empty for any other picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            found = json.loads(str(picture.info.get("limner", "{}")))
    except (OSError, ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def _newest(samples: Iterable[Sample]) -> list[Sample]:
    cells: dict[tuple[int, str, int | None], Sample] = {}
    for sample in sorted(samples, key=lambda s: (s.made, str(s.path))):
        cells[sample.step, sample.prompt_id, sample.seed] = sample
    return sorted(cells.values(), key=lambda s: (s.step, _natural(s.prompt_id), s.seed or 0))


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts p10 behind p9."""
    return tuple((int(p) if p.isdigit() else -1, p) for p in re.split(r"(\d+)", text))
