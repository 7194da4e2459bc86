"""LoRA files of another machine come into a project, by whichever trainer, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.small_dataset import new
from limner.cli import main
from limner.dataset import build
from limner.errors import InputError, LimnerError, UsageError
from limner.events import Notice, collect
from limner.models import lora, tensorfile
from limner.models.lora_convert import convert
from limner.models.tensorfile import Tensor
from limner.pipeline import status
from limner.project import Project
from limner.training.peers import headers
from limner.training.peers.adopting import take

AITK = {"software": json.dumps({"name": "ai-toolkit", "version": "0.12.26"})}
MUSUBI = {"ss_network_module": "networks.lora_qwen_image", "ss_learning_rate": "0.0002"}
PLUS = {"modelspec.architecture": "Qwen-Image-Edit-Plus-2x64/lora"}


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Project:
    made = new(tmp_path / "p", count=12)
    made.change_character(dataset__held_out=2, training__base=str(tiny_base))
    collect(build(made))
    return made


@pytest.fixture
def write(tmp_path: Path, tiny_base: Path) -> Any:
    """Write a LoRA of the tiny base as a trainer would: name, header, naming, alpha of rank 4."""
    shapes = lora.base_modules(tiny_base)
    chosen = [m for m in shapes if m.endswith(("attn.to_q", "attn.to_k"))]

    def make(
        name: str,
        header: Mapping[str, str] = {},
        *,
        seed: int = 0,
        to: Any = "diffusers",
        alpha: float | None = None,
        value: float | None = None,
        wider: int = 0,
    ) -> Path:
        rng, tensors = np.random.default_rng(seed), {}
        for module in chosen:
            out, within = shapes[module]
            for half, shape in (("A", (4, within + wider)), ("B", (out, 4))):
                values = rng.normal(size=shape) if value is None else np.full(shape, value)
                key = f"transformer.{module}.lora_{half}.weight"
                tensors[key] = tensorfile.encode(values.astype(np.float32), "F32")
        path = tmp_path / "theirs" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = path.with_suffix(".plain")
        tensorfile.write(plain, tensors, {**header, "format": "pt"})
        convert(plain, path, to)
        plain.unlink()
        if alpha is not None:  # as kohya's programs hold their scale
            had, told = tensorfile.read(path)
            scale = Tensor("F32", (), np.float32(alpha).tobytes())
            had = {k: scale if k.endswith(".alpha") else v for k, v in had.items()}
            tensorfile.write(path, had, told)
        return path

    return make


def _said(project: Project, *paths: Path, **wishes: Any) -> tuple[dict[str, Any], str]:
    events = list(take(project, paths, **wishes))
    notices = "\n".join(e.text for e in events if isinstance(e, Notice))
    return collect(iter(events)), notices


def test_a_folder_of_ai_toolkit_becomes_a_run_and_evaluation_is_next(
    project: Project, write: Any
) -> None:
    for seed, (name, step) in enumerate([("g_000000500", 500), ("g_000001000", 1000), ("g", 1500)]):
        info = {"training_info": json.dumps({"step": step, "epoch": 3})}
        write(
            name, {**AITK, **info, "ss_base_model_version": "qwen_image"}, seed=seed, to="comfyui"
        )
    (project.root / "models" / ".taking").mkdir()  # left by a kill
    found, notices = _said(project, project.root.parent / "theirs")
    assert [c["step"] for c in found["checkpoints"]] == [501, 1001, 1500]  # files count from 0
    assert "takes your word" in notices and "10 pictures" in notices and "2 held-out" in notices
    run = project.store.run()
    assert run is not None and (run.trainer, run.state) == ("elsewhere", "done")
    facts = run.config["run"]
    assert facts["origin"] == "trained elsewhere by ai-toolkit 0.12.26" and facts["steps"] == 1500
    assert facts["learning_rate"] is None and "learning rate" in facts["not_known"]
    for point in project.store.checkpoints(run.version):
        assert lora.info(project.path(point.path)).naming == "diffusers"
        assert point.data["loss"] is None and point.data["held_out_loss"] is None
    assert status(project)["next"].endswith("evaluate")
    assert sorted(p.name for p in (project.root / "models").iterdir()) == ["run_1"]
    again, notices = _said(project, project.root.parent / "theirs")
    assert again["run"] == 1 and not again["taken"] and "taken already" in notices
    assert _said(project, project.root.parent / "theirs", fresh=True)[0]["run"] == 2


def test_the_scale_of_musubi_tuner_is_folded_in_and_its_header_is_believed(
    project: Project, write: Any
) -> None:
    path = write("g-step00000500", MUSUBI, to="kohya", alpha=2.0)
    paths = {"ss_sd_model_name": str(path.parent / "model.safetensors"), "ss_steps": "800"}
    last = write("g", {**MUSUBI, **PLUS, **paths}, to="kohya", alpha=2.0, seed=1)
    found, _ = _said(project, path, last)
    assert [c["step"] for c in found["checkpoints"]] == [500, 800]
    taken, header = tensorfile.read(project.path(found["checkpoints"][0]["path"]))
    theirs = tensorfile.read(path)[0]
    up = next(k for k in taken if k.endswith("lora_B.weight"))
    same = "lora_unet_" + up.removeprefix("transformer.").removesuffix(".lora_B.weight")
    their_up = theirs[f"{same.replace('.', '_')}.lora_up.weight"]
    assert np.allclose(taken[up].floats(), their_up.floats() * 0.5)  # alpha 2 of rank 4
    assert not any(lora.absolute_path(v) for v in header.values())
    facts = project.store.run().config["run"]  # type: ignore[union-attr]
    assert facts["learning_rate"] == 0.0002 and "learning rate" not in facts["not_known"]
    assert facts["origin"] == "trained elsewhere by musubi-tuner"


def test_a_number_that_is_no_step_is_never_called_one(project: Project, write: Any) -> None:
    first, last = write("g-step00000500"), write("g", seed=1)
    copy = last.with_name("other.safetensors")
    copy.write_bytes(last.read_bytes())
    found, notices = _said(project, first, last, copy)
    assert [(c["step"], c["label"]) for c in found["checkpoints"]] == [
        (500, "step 500"),
        (501, "the last one, step not known"),
    ]
    assert "its place" in notices and "same weights as g.safetensors: left out" in notices
    facts = project.store.run().config["run"]  # type: ignore[union-attr]
    assert facts["steps"] is None and "steps" in facts["not_known"]
    found, notices = _said(project, write("g-000005", seed=2), write("g-000010", seed=3))
    assert found["counted_in"] == "epochs" and "their steps are not known" in notices


def test_what_a_header_says_against_the_dataset_is_said(project: Project, write: Any) -> None:
    dirs = {"ss_dataset_dirs": json.dumps({"40_x": {"n_repeats": 40, "img_count": 32}})}
    tags = {"ss_tag_frequency": json.dumps({"40_x": {"other_char": 32}})}
    _, notices = _said(project, write("g", {**dirs, **tags, "ss_steps": "900"}))
    assert "32 pictures; dataset 1 has 10" in notices and "trigger grace_char" in notices
    project.change_character(training__base="Qwen/Qwen-Image-Edit-2509")
    _, notices = _said(project, project.root.parent / "theirs")
    assert "not on this machine" in notices and project.store.run().version == 2  # type: ignore[union-attr]
    assert headers.pictures({**AITK, "ss_tag_frequency": '{"1_x": {"x": 1}}'}) is None


def _faults(write: Any) -> dict[str, list[Path]]:
    good = write("good-step00000100")
    pickled, cut = good.with_name("g.pt"), good.with_name("cut.safetensors")
    pickled.write_bytes(b"\x80\x02rest")
    cut.write_bytes(good.read_bytes()[:-10])
    return {
        "pickle": [good, pickled],
        "no whole safetensors": [good, cut],
        "NaN": [good, write("nan", {"ss_steps": "5"}, value=float("nan"))],
        "All weights are zero": [good, write("zero", {"ss_steps": "5"}, value=0.0)],
        "the file maps": [good, write("wide", {"ss_steps": "5"}, wider=8)],
        "another model: sdxl": [good, write("xl", {"ss_base_model_version": "sdxl_base_v1-0"})],
        "for Qwen-Image-Edit-2511": [
            write("e", {"modelspec.architecture": "Qwen-Image-Edit-2511/lora"})
        ],
        "with the edit template": [write("t", {"limner.template": "edit"})],
        "Two files are of step 100": [good, write("other-step00000100", seed=1)],
        "order of the files": [good, write("a", seed=1), write("b", seed=2)],
        "by steps and some by epochs": [good, write("a-000002", seed=1)],
    }


def test_one_file_at_fault_and_none_is_taken(project: Project, write: Any) -> None:
    for words, files in _faults(write).items():
        with pytest.raises(InputError) as caught:
            collect(take(project, files))
        told = caught.value
        assert words in told.what and told.where and "Nothing was taken" in str(told.fix), words
        assert project.store.run() is None and project.store.plan() is None
        assert not list((project.root / "models").iterdir())
    with pytest.raises(UsageError, match="nothing to take"):
        collect(take(project, [project.root / "nowhere"]))


def test_killed_before_its_records_are_written_it_begins_anew(project: Project, write: Any) -> None:
    path = write("g-step00000500")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom limner.project import Project\n"
        "from limner.events import collect\nfrom limner.training.peers.adopting import take\n"
        "move = Path.rename\n"
        "def cut(self, to):\n"
        "    move(self, to)\n"
        "    if Path(to).name == 'run_1':\n        os.kill(os.getpid(), 9)\n"
        "Path.rename = cut\n"
        "collect(take(Project.open(Path(sys.argv[1])), [Path(sys.argv[2])]))"
    )
    ours = subprocess.run([sys.executable, "-c", code, str(project.root), str(path)], check=False)
    assert ours.returncode == -signal.SIGKILL
    assert (project.root / "models" / "run_1").is_dir() and project.store.run() is None
    found, _ = _said(project, path)
    assert found["run"] == 1 and project.path(found["checkpoints"][0]["path"]).is_file()
    (project.root / "models" / "run_2").mkdir()  # somebody's own: never removed
    with pytest.raises(LimnerError, match="there already"):
        collect(take(project, [path], fresh=True))
    assert project.store.run(2) is None


def test_the_command_refuses_what_it_would_not_heed(
    project: Project, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("g-step00000500")
    with pytest.raises(SystemExit) as ended:
        main(["-C", str(project.root), "train", "--take", str(path), "--steps", "9"])
    assert ended.value.code == 2 and "--steps means nothing to --take" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["-C", str(project.root), "train", "--take", str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and told["checkpoints"][0]["step"] == 500


def test_an_unknown_trainer_is_named_before_what_it_would_not_heed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["-C", str(project.root), "train", "--with", "foo", "--stop-after", "1"])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "foo" in told and "ai-toolkit" in told
    assert "--stop-after means nothing" not in told
