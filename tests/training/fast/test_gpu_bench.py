"""bench/gpu.py's logic on tiny blocks: cells, resuming, failures written down, the table."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("gpu")


def test_the_cells_are_those_the_issue_asks_for(gpu: Any) -> None:
    every = gpu.cells(60)
    names = [c.name for c in every]
    assert len(set(names)) == len(names)
    for case in ("t2i", "512", "1024"):
        assert {f"{case} {p}" for p in ("bf16", "fp8", "int8", "nf4")} <= set(names)
    assert any(c.cap for c in every) and any(c.plain for c in every)
    assert sum(" without " in n for n in names) == 10
    assert gpu.CASES["1024"].tokens == 8_522


def test_a_run_goes_on_where_it_stopped_and_writes_failures_down(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def here(cell: Any, args: Namespace, place: Path) -> None:
        """As the child process, but here; one cell fails as a card that is too small does."""
        ran.append(cell.name)
        with monkeypatch.context() as patched:
            if cell.name == "1024 int8":
                no_room = RuntimeError("out of memory")
                patched.setattr(gpu, "make_step", lambda *_: _raise(no_room))
            gpu.write_json(place, gpu.result(cell, args))

    def call(*more: str) -> int:
        monkeypatch.setattr(gpu, "run_apart", here)
        arguments = ["gpu.py", "--small", "--steps", "1", "--out", str(tmp_path), *more]
        monkeypatch.setattr(sys, "argv", arguments)
        code: int = gpu.main()
        return code

    monkeypatch.syspath_prepend(str(BENCH))
    assert call("--cells", "int8", "--minutes", "0") == 1  # no time at all: nothing is begun
    assert ran == []
    wanted = ["rates", "t2i int8", "1024 int8", "int8 without table", "t2i int8 exact"]
    for text in wanted:
        assert call("--cells", text) == 1  # others are still missing
    assert ran == [*wanted[:3], "t2i int8 without table", "t2i int8 exact"]
    ran.clear()
    call("--cells", "half"), call("--cells", "without table"), call("--cells", "t2i plain")
    # only what is new
    assert ran == ["t2i int8 half swapped", "t2i bf16 without table", "t2i plain diffusers"]
    cell = json.loads((tmp_path / "t2i_int8_half_swapped.json").read_text())
    assert cell["error"] is None and cell["moves"] > 0 and cell["seconds"] > 0

    results = json.loads((tmp_path / "results.json").read_text())["cells"]
    failed = next(r for r in results if r["name"] == "1024 int8")
    assert failed["error"] == "out of memory" and "seconds" not in failed
    table = (tmp_path / "results.md").read_text()
    assert "| 1024 int8 | out of memory |" in table
    assert "| 512 nf4 | not measured yet |" in table
    assert "| t2i int8: table |" in table and "proves the script" in table


def _raise(error: Exception) -> Any:
    raise error


def test_a_child_that_dies_leaves_its_reason(gpu: Any, tmp_path: Path) -> None:
    args = Namespace(small=True, steps=1, out=tmp_path, musubi=None)
    unknown = gpu.Cell("no such cell", "t2i")
    place = gpu.path_of(tmp_path, unknown)
    gpu.run_apart(unknown, args, place)
    assert json.loads(place.read_text())["error"] == "StopIteration"
    assert gpu.is_done(place, unknown, args)  # not tried again unless asked


def test_the_slices_are_compared_in_one_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    slices = importlib.import_module("train_slices")
    out = tmp_path / "slices.json"
    few = ["--slices", "1", "--batches", "2", "--pairs", "2", "--side", "64"]
    small = ["--heads", "2", "--joint", "64", "--text", "8"]
    monkeypatch.setattr(sys, "argv", ["train_slices.py", *few, *small, "--out", str(out)])
    assert slices.main() == 0
    row = json.loads(out.read_text())["rows"][0]
    assert all(row[f"{way}_cpu_s"] > 0 and row[f"{way}_wall_ratio"] > 0 for way in slices.WAYS)
    assert row["bare_cpu_ratio"] == 1.0
    assert "| 1 | 2 |" in out.with_suffix(".md").read_text()
    before = out.read_bytes()
    monkeypatch.setattr(slices, "measure", lambda *_: _raise(AssertionError("measured again")))
    assert slices.main() == 0 and out.read_bytes() == before, "a stopped run goes on"
