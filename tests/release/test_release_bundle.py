"""A release proves where it came from, says only what was measured, and notices every change."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import release_project as make
from PIL import Image
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from limner.cli import shell
from limner.errors import InputError, NotReadyError, WorkFailedError
from limner.events import Notice, collect
from limner.models import lora, tensorfile
from limner.project import Project, files
from limner.release import pictures, receipt, release, verify, weights


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make.build(tmp_path_factory.mktemp("released") / "iris")
    return project.root / collect(release(project))["path"]


def test_the_bundle_holds_everything_and_verifies(bundle: Path) -> None:
    names = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert {
        "iris_v1.safetensors",
        "USAGE.md",
        "README.md",
        "report.html",
        "receipt.json",
        "limner.lock.json",
        "provenance/verdict.json",
        "samples/01.png",
        "comfyui/workflow.json",
        "comfyui/workflow_api.json",
        "civitai/settings.json",
        "civitai/description.html",
        "civitai/checklist.md",
        "civitai/iris_v1.safetensors",
        "iris_dataset.zip",
    } <= names
    assert verify(bundle) == []
    chain = json.loads((bundle / "receipt.json").read_text())["chain"]
    order = ["lock", "plan", "run", "checkpoint", "verdict", "bundle"]
    assert [link["link"] for link in chain] == order


def test_weights_become_bf16_nearest_and_say_what_they_are(bundle: Path) -> None:
    released = bundle / "iris_v1.safetensors"
    trained = bundle.parents[1] / "models/run_1/step_000200.safetensors"
    ours, theirs = tensorfile.read(released)[0], load_file(trained)
    assert ours.keys() == theirs.keys() and {t.dtype for t in ours.values()} == {"BF16"}
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor.floats(), theirs[name], rtol=2**-8)
    again = bundle / "again.safetensors"  # a bf16 checkpoint keeps its bytes
    again.write_bytes(released.read_bytes())
    assert weights.measured(again).released_sha256 == tensorfile.tensor_sha256(released)
    again.unlink()
    point = json.loads((bundle / "provenance/checkpoint.json").read_text())
    assert point["tensor_sha256"] == tensorfile.tensor_sha256(trained)
    assert point["rounded"] == "F32 -> BF16"
    with safe_open(released, "np") as opened:
        said = opened.metadata()
    assert said["limner.step"] == "200" and said["format"] == "pt"  # the trainer's own words stay
    assert said["limner.verdict"].startswith("the same person: 54 of 60")
    assert said["modelspec.trigger_phrase"] == "iris_char"
    assert said["modelspec.hash_sha256"] == "0x" + tensorfile.tensor_sha256(released)
    assert said["modelspec.sai_model_spec"] == "1.0.1" and said["ss_network_dim"] == "4"
    cover = said["modelspec.thumbnail"].removeprefix("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(cover))) as small:
        assert max(small.size) <= 256
    assert lora.check(released) == []
    lock = json.loads((bundle / "receipt.json").read_text())["chain"][0]["sha256"]
    assert said["limner.lock_sha256"] == lock


def test_guide_and_card_carry_measured_facts_only(bundle: Path) -> None:
    guide = (bundle / "USAGE.md").read_text()
    for head in (
        "Trigger Word",
        "Recommended Settings",
        "Example Prompts",
        "Compatible Style LoRAs",
        "Known Limitations",
    ):
        assert f"## {head}" in guide
    assert "54 of 60, 95 % interval 79.5 to 96.2 %" in guide
    assert "Second embedder (same pictures): not measured (not installed)" in guide
    assert "Compatible Style LoRAs\n\nNot tried." in guide
    card = (bundle / "README.md").read_text()
    front = YAML(typ="safe").load(card.split("---")[1])
    assert front["instance_prompt"] == "iris_char"
    for entry in front["widget"]:
        assert (bundle / entry["output"]["url"]).is_file()
    assert "drawings" in card.lower() and "small model" in card.lower()


def test_samples_are_the_trained_pixels_with_their_origin(bundle: Path) -> None:
    sample = json.loads((bundle / "samples/01.json").read_text())
    assert sample["phase"] == "claim" and sample["identity"] == 0.5
    data = (bundle / "samples/01.png").read_bytes()
    assert pictures.DIGITAL_SOURCE.encode() in data
    with Image.open(bundle / "samples/01.png") as opened:
        told = opened.info["parameters"]
    assert told.startswith("iris_char, happy, front view <lora:iris_v1:1>")
    assert "Steps: 12, Sampler: flow-match Euler, CFG scale: 3.0, Seed: 91, Size: 128x128" in told
    assert files.sha256_file(bundle / "iris_v1.safetensors")[:10] in told
    renders = (bundle.parents[1] / "renders").glob("claim-*-p1-91.png")
    with Image.open(next(renders)) as old, Image.open(bundle / "samples/01.png") as new:
        assert old.tobytes() == new.tobytes()


def test_any_changed_byte_is_found_and_the_first_broken_link_is_named(
    bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    assert verify(copy) == []
    rng = random.Random(7)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        good = path.read_bytes()
        spots = {0, len(good) - 1, *(rng.randrange(len(good)) for _ in range(2))}
        for spot in spots:
            bad = bytearray(good)
            bad[spot] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            named = [f["file"] for f in verify(copy)]
            assert path.relative_to(copy).as_posix() in named, f"{path.name} byte {spot}"
        path.write_bytes(good)
    receipt = (copy / "receipt.json").read_text()
    (copy / "receipt.json").write_text(receipt.replace("\n ", "\n  ", 1))  # no value changes
    assert [f["rule"] for f in verify(copy)] == ["receipt"]
    (copy / "receipt.json").write_text(receipt)
    # the chain is walked from the lock on: with two broken links the earlier one comes first
    for name in ("provenance/verdict.json", "provenance/plan.json"):
        (copy / name).write_text((copy / name).read_text() + " ")
    assert verify(copy)[0]["rule"] == "link plan"
    (copy / "stranger.txt").write_text("hello")
    assert "stranger.txt" in [f["file"] for f in verify(copy)]


def test_a_forged_table_does_not_mend_the_chain(bundle: Path, tmp_path: Path) -> None:
    """Someone swaps the weights and writes every hash of the file table and the receipt anew."""
    from limner.release import receipt

    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    file = copy / "iris_v1.safetensors"
    tensors, header = tensorfile.read(file)
    turned = {k: replace(t, data=t.data[::-1]) for k, t in tensors.items()}
    tensorfile.write(file, turned, header, keep_order=True)
    told = json.loads((copy / "receipt.json").read_text())
    facts = {k: told[k] for k in ("made_at", "limner", "character", "release")}
    receipt.write(copy, told["chain"][:-1], file.name, facts)
    assert [f["rule"] for f in verify(copy)] == ["link bundle"]

    # another plan, with all tables made new: the run still names the plan it followed
    shutil.rmtree(copy)
    shutil.copytree(bundle, copy)
    plan = copy / "provenance/plan.json"
    plan.write_text(plan.read_text().replace("300", "999"))
    links = told["chain"][:-1]
    links[1]["sha256"] = files.sha256_file(plan)
    receipt.write(copy, links, file.name, facts)
    assert [(f["rule"], f["file"]) for f in verify(copy)] == [("link run", "provenance/run.json")]


def test_no_verdict_no_release_unless_forced_and_then_it_says_so(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 5)
    with pytest.raises(NotReadyError, match="no verdict"):
        collect(release(project))
    seen: list[object] = []
    value = collect(release(project, force=True), seen.append)
    folder = project.root / value["path"]
    assert "Not evaluated." in (folder / "README.md").read_text()
    assert "Strength: not measured" in (folder / "USAGE.md").read_text()
    assert any(isinstance(e, Notice) and "Nothing was evaluated" in e.text for e in seen)
    assert tensorfile.header(folder / value["lora"])[1]["limner.verdict"] == "not evaluated"
    assert verify(folder) == []


def test_a_changed_dataset_or_lora_is_refused(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    caption = project.root / "dataset/40_iris_char/img_001.txt"
    good = caption.read_bytes()
    caption.write_bytes(good + b"x")
    with pytest.raises(InputError, match=r"img_001\.txt has changed"):
        collect(release(project))
    assert any(f["rule"] == "link lock" for f in verify(project.root))
    caption.write_bytes(good)
    stranger = caption.with_name("img_099.txt")
    stranger.write_text("iris_char, one more")
    with pytest.raises(InputError, match=r"img_099\.txt is new"):
        collect(release(project))
    stranger.unlink()
    project.change_character(trigger="other_char")
    with pytest.raises(InputError, match="trigger has changed"):
        collect(release(project))
    project.change_character(trigger="iris_char")
    lora = project.root / "models/run_1/step_000200.safetensors"
    data = lora.read_bytes()
    lora.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match="changed since it was trained"):
        collect(release(project))
    lora.write_bytes(data)
    assert verify(project.root) == []
    assert not list((project.root / "release").glob("v*"))


def test_a_killed_release_leaves_nothing_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make.build(tmp_path / "iris")
    running = release(project)
    next(running), next(running)
    running.close()
    assert project.store.release() is None
    assert not (project.root / "release/v1").exists()
    monkeypatch.setattr(project.store, "add_release", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # killed between the folder and its record
        collect(release(project))
    monkeypatch.undo()
    value = collect(release(project))
    assert value["version"] == 1 and verify(project.root / value["path"]) == []
    assert collect(release(project))["version"] == 2


def test_only_the_same_person_is_released_without_force(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 5)
    sentence = "Not enough evidence: 12 pictures are too few."
    make.add_verdict(project, outcome="not_enough", sentence=sentence)
    with pytest.raises(NotReadyError, match="12 pictures are too few"):
        collect(release(project))
    folder = project.root / collect(release(project, force=True))["path"]
    assert f"**{sentence}**" in (folder / "README.md").read_text()


def test_a_lora_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    path = project.root / "models/run_1/step_000200.safetensors"
    save_file({k: v * 0 for k, v in load_file(path).items()}, path)
    found = project.store.checkpoints(1)[1]
    project.store.put_checkpoint(replace(found, sha256=files.sha256_file(path)))
    with pytest.raises(InputError, match="changes nothing"):
        collect(release(project))


def test_a_person_is_released_only_as_far_as_they_agreed(tmp_path: Path) -> None:
    consent = {"evidence": "consent.pdf", "date": "2026-01-02", "scope": "train only"}
    project = make.build(tmp_path / "iris", likeness="consented_person", consent=consent)
    with pytest.raises(InputError, match="may be published"):
        collect(release(project))
    project.change_character(consent__scope="train and publish")
    with pytest.raises(InputError, match="consent file is missing"):
        collect(release(project))
    (project.root / "consent.pdf").write_bytes(b"signed")
    folder = project.root / collect(release(project))["path"]
    told = json.loads((folder / "receipt.json").read_text())["character"]
    assert told["likeness"] == "consented_person" and len(told["consent"]["evidence_sha256"]) == 64
    assert "No real person" not in (folder / "README.md").read_text()
    assert not (folder / "limner.lock.json").exists()  # it names the consent
    assert verify(folder) == [] and verify(folder, project) == []
    # no kit for a site that takes no people, no training pictures without the word
    assert not (folder / "civitai").exists() and not (folder / "iris_dataset.zip").exists()
    with pytest.raises(InputError, match="no models of real people"):
        collect(release(project, civitai=True))
    project.change_character(consent__scope="train, publish, and give away the dataset")
    assert collect(release(project))["parts"] == ["iris_dataset.zip"]
    project.change_character(consent__revoked="2026-05-06")
    with pytest.raises(InputError, match="taken back on 2026-05-06"):
        collect(release(project, force=True))


def test_nothing_of_this_machine_is_published(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    run = project.store.run()
    assert run is not None
    private = str(tmp_path / "iris" / "bases" / "my_base")
    project.store.update_run(1, config={"run": {**run.config["run"], "base": private}})
    folder: Path = project.root / collect(release(project))["path"]
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name
    assert "my_base" in (folder / "provenance/run.json").read_text()


def test_reopened_project_reads_the_release(bundle: Path) -> None:
    project = Project.open(bundle.parents[1])
    record = project.store.release()
    assert record is not None and record.verdict_version == 1
    assert verify(project.root) == []


def test_a_project_names_every_changed_picture_and_its_cure(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    assert verify(project.root) == []
    take = project.store.kept()[0]
    render = project.store.renders(1, state="done")[0]
    for path in (take.path, render.path):
        project.path(path or "").write_bytes(b"changed")
    found = {f["rule"]: f for f in verify(project.root)}
    assert set(found) == {"link take", "link verdict"}
    assert f"limner reject {take.id}" in found["link take"]["fix"]
    assert "limner evaluate" in found["link verdict"]["fix"]
    with pytest.raises(InputError, match=r"1 of the .* pictures that the verdict rests on") as told:
        collect(release(project, force=True))
    assert "limner evaluate" in str(told.value.fix) and project.store.release() is None


def test_a_bundle_that_fails_halfway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make.build(tmp_path / "iris")

    def full(*_: object) -> None:
        raise WorkFailedError("The disk is full")

    monkeypatch.setattr(receipt, "write", full)
    with pytest.raises(WorkFailedError, match="disk is full"):
        collect(release(project))
    folder = project.root / "release"
    assert not folder.is_dir() or not list(folder.rglob("*.safetensors"))
    assert not list(project.root.rglob("*.part*")) and project.store.release() is None
    monkeypatch.undo()
    assert verify(project.root / collect(release(project))["path"]) == []


@pytest.mark.parametrize("wrong", ["nan", "0", "-1", "2.5", "inf"])
def test_a_strength_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    project = make.build(tmp_path / "iris")
    order = ["-C", str(project.root), "release", "--checkpoint", "200", f"--strength={wrong}"]
    assert shell.run([*order, "--force"]) == 2
    assert project.store.release() is None
