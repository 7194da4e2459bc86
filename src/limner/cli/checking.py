"""Commands on files of any trainer: check a training setup, look at and convert LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command
from limner.cli.show import Answer
from limner.errors import UsageError


@command(app, "check")
def check(
    path: Annotated[
        Path, typer.Argument(help="ai-toolkit, musubi-tuner or SimpleTuner file, or a folder")
    ],
    images: Annotated[
        int | None, typer.Option(min=1, help="Pictures of the data set, if it is not here")
    ] = None,
    fixed: Annotated[
        Path | None, typer.Option(help="Write the mended file here (never over the original)")
    ] = None,
) -> Answer:
    """Say what a training setup would really do: every fault with line and cure."""
    from limner.training import lint

    found = lint.check(path, images=images)
    lines = [line for row in found["findings"] for line in _finding_lines(row)]
    lines += [f"note: {_place(row)}{row['what']}" for row in found["notes"]]
    if not found["findings"]:
        lines.append(f"{path}: nothing found ({found['kind']})")
    if fixed is not None:
        lines.append(_write_fixed(found["fixed"], fixed, path))
    elif isinstance(found["fixed"], str):
        lines.append("the mended file: --fixed OUT writes it, --json holds it")
    return Answer(found, lines, findings=bool(found["findings"]))


def _place(row: dict[str, Any]) -> str:
    line = f":{row['line']}" if row["line"] else ""
    return f"{row['file']}{line}: "


def _finding_lines(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['severity']}: {_place(row)}{row['what']}  [{row['rule']}]",
        f"  instead: {row['instead']}",
    ]


def _write_fixed(text: Any, out: Path, path: Path) -> str:
    from limner.project.files import write_text

    if not isinstance(text, str):
        raise UsageError("There is no single mended file", where=str(path), fix="See --json.")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(
            "The original is never written over", where=str(out), fix="Give another name."
        )
    write_text(out, text)
    return f"wrote {out}"
