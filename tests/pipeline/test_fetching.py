"""Models are fetched by the real hub client from a fake hub: sizes first, resumed, checked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.hub import COMMIT, Hub, serve
from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, Progress, collect
from limner.pipeline import fetching, machine

BIG = random.Random(1).randbytes(3_000_000)
FILES = {
    "model_index.json": b'{"_class_name": "QwenImageEditPlusPipeline"}',
    "transformer/config.json": b"{}",
    "transformer/part.safetensors": BIG,
    "transformer/old.bin": b"pickle",
    "README.md": b"# words",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(fetching, "SMALL", 1000)
    monkeypatch.setattr(fetching, "PAUSE_S", 0.01)
    return tmp_path


def files_sent(hub: Hub) -> list[tuple[str, str]]:
    """(path, range) of every file that was sent."""
    return [(p, r) for m, p, r in hub.asked if m == "GET" and "/resolve/" in p]


def test_sizes_come_first_and_only_safe_files_are_fetched(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Hub(dict(FILES))) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        dry = collect(fetching.fetch(["org/base"], dry_run=True))
        wanted = sum(len(FILES[n]) for n in FILES if n.endswith((".json", ".safetensors")))
        assert dry["models"][0]["missing"] == wanted and not files_sent(hub)
        events = list(fetching.fetch(["org/base"]))
        first = events[0]
        assert isinstance(first, Notice) and "0.00 GB in 3 files" in first.text
        assert any(isinstance(e, Progress) and e.done == e.total for e in events)
        folder = Path(collect(iter(events))["models"][0]["path"])
        assert folder.name == COMMIT and folder.is_relative_to(home)
        assert (folder / "transformer" / "part.safetensors").read_bytes() == BIG
        assert not (folder / "transformer" / "old.bin").exists()
        import huggingface_hub

        theirs = huggingface_hub.snapshot_download(
            "org/base", local_files_only=True, cache_dir=home / "hub", revision=COMMIT
        )
        assert Path(theirs) == folder  # the hub's own client finds it
        before = len(files_sent(hub))
        again = collect(fetching.fetch(["org/base"]))
        assert again["models"][0]["fetched"] == 0 and len(files_sent(hub)) == before


def test_a_killed_download_goes_on_where_it_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Hub({**FILES, "transformer/part.safetensors": BIG * 4})) as hub:
        hub.seconds_a_block = 0.03
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        command = [sys.executable, "-m", "limner", "doctor", "--model", "org/base"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        there = 0
        while there < 1_000_000:
            half = list(home.glob("hub/models--org--base/blobs/*.limner.part"))
            there = half[0].stat().st_size if half else 0
            assert time.monotonic() < until and run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        there = half[0].stat().st_size
        hub.seconds_a_block, hub.cut_after = 0.0, there + 2_000_000  # and the line breaks too
        found = collect(fetching.fetch(["org/base"]))
        ranges = [r for p, r in files_sent(hub) if p.endswith("part.safetensors")]
        assert next(r for r in ranges if r) == f"bytes={there}-" and len(ranges) == 3
        file = Path(found["models"][0]["path"]) / "transformer" / "part.safetensors"
        assert file.read_bytes() == BIG * 4 and not list(file.parent.rglob("*.part"))


def test_what_goes_wrong_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Hub(dict(FILES), wrong="transformer/part.safetensors")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(WorkFailedError, match="other bytes than the hub says"):
            collect(fetching.fetch(["org/base"]))
        hub.wrong = ""
        assert collect(fetching.fetch(["org/base"]))["models"][0]["fetched"] == len(BIG)
        with pytest.raises(InputError, match="no model org/none"):
            collect(fetching.fetch(["org/none"]))
        with pytest.raises(UsageError, match="no model of the hub"):
            collect(fetching.fetch(["./here"]))
        monkeypatch.setenv("HF_HOME", str(home / "other"))
        monkeypatch.setattr(fetching, "RESERVE_GB", 1e9)
        with pytest.raises(WorkFailedError, match="GB of disk are free"):
            collect(fetching.fetch(["org/base"]))
        hub.gated = True
        with pytest.raises(InputError, match="accepted its terms"):
            collect(fetching.fetch(["org/base"]))
    with pytest.raises(WorkFailedError, match="cannot be reached"):
        collect(fetching.fetch(["org/base"]))


def test_the_card_and_the_build_of_torch_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text('#!/bin/sh\necho "NVIDIA L40S, 46068, 45000, 570.1"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    build = {"version": "2.13.0+cpu", "cuda": None, "hip": None}
    monkeypatch.setattr(machine, "torch_build", lambda: build)
    found = machine.doctor(tmp_path)
    rows = {r["name"]: r for r in found["checks"]}
    assert "NVIDIA L40S" in rows["gpu"]["value"] and "45.0 GB" in rows["gpu"]["value"]
    assert not rows["torch"]["ok"] and "cannot use the GPU" in rows["torch"]["fix"]
    can = {r["what"]: r for r in found["can"]}
    assert can["train Qwen-Image-Edit-2509, text to image, 1024 px"]["precision"] == "bf16"
    build["cuda"] = "13.0"
    assert "torch" not in {f["name"] for f in machine.doctor(tmp_path)["findings"]}
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpus() is None and machine.abilities() == []


def test_a_project_says_which_model_its_plan_needs(tmp_path: Path) -> None:
    from limner.project import Project

    project = Project.create(
        tmp_path / "p", name="Mia", trigger="mia_char", class_word="woman", likeness="synthetic"
    )
    assert machine.doctor(project.root)["models"][0]["ok"]  # the miniature is in the package
    project.change_character(training__base=str(tmp_path / "none"))
    found = machine.doctor(project.root)
    assert [f["name"] for f in found["findings"] if f["name"] == "model"] == ["model"]
