"""A trainer's own loader takes our files; run where its source is at hand, skipped elsewhere.

Set LIMNER_AITOOLKIT_SOURCE, LIMNER_MUSUBI_SOURCE or LIMNER_SIMPLETUNER_SOURCE to a checkout. Only
the modules that read configs are loaded.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.small_dataset import new
from limner.dataset import build
from limner.events import collect
from limner.pipeline.handover import export_dataset


def source(name: str) -> Path:
    """The checkout, or a skip with its reason."""
    key = f"LIMNER_{name}_SOURCE"
    folder = os.environ.get(key)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"{key} names no checkout: the loader of {name} is not here")
    return Path(folder)


def exported(tmp_path: Path, target: str, control: str) -> Path:
    project = new(tmp_path / "p", count=8)
    collect(build(project))
    out = tmp_path / "out"
    base = "Qwen/Qwen-Image" if (target, control) == ("simpletuner", "none") else ""
    collect(export_dataset(project, target, out, control=control, base=base, root=str(out)))
    return out


def _path(home: Path) -> str:
    """PYTHONPATH with the checkout first; what is in it already stays (its small packages)."""
    return os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("control", ["none", "self"])
def test_aitoolkit_reads_our_yaml(tmp_path: Path, control: str) -> None:
    """Its `get_config`, and the keys its config classes ask for by name."""
    home = source("AITOOLKIT")
    out = exported(tmp_path, "ai-toolkit", control)
    code = (
        "import sys, json\nfrom toolkit.config import get_config\n"
        "print(json.dumps(get_config(sys.argv[1], None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(out / "train.yaml")],
        cwd=home, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _path(home)},
    )  # fmt: skip
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"its loader needs {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    process = json.loads(done.stdout.splitlines()[-1])["config"]["process"][0]
    asked = _asked(home / "toolkit" / "config_modules.py")
    for section in ("network", "save", "train", "model", "sample", "logging"):
        assert set(process[section]) <= asked | {"name_or_path"}, section
    assert all(set(row) <= asked for row in process["datasets"])


def _asked(file: Path) -> set[str]:
    """Every key that the module takes from its keyword arguments, read without running it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if call and node.func.attr in ("get", "pop") and node.args:  # type: ignore[attr-defined]
            first = node.args[0]  # type: ignore[attr-defined]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        if isinstance(node, ast.arg):
            found.add(node.arg)
    return found


@pytest.mark.parametrize("control", ["none", "self"])
def test_musubi_reads_our_toml_and_knows_every_argument(tmp_path: Path, control: str) -> None:
    """Its `load_user_config` and sanitizer; arguments are looked up in its parsers' source."""
    home = source("MUSUBI")
    out = exported(tmp_path, "musubi", control)
    code = (
        "import sys, types\nsys.modules.setdefault('av', types.ModuleType('av'))\n"  # video only
        "from musubi_tuner.dataset import config_utils as c\n"
        "data = c.load_user_config(sys.argv[1])\n"
        "c.ConfigSanitizer().sanitize_user_config(data)\nprint('taken')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(out / "dataset.toml")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _path(home / "src")},
    )  # fmt: skip
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"its loader needs {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0 and "taken" in done.stdout, done.stderr[-2000:]
    known = "".join(p.read_text("utf-8") for p in (home / "src").rglob("*.py"))
    words = (out / "train.sh").read_text().split()
    ours = {w for w in words if w.startswith("--") and w != "--num_cpu_threads_per_process"}
    assert not {w for w in ours if f'"{w}"' not in known}


@pytest.mark.parametrize("control", ["none", "self"])
def test_simpletuner_knows_every_key_of_ours(tmp_path: Path, control: str) -> None:
    """Each key stands in its sources as an argument; it is too large to be run for this."""
    home = source("SIMPLETUNER")
    out = exported(tmp_path, "simpletuner", control)
    known = "".join(p.read_text("utf-8", errors="replace") for p in home.rglob("*.py"))
    for key in json.loads((out / "config.json").read_text()):
        assert f"--{key}" in known or f'"{key}"' in known, key
    for row in json.loads((out / "multidatabackend.json").read_text()):
        for key in row:
            assert f'"{key}"' in known, key
