"""The rules of the house that a machine can hold: small files, light imports, current docs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limner.errors import first_line

TOP = Path(__file__).resolve().parent.parent
CODE = [p for d in ("src", "tests", "scripts", "bench") for p in sorted((TOP / d).rglob("*.py"))]
HEAVY = {"torch", "cv2", "onnxruntime", "diffusers", "transformers", "dlib", "scipy", "pandas"}
MAX_LINES = 600
FAST_SECONDS = 0.3  # `limner --help` and `limner status`; the bound


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    long = {str(p.relative_to(TOP)): n for p in CODE if (n := _lines(p)) > MAX_LINES}
    assert not long


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def test_every_module_says_what_it_is_for() -> None:
    opening = ('"""', 'r"""')
    texts = {str(p.relative_to(TOP)): p.read_text() for p in CODE}
    silent = [name for name, text in texts.items() if text and not text.startswith(opening)]
    assert not silent


def test_an_error_without_words_is_still_an_error() -> None:
    """`"".splitlines()[0]` is a traceback; MemoryError and others say nothing."""
    assert first_line(MemoryError()) == "MemoryError" == first_line(MemoryError("\n"))
    assert first_line(OSError("no such\nfolder")) == "no such"
    texts = {str(p.relative_to(TOP)): p.read_text() for p in CODE if "src" in p.parts}
    assert not [n for n, text in texts.items() if re.search(r"error\)\.splitlines\(\)\[0\]", text)]


def test_nothing_that_ships_knows_the_machine_it_was_written_on() -> None:
    pattern = re.compile(r"/work/|/home/(?!me/|someone/)\w+/|/tmp/\w|\.\./shared|/root/")
    files = [*CODE, *(TOP / "docs").glob("*.md"), TOP / "README.md", TOP / "Makefile"]
    found = [
        f"{p.relative_to(TOP)}: {line.strip()}"
        for p in files
        if p != Path(__file__)
        for line in p.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    "statement",
    [
        "import limner.cli",
        "from limner.cli.shell import load_commands; load_commands()",
        "import limner.pipeline.stages",
    ],
)
def test_faces_load_nothing_heavy(statement: str) -> None:
    both = HEAVY | {"pydantic", "numpy", "ruamel", "rich", "PIL", "httpx"}
    assert not both & _loaded_by(statement)


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


STAGES = ("shots", "sources", "review", "captions", "dataset", "training", "evaluation", "release")


@pytest.mark.parametrize("package", [*STAGES, "render", "models", "vision", "atelier"])
def test_importing_a_stage_loads_no_heavy_library(package: str) -> None:
    assert not HEAVY & _loaded_by(f"import limner.{package}")


def test_generated_pages_are_current() -> None:
    spec = importlib.util.spec_from_file_location("build_docs", TOP / "scripts" / "build_docs.py")
    assert spec and spec.loader
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert (TOP / "docs/cli.md").read_text() == build.cli_reference(), "run `make docs`"
    assert (TOP / "docs/config.md").read_text() == build.config_reference(), "run `make docs`"


def test_every_page_of_the_manual_is_linked_and_every_link_leads_somewhere() -> None:
    docs = TOP / "docs"
    index = (docs / "index.md").read_text()
    pages = {p.name for p in docs.glob("*.md")} - {"index.md"}
    assert not {p for p in pages if f"({p})" not in index}
    for page in [*docs.glob("*.md"), TOP / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http", "mailto")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
