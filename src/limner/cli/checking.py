"""Commands on files of any trainer: check a training setup, look at and convert LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command
from limner.cli.show import Answer, findings_answer
from limner.errors import UsageError


def _no_file(path: Path) -> UsageError:
    what = "This is a folder, not a file" if path.is_dir() else "There is no such file"
    return UsageError(what, where=str(path), fix="Give one .safetensors file.")


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
    lines = [line for rows in _alike(found["findings"]) for line in _finding_lines(rows)]
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


SHOWN = 3
"""Files named of a fault that many have; --json names all."""


def _alike(findings: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Findings of the same words together, in the order of their first."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in findings:
        key = (row["severity"], row["rule"], row["what"], row["instead"])
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _finding_lines(rows: list[dict[str, Any]]) -> list[str]:
    row, places = rows[0], list(dict.fromkeys(_place(row)[:-2] for row in rows))
    where = ", ".join(places[:SHOWN])
    if len(places) > SHOWN:
        where += f" and {len(places) - SHOWN} more"
    return [
        f"{row['severity']}: {where}: {row['what']}  [{row['rule']}]",
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


lora_app = typer.Typer(help="LoRA files of any trainer.", rich_markup_mode=None)
app.add_typer(lora_app, name="lora")

LoraFile = Annotated[Path, typer.Argument(help="A .safetensors LoRA of Qwen-Image")]


@command(lora_app, "info")
def lora_info(file: LoraFile) -> Answer:
    """Show rank, alpha, naming, modules, type, step and metadata of a LoRA file."""
    from limner.models import lora

    found = lora.summary(file)
    alpha = "none stated (counts as the rank)" if found["alpha"] is None else found["alpha"]
    lines = [
        f"{found['path']}: {found['bytes'] / 1e6:.1f} MB, {found['parameters'] / 1e6:.2f} M "
        f"parameters, {', '.join(found['dtypes'])}",
        f"rank {found['rank']}, alpha {alpha}, naming {found['naming']}",
        f"{len(found['modules'])} modules in {found['blocks']} blocks: "
        f"{', '.join(found['linears'])}",
        f"step {'not stated' if found['step'] is None else found['step']}, tensors "
        f"{found['tensor_sha256'][:16]}",
        *(f"  {key}: {value[:120]}" for key, value in sorted(found["metadata"].items())),
    ]
    if found["leftover"]:
        lines.append(f"{len(found['leftover'])} keys are no LoRA's: see `limner lora check`")
    return Answer(found, lines)


@command(lora_app, "check")
def lora_check(
    file: LoraFile,
    base: Annotated[
        str, typer.Option(help="Base whose layers it must fit: folder, hub id or miniature")
    ] = "",
) -> Answer:
    """Say what would load wrongly, or not at all and in silence, in diffusers or ComfyUI."""
    from limner.models import lora, resolve_base

    if not file.is_file():
        raise _no_file(file)
    modules = lora.base_modules(Path(resolve_base(base).path)) if base else None
    answer = findings_answer(
        [dict(row) for row in lora.check(file, modules)], f"{file}: nothing found"
    )
    for row in answer.data["findings"]:
        row.update(line=None, what=row["text"], instead=row["fix"])
    return answer


@command(lora_app, "convert")
def lora_convert(
    file: LoraFile,
    to: Annotated[str, typer.Option(help="diffusers, comfyui (ai-toolkit) or kohya (musubi)")],
    out: Annotated[
        Path | None, typer.Option(help="File to write  [default: NAME.TO.safetensors]")
    ] = None,
) -> Answer:
    """Write a LoRA in another program's naming: the same tensors, the scale where it belongs."""
    from limner.models.lora_convert import convert

    if not file.is_file():
        raise _no_file(file)
    target = out or file.with_name(f"{file.stem}.{to}.safetensors")
    found = convert(file, target, to)  # type: ignore[arg-type]  # refused inside when unknown
    rounded = "" if found["exact"] else "; B was rounded once, the way back is not exact"
    said = f"{found['modules']} modules, {found['was']} -> {found['naming']}"
    return Answer(found, [f"wrote {found['path']}: {said}, alpha {found['alpha']}{rounded}"])
