"""A person releases another checkpoint than the verdict's: tied ones freely, others when told."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import release_project as make

from limner.cli import shell as cli
from limner.errors import UsageError
from limner.events import Notice, collect
from limner.models import tensorfile
from limner.project import Project
from limner.release import Pick, archive, release, standing, verify


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make.build(tmp_path / "iris")


def picked(project: Project, **wishes: Any) -> tuple[Path, dict[str, Any], list[str]]:
    said: list[str] = []
    value = collect(
        release(project, civitai=False, dataset=False, **wishes),
        lambda event: said.append(event.text) if isinstance(event, Notice) else None,
    )
    return project.root / value["path"], value, said


def test_a_tied_checkpoint_is_released_as_a_persons_choice(project: Project) -> None:
    bundle, value, said = picked(project, pick=Pick("300"))
    assert value["chosen"]["by"] == "person" and value["chosen"]["tied"] is True
    assert "A person chose step 300 at strength 1. The verdict chose step 200" in said[0]
    point = json.loads((bundle / "provenance/checkpoint.json").read_text())
    assert point["step"] == 300
    receipt = json.loads((bundle / "receipt.json").read_text())
    assert receipt["chosen"]["verdict_checkpoint"] == "step_000200"
    for name in ("README.md", "USAGE.md", "report.html"):
        text = (bundle / name).read_text()
        assert "A person chose step 300" in text and "too close to call" in text, name
    card = (bundle / "README.md").read_text()
    assert "Step 300 at strength 1, pictures of choosing, not fresh | 6 of 6" in card
    assert "Step 200 at strength 1, fresh seeds, the verdict's choice | 54 of 60" in card
    assert "**The same person" not in card  # that was said of another file
    header = tensorfile.header(bundle / value["lora"])[1]
    assert header["limner.chosen_by"] == "person" and header["limner.step"] == "300"
    assert header["limner.verdict"].startswith("chosen by a person, too close to call with it")
    samples = {json.loads(p.read_text())["step"] for p in bundle.glob("samples/*.json")}
    assert samples == {300}
    assert verify(bundle, project) == [] and verify(bundle / value["lora"], project) == []
    packed = Path(collect(archive(project, project.root.parent / "iris.limner.zip"))["path"])
    with zipfile.ZipFile(packed) as box:  # else the release could not be held against it
        inside = {name for name in box.namelist() if name.startswith("models/")}
    assert {Path(name).stem for name in inside} >= {"step_000200", "step_000300"}


def test_what_the_verdict_does_not_cover_must_be_told(project: Project) -> None:
    with pytest.raises(UsageError, match="dropped after 6 pictures") as refused:
        picked(project, pick=Pick("step_000100"))
    assert "step_000300 --strength 1" in str(refused.value.fix)
    with pytest.raises(UsageError, match="not among what it drew"):
        picked(project, pick=Pick("300", 0.6))
    with pytest.raises(UsageError, match="no checkpoint '7'") as unknown:
        picked(project, pick=Pick("7"), force=True)
    assert "step_000100" in str(unknown.value.fix)
    assert not (project.root / "release/v1").exists()
    bundle, value, _ = picked(project, pick=Pick("300", 0.6), force=True)
    assert value["chosen"]["tied"] is False and value["chosen"]["strength"] == 0.6
    card = (bundle / "README.md").read_text()
    assert "Strength 0.6" in card and "the verdict has no picture of it" in card
    window = (bundle / "comfyui/workflow.json").read_text()
    assert "Strength 0.6 was chosen by a person and not measured" in window
    assert verify(bundle, project) == []


def test_the_verdicts_own_choice_stays_the_verdicts(project: Project) -> None:
    bundle, value, said = picked(project, pick=Pick("step_000200.safetensors", 1.0))
    assert value["chosen"] == {"by": "verdict", "checkpoint": "step_000200", "strength": 1.0}
    assert said == [] and "**The same person" in (bundle / "README.md").read_text()


def test_what_is_sent_is_what_the_verdict_chose_or_what_is_named(project: Project) -> None:
    assert standing(project) is None  # nothing stands yet
    _, mine, _ = picked(project, pick=Pick("300"))
    with pytest.raises(UsageError, match=r"holds step_000300.*the verdict chose step_000200") as no:
        standing(project, repository="me/iris")
    for name in ("step_000300", "step_000200"):
        assert f"limner release --push-hf me/iris --checkpoint {name} --strength 1" in str(
            no.value.fix
        )
    assert standing(project, Pick("300")) == mine  # named, it is sent as it stands
    assert standing(project, Pick("300", 0.8)) is None and standing(project, Pick("200")) is None
    _, own, _ = picked(project)
    assert standing(project) == standing(project, Pick("200")) == own
    make.add_verdict(project)
    assert standing(project) is None  # of an older verdict


def test_a_checkpoint_that_is_not_there_is_said_before_the_verdict(project: Project) -> None:
    make.add_verdict(project, word="too close to call", outcome="too_close")
    with pytest.raises(UsageError, match="no checkpoint 'abc'") as refused:
        picked(project, pick=Pick("abc"))
    assert "step_000100, step_000200, step_000300" in str(refused.value.fix)


def test_from_the_command_line(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def limner(*args: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["-C", str(project.root), *args, "--json"])
        return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    code, told = limner("release", "--strength", "0.8")
    assert code == 2 and "--checkpoint" in told["error"]["what"]
    code, told = limner("release", "--checkpoint", "100", "--no-dataset")
    assert code == 2 and "does not cover" in told["error"]["what"]
    code, told = limner("release", "--checkpoint", "300", "--no-dataset", "--no-civitai")
    assert code == 0 and told["chosen"]["checkpoint"] == "step_000300"
    code, told = limner("release", "--push-hf", "me/iris")
    assert code == 2 and "--checkpoint step_000200" in told["error"]["fix"]
    address = "http://127.0.0.1:9/v1"  # nobody listens there
    code, told = limner(
        "advise", "--ask", "Is it overfit?", "--llm-url", address, "--llm-model", "m"
    )
    asked = told["asked"]
    assert code == 3 and asked["by"] == "rules" and "the rules answered" in asked["note"]
