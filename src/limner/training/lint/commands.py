"""Commands in guides and scripts that cannot work, and musubi-tuner's command lines.

In: text of a Markdown page or a shell script. Out: findings by line, arguments of a command.
"""

from __future__ import annotations

import re
import shlex

from limner.training.lint.findings import Findings

_LINES: tuple[tuple[str, str, str, str], ...] = (
    (
        "no-such-script",
        r"\bpython3?\s+(?:\S*/)?joy_caption\.py\b",
        "JoyCaption has no joy_caption.py; nothing is captioned",
        'python scripts/batch-caption.py --glob "dataset/*.jpg" --prompt "..."',
    ),
    (
        "no-such-script",
        r"\bpython3?\s+(?:\S*/)?(?:install_ui|run_ui)\.py\b",
        "ai-toolkit has no such script",
        "cd ui && npm run build_and_start",
    ),
    (
        "old-torch",
        r"torch==2\.7\.0|whl/cu126",
        "ai-toolkit 0.12.26 asks for torch 2.13.0 with CUDA 13.0 wheels",
        "Take the line of the README of the version you clone.",
    ),
    (
        "alias",
        r"\brsync\b.*\s\w+:/",
        "The host alias before the colon is defined nowhere: rsync cannot connect",
        "rsync -avz -e 'ssh -p PORT -i KEY' dataset/ root@HOST:...",
    ),
    (
        "epoch-names",
        r"\w+_epoch\d+\.safetensors",
        "No trainer names files so; ai-toolkit writes NAME_000000340.safetensors after its 341st "
        "step and NAME.safetensors at the end",
        "Name the step; `limner plan` shows epoch k of 10 beside it.",
    ),
)


def check_lines(text: str, found: Findings, offset: int = 0) -> None:
    """Lines that name scripts, files or hosts that do not exist."""
    for line, row in enumerate(text.splitlines(), start=1 + offset):
        for rule, pattern, what, instead in _LINES:
            if re.search(pattern, row):
                found.add(rule, line, what, instead)


def musubi_commands(text: str) -> list[tuple[dict[str, object], dict[str, int], int]]:
    """(arguments, their lines, line of the command) of every Qwen training command."""
    rows, found = text.splitlines(), []
    for start, row in enumerate(rows):
        if "qwen_image_train_network.py" not in row or row.lstrip().startswith("#"):
            continue
        end = start
        while end < len(rows) - 1 and rows[end].rstrip().endswith(("\\", "`", "^")):
            end += 1
        first = start
        while first > 0 and rows[first - 1].rstrip().endswith(("\\", "`", "^")):
            first -= 1
        command = " ".join(rows[first : end + 1])
        if "--" in command and re.search(r"\b(accelerate|python3?)\b", command):
            found.append(_arguments(rows, first, end))
    return found


def _arguments(
    rows: list[str], first: int, end: int
) -> tuple[dict[str, object], dict[str, int], int]:
    given: dict[str, object] = {}
    lines: dict[str, int] = {}
    key: str | None = None
    started = False
    for index in range(first, end + 1):
        row = rows[index].rstrip().rstrip("\\`^").strip()
        try:
            words = shlex.split(row, comments=True)
        except ValueError:
            words = row.split()
        for word in words:
            if "qwen_image_train_network.py" in word:
                started = True
            elif started and word.startswith("--"):
                key, equals, value = word[2:].partition("=")
                given[key] = _value(value) if equals else True
                lines[key] = index + 1
            elif started and key is not None and given.get(key) is True:
                given[key] = _value(word)
    return given, lines, first + 1


def _value(word: str) -> object:
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        return word
