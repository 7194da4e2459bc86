"""What a captioner is, what it says, and the settings a person writes for it.

In: `captioner.yaml` in the project (or nothing), options of the command line. Out: settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.errors import InputError, UsageError
from limner.project.files import write_text

SETTINGS_FILE = "captioner.yaml"
"""In the project folder, written by a person; `limner captions describe --init` makes one."""


@dataclass(frozen=True)
class Said:
    """A model's words on one picture, as they came. `cut`: it ran into the token limit.

    refused: settings the endpoint did not take, so that the words were made without them.
    """

    text: str
    model: str
    cut: bool = False
    refused: tuple[str, ...] = ()


class Captioner(Protocol):
    """Looks at pictures. `identity`: what its words depend on, for the record (no secrets)."""

    @property
    def identity(self) -> dict[str, Any]: ...

    def request(self, picture: Path) -> dict[str, Any]:
        """Exactly what would be sent, pictures shortened to their size."""
        ...

    def caption(self, picture: Path, attempt: int = 0) -> Said:
        """Ask once; `attempt` counts retries of the same picture and changes the seed."""
        ...

    def close(self) -> None:
        """Free the connection or the model."""
        ...


class CaptionerSettings(BaseModel):
    """Who captions and what is asked. Defaults: JoyCaption's (its README, 2026-02)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: Literal["http", "local"] = Field(default="http", description="http endpoint, or local")
    url: str = Field(default="", description="Endpoint; empty = LIMNER_LLM_URL")
    model: str = Field(default="", description="Model name, folder or Hugging Face id")
    prompt: str = Field(default="", description="What is asked; empty = Limner's own words")
    system: str = Field(
        default="You are a helpful image captioner.", description="What the model shall be"
    )
    words: int = Field(default=30, ge=5, le=200, description="Words asked for (starting value)")
    max_tokens: int = Field(default=512, ge=16, le=4096, description="Longest answer")
    temperature: float = Field(default=0.6, ge=0, le=2)
    top_p: float = Field(default=0.9, gt=0, le=1)
    seed: int = Field(default=1, ge=0)
    picture_side: int = Field(default=1024, ge=64, le=4096, description="Longest side sent, px")
    attempts: int = Field(
        default=3, ge=1, le=10, description="Tries when the model repeats itself or stays silent"
    )
    from_file: bool = Field(default=False, exclude=True, description="Set by Limner")


TEMPLATE = """\
# Who looks at the pictures for `limner captions describe`. Keys stay in the environment.
# where: http (any OpenAI-compatible endpoint) or local (transformers on this machine)
where: http
# url: http://127.0.0.1:8000/v1        # empty: LIMNER_LLM_URL
# model: fancyfeast/llama-joycaption-beta-one-hf-llava
# What is asked; {{name}}, {{class_word}} and {{words}} are filled in. Delete it for Limner's own.
prompt: {prompt}
words: {words}
"""


def write_settings(root: Path, text: str) -> Path:
    """Write a `captioner.yaml` to edit, `text` its prompt. Raises UsageError if there is one."""
    file = root / SETTINGS_FILE
    if file.exists():
        raise UsageError("There is one already", where=str(file), fix="Edit it, or remove it.")
    words = CaptionerSettings().words
    write_text(file, TEMPLATE.format(prompt=json.dumps(text, ensure_ascii=False), words=words))
    return file


def load_settings(root: Path | None, given: Mapping[str, Any]) -> CaptionerSettings:
    """Settings of `captioner.yaml` in `root`, options `given` (None = not given) winning.

    Raises InputError for a file that is no mapping, an unknown key or a wrong value.
    """
    file = root / SETTINGS_FILE if root is not None else None
    written = _read(file) if file is not None and file.is_file() else {}
    chosen = {k: v for k, v in given.items() if v is not None}
    from_file = "url" in written and "url" not in chosen
    try:
        return CaptionerSettings(**{**written, **chosen, "from_file": from_file})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"])
        known = ", ".join(n for n in CaptionerSettings.model_fields if n != "from_file")
        raise InputError(
            f"{name}: {first['msg']}",
            where=f"{file or 'options'}: {name}",
            fix=f"The settings are: {known}.",
        ) from None


def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="safe").load(file.read_text("utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"Not valid YAML: {error.problem}", where=f"{file}{line}") from None
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"It cannot be read: {error}", where=str(file)) from None
    if data is None:
        return {}
    if not isinstance(data, dict) or "from_file" in data:
        raise InputError("It holds no settings", where=str(file), fix="Write `key: value` lines.")
    return {str(k): v for k, v in data.items() if v is not None}
