"""Where another trainer lies and which Python runs it: its own environment, never ours.

In: an option, the environment, character.yaml. Out: `Home`. Nothing is installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from limner.errors import UsageError

PROGRAMS = {"ai-toolkit": "run.py", "musubi-tuner": "src/musubi_tuner/qwen_image_train_network.py"}
HOME_KEYS = {"ai-toolkit": "AI_TOOLKIT_HOME", "musubi-tuner": "MUSUBI_HOME"}
PYTHON_KEYS = {"ai-toolkit": "AI_TOOLKIT_PYTHON", "musubi-tuner": "MUSUBI_PYTHON"}
WEIGHT_KEYS = {"dit": "MUSUBI_DIT", "vae": "MUSUBI_VAE", "text_encoder": "MUSUBI_TEXT_ENCODER"}
ENVIRONMENTS = ("venv", ".venv", "env")


@dataclass(frozen=True)
class Home:
    """A trainer that is there. weights: musubi-tuner's files, by name."""

    trainer: str
    folder: Path
    python: str
    weights: dict[str, str] = field(default_factory=dict)


def find(
    trainer: str,
    *,
    folder: Path | None = None,
    python: str | None = None,
    weights: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Home:
    """The trainer's folder and its Python.

    Order: the option, the environment (AI_TOOLKIT_HOME, MUSUBI_HOME, ..._PYTHON, MUSUBI_DIT, VAE,
    TEXT_ENCODER), `training.trainers` of character.yaml (keys ai-toolkit, musubi, dit, vae,
    text_encoder); the Python else of a venv in that folder. Raises UsageError saying what lacks.
    """
    if trainer not in PROGRAMS:
        raise UsageError(
            f"{trainer} is not run from here",
            where="--with",
            fix="Use ai-toolkit or musubi; `limner dataset export` writes what others need.",
        )
    own = dict(settings or {})
    short = "musubi" if trainer == "musubi-tuner" else trainer
    named = str(folder or os.environ.get(HOME_KEYS[trainer]) or own.get(short) or "")
    if not named:
        raise UsageError(
            f"Where {trainer} lies is not known",
            where=f"--home, {HOME_KEYS[trainer]}, training.trainers",
            fix=f"Give its folder with --home, or set {HOME_KEYS[trainer]}.",
        )
    place = Path(named).expanduser().resolve()
    if not (place / PROGRAMS[trainer]).is_file():
        raise UsageError(
            f"There is no {trainer} here: {PROGRAMS[trainer]} is missing",
            where=str(place),
            fix="Name the folder that its repository was cloned to.",
        )
    found = Home(trainer, place, _python(trainer, place, python))
    if trainer == "musubi-tuner":
        found = Home(trainer, place, found.python, _weights(weights or {}, own))
    return found


def _python(trainer: str, place: Path, given: str | None) -> str:
    named = given or os.environ.get(PYTHON_KEYS[trainer])
    if named:
        return _standing(named, place)
    for name in ENVIRONMENTS:
        for inner in ("bin/python", "Scripts/python.exe"):
            if (place / name / inner).exists():
                return str(place / name / inner)
    raise UsageError(
        f"{trainer} has no environment of its own in its folder ({', '.join(ENVIRONMENTS)})",
        where=str(place),
        fix=f"Give the Python that runs it with --python, or set {PYTHON_KEYS[trainer]}.",
    )


def _standing(program: str, place: Path) -> str:
    """A program with its whole path, since it is started in the trainer's folder: as seen from
    here, else from there. Links stay: an environment's Python is known by where its link lies."""
    if len(Path(program).parts) == 1:
        return program
    path = Path(program).expanduser()
    found = next((b / path for b in (Path.cwd(), place) if (b / path).exists()), path)
    return str(found)


def _weights(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, key in WEIGHT_KEYS.items():
        value = given.get(name) or os.environ.get(key) or own.get(name)
        if not value or not Path(value).expanduser().exists():
            raise UsageError(
                f"musubi-tuner needs the file of its {name}"
                + (f"; {value} is not there" if value else ""),
                where=f"--weights {name}=FILE, {key}",
                fix="bf16 files of Comfy-Org's repositories or the official shards; its fp8 files "
                "are not accepted.",
            )
        found[name] = str(Path(value).expanduser().resolve())
    return found
