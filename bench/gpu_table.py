"""The cells of bench/gpu.py as results.json and results.md: seconds, use, shares, aims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.project.files import write_json, write_text

AIMS = {
    "t2i bf16": 0.50, "t2i int8": 0.35, "t2i fp8": 0.35,
    "1024 bf16": 1.0, "1024 int8": 0.75, "1024 fp8": 0.75,
}  # fmt: skip
"""Seconds a step on an H100 with every block checkpointed, the issue's aims."""


def write_table(folder: Path, names: list[str], small: bool) -> int:
    """Both files from what is there; 1 when a cell has no number, else 0."""
    rows = [_read(folder, name) for name in names]
    rates = (rows[0] or {}).get("rates")
    for row in rows:
        if row and row.get("seconds"):
            row["mfu"], row["use"] = _use(row, rates)
    write_json(folder / "results.json", {"small": small, "cells": [r for r in rows if r]})
    write_text(folder / "results.md", "\n".join(_lines(rows, names, rates, small)) + "\n")
    return int(any(row is None or row.get("error") for row in rows))


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(
            (folder / f"{name.replace(' ', '_')}.json").read_text("utf-8")
        )
    except (OSError, ValueError):
        return None
    return found


def _use(
    row: dict[str, Any], rates: dict[str, Any] | None
) -> tuple[float, float] | tuple[None, None]:
    """Shares of the card's measured bf16 matmul rate: of what had to be computed (MFU), of all."""
    if not rates or not rates.get("bf16"):
        return None, None
    needed = row["needed_teraflops"] / row["seconds"]
    return needed / rates["bf16"], row["teraflops_a_second"] / rates["bf16"]


def _lines(
    rows: list[dict[str, Any] | None], names: list[str], rates: Any, small: bool
) -> list[str]:
    done = [r for r in rows if r and not r.get("error")]
    device = done[0]["device"] if done else "nothing"
    lines = [f"# Steps measured on {device}", ""]
    if small:
        lines += ["Tiny blocks: this proves the script, it measures nothing.", ""]
    if done:
        lines += [f"torch {done[0]['torch']}, {done[0]['when']}. Batch 1, rank 16.", ""]
    if rates:
        lines += ["| what | TFLOP/s |", "|---|---|"]
        plain = {k: v for k, v in rates.items() if isinstance(v, int | float)}
        lines += [f"| {name} | {value} |" for name, value in plain.items()]
        lines += ["", f"Kernels: {rates.get('ways')}", ""]
    head = (
        "| cell | s/step | TFLOP | MFU | with recompute | peak GB | modelled GB | aim | aim met |"
    )
    lines += [head, "|---" * 9 + "|"]
    for name, row in zip(names[1:], rows[1:], strict=True):
        lines.append(_line(name, row))
    return [*lines, "", *_shares(rows)]


def _line(name: str, row: dict[str, Any] | None) -> str:
    if row is None:
        return f"| {name} | not measured yet | | | | | | | |"
    if row.get("error"):
        return f"| {name} | {row['error'].replace('|', '/')[:90]} | | | | | | | |"
    aim = AIMS.get(name)
    met = "" if aim is None else ("yes" if row["seconds"] <= aim else "no")
    use = " | " if row.get("use") is None else f"{row['mfu']:.0%} | {row['use']:.0%}"
    peak = "" if row["peak_gb"] is None else f"{row['peak_gb']:.1f}"
    return (
        f"| {name} | {row['seconds']:.3f} | {row['teraflops']:.1f} | {use} | {peak} "
        f"| {row['modelled_gb']:.1f} | {aim or ''} | {met} |"
    )


def _shares(rows: list[dict[str, Any] | None]) -> list[str]:
    """What each optimisation saves: the step without it, less the step with all."""
    by_name = {r["name"]: r for r in rows if r and r.get("seconds")}
    lines = ["| left out | s/step without | s/step with all | its share |", "|---|---|---|---|"]
    for name, row in by_name.items():
        whole, _, part = name.partition(" without ")
        if part and whole in by_name:
            all_in = by_name[whole]["seconds"]
            share = 1 - all_in / row["seconds"]
            lines.append(f"| {whole}: {part} | {row['seconds']:.3f} | {all_in:.3f} | {share:.0%} |")
    for case in ("t2i", "512", "1024"):
        for peer in ("plain diffusers", "musubi-tuner"):
            theirs, best = by_name.get(f"{case} {peer}"), by_name.get(f"{case} bf16")
            if theirs and best:
                share = 1 - best["seconds"] / theirs["seconds"]
                lines.append(
                    f"| {case} bf16 against {peer} | {theirs['seconds']:.3f} "
                    f"| {best['seconds']:.3f} | {share:.0%} |"
                )
    return lines
