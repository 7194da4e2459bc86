"""What a training folder is to each trainer: its places, repeats, controls and picture types.

In: a target's name. Out: `Layout`; and the plain data that writers and readers share: `Pair`s of
picture and caption in `Group`s. Sources: the trainers' documentation, see docs/dataset.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limner.dataset.bodies import TAG
from limner.errors import UsageError
from limner.project.files import sha256_bytes

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CONTROL = "_control"
"""Behind a group's name: the folder of its control pictures."""


@dataclass(frozen=True)
class Layout:
    """How one target wants a dataset.

    suffixes: picture types it reads (others are made PNG); control: whether it can be given
    references; zipped: one file for a service; repeats: where the number of showings stands, None =
    it has no place and every picture is shown equally often.
    """

    name: str
    suffixes: tuple[str, ...]
    control: bool
    zipped: bool
    repeats: str | None
    source: str


_PLAIN = (".png", ".jpg", ".jpeg")

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("ai-toolkit", _PLAIN, True, False, "num_repeats", "ai-toolkit 0.12.26"),
        Layout("musubi", PICTURES, True, False, "num_repeats", "musubi-tuner 30c658c"),
        Layout("simpletuner", PICTURES, True, False, "repeats", "SimpleTuner 4.8.0"),
        Layout("kohya", PICTURES, False, False, "folder name", "kohya sd-scripts"),
        Layout("diffusers", PICTURES, False, False, None, "Hugging Face imagefolder"),
        Layout("fal", _PLAIN, True, True, None, "fal qwen-image-edit-2509-trainer"),
        Layout("replicate", _PLAIN, False, True, None, "replicate/qwen-image-lora-trainer"),
        Layout("civitai", _PLAIN, False, True, None, "Civitai's trainer"),
    )
}
_ALIASES = {"musubi-tuner": "musubi", "aitoolkit": "ai-toolkit", "kohya-ss": "kohya"}


def layout_named(name: str, option: str = "--for") -> Layout:
    """The layout of a target named by `option`. Raises UsageError naming all of them; after
    `--with`, which also trains, those that can."""
    key = name.strip().lower()
    found = LAYOUTS.get(_ALIASES.get(key, key))
    if found is None and option == "--with":
        raise UsageError(
            f"There is no trainer {name!r}",
            where=option,
            fix="Use native, ai-toolkit or musubi; `limner dataset export` serves others.",
        )
    if found is None:
        raise UsageError(
            f"There is no export for {name!r}",
            where=option,
            fix=f"Use one of: {', '.join(LAYOUTS)}.",
        )
    return found


@dataclass(frozen=True)
class Pair:
    """A picture with its caption. `controls`: bytes of the pictures shown beside it, PNG."""

    stem: str
    suffix: str
    data: bytes
    caption: str
    controls: tuple[bytes, ...] = ()

    @property
    def picture(self) -> str:
        """File name of the picture."""
        return f"{self.stem}{self.suffix}"

    def same(self) -> tuple[str, str, str, str, tuple[str, ...]]:
        """What must be equal after a way there and back."""
        sums = tuple(sha256_bytes(c) for c in self.controls)
        return self.stem, self.suffix, sha256_bytes(self.data), self.caption, sums


@dataclass(frozen=True)
class Group:
    """One folder: the character, or real bodies. `repeats` None: the layout does not say."""

    name: str
    pairs: tuple[Pair, ...]
    repeats: int | None = None

    @property
    def is_bodies(self) -> bool:
        """Whether these are real bodies: the tag is second in every caption."""
        return bool(self.pairs) and all(is_body(pair.caption) for pair in self.pairs)

    @property
    def controls(self) -> int:
        """Control pictures a pair has."""
        return len(self.pairs[0].controls) if self.pairs else 0


def is_body(caption: str) -> bool:
    """Whether a caption is one of a real body."""
    parts = [part.strip() for part in caption.split(",", 2)]
    return len(parts) > 1 and parts[1] == TAG


@dataclass(frozen=True)
class Contents:
    """A dataset as read from a layout, with what it was and the files that were passed over."""

    target: str
    path: Path
    groups: tuple[Group, ...]
    passed_over: tuple[tuple[str, str], ...] = ()
