"""How a tokenizer cuts a word, read from its files on this machine; nothing is downloaded.

In: a base model's name or a folder. Out: a `Tokenizer` that cuts words as byte-level BPE does, or
the reason why there is none. Pure Python: a word needs no tokenizer library.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.models.info import MINIATURE

BASE = "Qwen/Qwen-Image-Edit-2509"
FAMILY: dict[str, tuple[tuple[str, str], ...]] = {
    BASE: (
        (BASE, "tokenizer/"),
        ("Qwen/Qwen-Image-Edit", "tokenizer/"),
        ("Qwen/Qwen-Image", "tokenizer/"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", ""),
    )
}
"""Base -> repositories with the same vocabulary (its text encoder is Qwen2.5-VL-7B)."""

_FILES = ("tokenizer.json", "vocab.json")
_PRETOKENS = re.compile(
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\w]?[^\W\d_]+|_[^\W\d_]+|\d|(?: ?(?:[^\s\w]|_)+[\r\n]*)|\s+",
    re.IGNORECASE,
)
"""Qwen2's pre-tokens, in the letters-digits-underscore part that a word can use."""


@dataclass(frozen=True)
class Tokenizer:
    """A byte-level BPE. `name`: whose it is; `ids`: piece -> number; `ranks`: merge -> order."""

    name: str
    path: str
    ids: dict[str, int]
    ranks: dict[tuple[str, str], int]

    def pieces(self, text: str) -> list[str]:
        """The tokens of a short text, as text ("Ġ" of the files is a space here)."""
        found: list[str] = []
        for match in _PRETOKENS.finditer(text):
            symbols = [_byte_letters()[b] for b in match.group(0).encode("utf-8")]
            found += _merge(symbols, self.ranks)
        return [_readable(p) for p in found]


def _merge(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding: join the pair with the lowest rank until none is left."""
    while len(symbols) > 1:
        pairs = [(ranks.get(p, len(ranks)), i) for i, p in enumerate(pairwise(symbols))]
        best, at = min(pairs)
        if best == len(ranks):
            break
        symbols = [*symbols[:at], symbols[at] + symbols[at + 1], *symbols[at + 2 :]]
    return symbols


@cache
def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    free = 256
    for b in range(256):
        if b not in letters:
            letters[b] = chr(free)
            free += 1
    return [letters[b] for b in range(256)]


def _readable(piece: str) -> str:
    back = {letter: byte for byte, letter in enumerate(_byte_letters())}
    return bytes(back[c] for c in piece).decode("utf-8", errors="replace")


def find_tokenizer(name: str = BASE) -> Tokenizer | str:
    """The tokenizer of a base: `miniature`, a folder, a Hugging Face id in the local cache.

    Returns the reason as text when its files are not on this machine. Raises InputError for files
    that cannot be read.
    """
    folder = MINIATURE if name == "miniature" else Path(name).expanduser()
    if folder.is_dir():
        for place in (folder / "tokenizer", folder, folder / "processor"):
            if (file := _in(place)) is not None:
                return load(name, file)
        return f"{name} holds no tokenizer.json and no vocab.json with merges.txt"
    for repository, prefix in FAMILY.get(name, ((name, "tokenizer/"), (name, ""))):
        for wanted in _FILES:
            file = _cached(repository, prefix + wanted)
            if file is not None and _in(file.parent) is not None:
                return load(repository, file)
    return (
        f"the tokenizer of {name} is not on this machine; fetch it alone (a few MB) with: "
        f'hf download {name} --include "tokenizer/*"'
    )


def _in(folder: Path) -> Path | None:
    for wanted in _FILES:
        whole = wanted == "tokenizer.json" or (folder / "merges.txt").is_file()
        if (folder / wanted).is_file() and whole:
            return folder / wanted
    return None


def _cached(repository: str, file: str) -> Path | None:
    if repository.count("/") != 1:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(repository, file)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def load(name: str, file: Path) -> Tokenizer:
    """Read tokenizer.json, or vocab.json with the merges.txt beside it. Raises InputError."""
    try:
        data = json.loads(file.read_text("utf-8"))
        if file.name == "tokenizer.json":
            ids, merges = data["model"]["vocab"], data["model"]["merges"]
        else:
            ids, merges = data, _lines(file.with_name("merges.txt"))
        ranks = {_pair(m): rank for rank, m in enumerate(merges)}
        if not isinstance(ids, dict) or not ranks:
            raise ValueError("no byte-pair vocabulary")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The tokenizer cannot be read: {error}", where=str(file), fix="Fetch it again."
        ) from None
    return Tokenizer(name, str(file), ids, ranks)


def _lines(file: Path) -> list[str]:
    lines = file.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#version")]


def _pair(merge: Any) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return str(first), str(second)
