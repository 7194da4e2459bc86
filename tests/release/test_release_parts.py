"""Workflow, kit, seals and proofs: each part of a bundle does what its reader needs."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import release_project as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from limner.cli import shell
from limner.errors import InputError, MissingExtraError
from limner.events import collect
from limner.models import lora, resolve_base, tensorfile
from limner.project import Project, files
from limner.release import (
    Signature,
    archiving,
    likeness,
    receipt,
    release,
    sheets,
    signing,
    verify,
    weights,
    workflow,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    project = make.build(tmp_path_factory.mktemp("parts") / "iris")
    return project, project.root / collect(release(project))["path"]


# ---- ComfyUI


def test_the_workflow_carries_the_measured_settings_in_both_formats(
    made: tuple[Project, Path],
) -> None:
    folder = made[1] / "comfyui"
    api = json.loads((folder / "workflow_api.json").read_text())
    by_kind = {n["class_type"]: n["inputs"] for n in api.values()}
    assert by_kind["LoraLoaderModelOnly"]["lora_name"] == "iris_v1.safetensors"
    assert by_kind["LoraLoaderModelOnly"]["strength_model"] == 1.0
    assert (by_kind["KSampler"]["steps"], by_kind["KSampler"]["cfg"]) == (12, 3.0)
    assert "CLIPTextEncode" in by_kind  # trained as text to image, so asked as text to image
    window = json.loads((folder / "workflow.json").read_text())
    nodes = {n["id"]: n for n in window["nodes"] if n["type"] != "Note"}
    assert sorted(n["type"] for n in nodes.values()) == sorted(
        n["class_type"] for n in api.values()
    )
    sampler = next(n for n in nodes.values() if n["type"] == "KSampler")
    assert sampler["widgets_values"] == [91, "fixed", 12, 3.0, "euler", "simple", 1.0]
    for number, source, output, target, slot, kind in window["links"]:
        assert nodes[source]["outputs"][output]["type"] == kind
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot] == {
            "name": nodes[target]["inputs"][slot]["name"], "type": kind, "link": number,
        }  # fmt: skip
    spots = [(tuple(n["pos"]), tuple(n["size"])) for n in window["nodes"]]
    for i, ((x, y), (w, h)) in enumerate(spots):  # no node covers another
        for (a, b), (c, d) in spots[i + 1 :]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
    note = next(n for n in window["nodes"] if n["type"] == "Note")["widgets_values"][0]
    assert "54 of 60" in note and "miniature base, which ComfyUI cannot load" in note


def test_an_edit_lora_gets_the_edit_node_and_a_reference() -> None:
    told = {
        "use": {"strength": 0.8}, "template": "edit", "samples": [],
        "subject": {"trigger": "iris_char"},
    }  # fmt: skip
    api = workflow.graph(told, "x.safetensors", {"steps": 25, "true_cfg_scale": 4.0})
    kinds = [n["class_type"] for n in api.values()]
    assert kinds.count("TextEncodeQwenImageEditPlus") == 2 and "LoadImage" in kinds
    window = workflow.window(api, "note")
    load = next(n for n in window["nodes"] if n["type"] == "LoadImage")
    assert load["widgets_values"] == ["reference.png", "image"]
    assert set(kinds) <= workflow.WIDGETS.keys() == workflow.OUTPUTS.keys()


# ---- Civitai, dataset


def test_the_kit_holds_every_field_of_the_form(made: tuple[Project, Path]) -> None:
    kit = made[1] / "civitai"
    told = json.loads((kit / "settings.json").read_text())
    assert told["trainedWords"] == ["iris_char"] and told["steps"] == 200
    assert told["strength"]["recommended"] == 1.0 and told["training"]["images"] == 5
    assert len(told["previews"]) == len(list(kit.glob("preview_*.png"))) == 12
    assert len({p["prompt"] for p in told["previews"][:3]}) == 3  # varied first
    for preview in told["previews"]:
        assert preview["parameters"] and preview["seed"] and (kit / preview["file"]).is_file()
    page = (kit / "description.html").read_text()
    assert "<h1>Iris</h1>" in page and "54 of 60" in page and "<script" not in page
    assert "drawings" in (kit / "checklist.md").read_text()
    assert told["baseModel"] == "Other", "the miniature is no Qwen"
    assert told["tags"] == ["character", "woman"]
    assert files.sha256_file(kit / "iris_v1.safetensors") == files.sha256_file(
        made[1] / "iris_v1.safetensors"
    )


def test_a_value_never_looks_equal_to_the_line_it_missed() -> None:
    assert (sheets.beside(0.5966, 0.6012), sheets.beside(0.6034, 0.6012)) == ("0.597", "0.603")
    assert sheets.beside(0.60003, 0.60012) == "0.6000" and sheets.beside(0.5, 0.5) == "0.500000"
    assert sheets.beside(0.41, 0.6012) == sheets.beside(0.41, None) == "0.41"


def test_a_checkpoint_without_a_seal_is_not_called_spoilt(
    made: tuple[Project, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *_) = made[0].store.checkpoints(1)
    bare = made[0].path(first.path)
    assert shell.run(["verify", str(bare)]) == 1
    said = capsys.readouterr().out
    assert "no seal" in said and "may be whole all the same" in said and "Do not use" not in said
    spoilt = bare.with_name("spoilt.safetensors")
    data = bytearray((made[1] / "iris_v1.safetensors").read_bytes())
    data[-1] ^= 1
    spoilt.write_bytes(data)
    assert shell.run(["verify", str(spoilt)]) == 1
    assert "Do not use it" in capsys.readouterr().out


def test_the_dataset_is_one_zip_of_pairs_with_its_lock(made: tuple[Project, Path]) -> None:
    project, folder = made
    with zipfile.ZipFile(folder / "iris_dataset.zip") as box:
        names = set(box.namelist())
        lock = json.loads(box.read("limner.lock.json"))
        for entry in lock["files"]:
            assert files.sha256_bytes(box.read(entry["path"])) == entry["sha256"]
    assert len(names) == len(lock["files"]) + 2 and "dataset.json" in names
    dataset = project.store.dataset()
    assert dataset is not None and dataset.lock == lock


def test_a_part_may_be_taken_out_whole_but_not_in_pieces(
    made: tuple[Project, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "v1"
    shutil.copytree(made[1], copy)
    shutil.rmtree(copy / "civitai")
    (copy / "iris_dataset.zip").unlink()
    assert verify(copy) == []
    shutil.copytree(made[1] / "civitai", copy / "civitai")
    (copy / "civitai/preview_03.png").unlink()
    assert [f["file"] for f in verify(copy)] == ["civitai/preview_03.png"]


# ---- proofs


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_one_changed_byte_anywhere_is_found(
    made: tuple[Project, Path], data: st.DataObject
) -> None:
    folder = made[1]
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    path = data.draw(st.sampled_from(paths))
    good = path.read_bytes()
    spot, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    bad = bytearray(good)
    bad[spot] ^= 1 << bit
    try:
        path.write_bytes(bad)
        named = {f["file"] for f in verify(folder)}
        assert path.relative_to(folder).as_posix() in named, (path.name, spot, bit)
    finally:
        path.write_bytes(good)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_lora_by_itself_shows_every_changed_byte(
    made: tuple[Project, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = (made[1] / "iris_v1.safetensors").read_bytes()
    alone = tmp_path_factory.mktemp("alone") / "x.safetensors"
    header = 8 + int.from_bytes(good[:8], "little")
    spot = data.draw(st.one_of(st.integers(0, header + 8), st.integers(0, len(good) - 1)))
    bad = bytearray(good)
    bad[spot] ^= 1 << data.draw(st.integers(0, 7))
    alone.write_bytes(good)
    assert verify(alone) == [] and verify(alone, made[0]) == []
    alone.write_bytes(bad)
    assert verify(alone), spot
    alone.write_bytes(good + b"!")
    assert verify(alone)
    shutil.rmtree(alone.parent)


def test_against_its_project_every_link_is_made_again(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    folder = project.root / collect(release(project))["path"]
    assert verify(folder, project) == [] and verify(folder / "iris_v1.safetensors", project) == []
    strings = [
        ("dataset/40_iris_char/img_002.txt", "link lock"),
        ("models/run_1/step_000200.safetensors", "link checkpoint"),
        ("renders/claim-step_000200-1.0-p1-91.png", "link verdict"),
    ]
    for name, link in strings:
        path = project.root / name
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert verify(folder, project)[0]["rule"] == link, name
        path.write_bytes(good)
    assert verify(folder, project) == []
    run = project.store.run()
    assert run is not None
    project.store.update_run(1, config={"run": {**run.config["run"], "rank": 64}})
    assert [f["rule"] for f in verify(folder, project)] == ["link run"]
    other = make.build(tmp_path / "other")
    said = verify(folder, other)
    assert said and said[-1]["text"] == "The project made no such bundle."


def test_a_receipt_nobody_can_read_is_a_finding_not_a_crash(
    made: tuple[Project, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "v1"
    shutil.copytree(made[1], copy)
    told = json.loads((copy / "receipt.json").read_text())
    for broken in ("[]", "{}", "null", '{"files": [], "chain": []}', "\udcff"):
        (copy / "receipt.json").write_text(broken, errors="surrogateescape")
        assert verify(copy)[0]["rule"] == "receipt"
        assert verify(copy, made[0])[0]["rule"] == "receipt"
    # a whole receipt, rightly hashed, whose chain names a file that is no document
    links = [*told["chain"][:-1]]
    links[1] = {**links[1], "file": "samples/01.png"}
    receipt.write(copy, links, "iris_v1.safetensors", {})
    assert any(f["rule"].startswith("link") for f in verify(copy))


# ---- bad LoRAs


def swap(project: Project, data: bytes) -> None:
    """Other bytes in place of the chosen checkpoint, recorded as if they had been trained."""
    path = project.root / "models/run_1/step_000200.safetensors"
    path.write_bytes(data)
    point = project.store.checkpoints(1)[1]
    project.store.put_checkpoint(replace(point, sha256=files.sha256_file(path)))


def test_half_written_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    path = project.root / "models/run_1/step_000200.safetensors"
    good = path.read_bytes()
    for bad, why in (
        (good[: len(good) // 2], "no whole safetensors"),
        (b"", "no whole safetensors"),
        (b"PK\x03\x04" + good, "safetensors"),
        (b"\x80\x02" + good, "safetensors"),
    ):
        swap(project, bad)
        with pytest.raises(InputError, match=why):
            collect(release(project))
    save_file({"unet.down.weight": np.ones((2, 2), np.float32)}, path)
    swap(project, path.read_bytes())
    with pytest.raises(InputError, match=r"unet\."):
        collect(release(project))
    assert not list((project.root / "release").glob("v*"))


def test_a_lora_of_another_base_is_refused(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    path = project.root / "models/run_1/step_000200.safetensors"
    parts = {
        f"transformer.transformer_blocks.0.attn.to_q.{half}.weight": np.ones(shape, np.float32)
        for half, shape in (("lora_A", (4, 8)), ("lora_B", (8, 4)))
    }
    save_file(parts, path, metadata={"limner.base_fingerprint": "f00d" * 16})
    swap(project, path.read_bytes())
    with pytest.raises(InputError, match="another base than its run"):
        collect(release(project))
    # by its shapes, where the base lies on this machine
    save_file(parts, path)
    swap(project, path.read_bytes())
    run, base = project.store.run(), resolve_base("miniature")
    assert run is not None
    config = {**run.config["run"], "base_fingerprint": base.fingerprint}
    project.store.update_run(1, config={"run": config})
    width = lora.base_modules(Path(base.path))["transformer_blocks.0.attn.to_q"][1]
    with pytest.raises(InputError, match=rf"8 -> 8, the base {width}"):
        collect(release(project))


# ---- C2PA


def test_signing_without_the_library_says_so_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make.build(tmp_path / "iris")
    monkeypatch.setattr(signing.importlib.util, "find_spec", lambda name: None)
    signature = Signature(tmp_path / "chain.pem", tmp_path / "key.pem")
    with pytest.raises(MissingExtraError, match="c2pa-python"):
        collect(release(project, signature=signature))
    assert not list((project.root / "release").iterdir())


def test_strengths_styles_and_outfits_stand_in_the_guide_as_measured(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 5)
    make.add_verdict(
        project,
        strengths=[{"strength": 0.6, "hits": 20, "n": 24, "interval": [0.626, 0.953]}],
        outfits=[{"outfit": "red_dress", "hits": 11, "n": 12, "interval": [0.6, 0.99]}],
        styles=[
            {"file": "boreal.safetensors", "strength": 0.6, "n": 24, "difference": -0.04,
             "interval": [-0.07, -0.01], "hits": 21, "alone_hits": 23},
            {"file": "gone.safetensors", "strength": 1.0, "n": 0, "difference": None},
        ],
    )  # fmt: skip
    folder = project.root / collect(release(project))["path"]
    guide, card = (folder / "USAGE.md").read_text(), (folder / "README.md").read_text()
    assert "  - strength 0.6: 20 of 24, 95 % interval 62.6 to 95.3 %" in guide
    said = "- boreal.safetensors at 0.6: identity -0.040, 95 % interval -0.070 to -0.010; "
    assert said + "the same person in 21 of 24, alone in 23" in guide and said in card
    assert "red dress: 11 of 12 show the same person" in guide and "gone" not in guide


@pytest.mark.parametrize(
    ("scope", "publish", "dataset"),
    [
        ("train and publish", True, False),
        ("train, publish, and give away the dataset", True, True),
        ("Publish; dataset", True, True),
        ("private use only; must never be published, no dataset", False, False),
        ("publish, but never the dataset", False, False),
        ("do not publish", False, False),
        ("I do not agree to training, publishing or sharing", False, False),
        ("no training, publish", False, False),
        ("publish only within the family", False, False),
        ("publishing forbidden", False, False),
        ("train only", False, False),
    ],
)
def test_consent_is_read_in_parts_and_a_no_is_a_no(
    tmp_path: Path, scope: str, publish: bool, dataset: bool
) -> None:
    consent = {"evidence": "mail 12", "date": "2026-01-02", "scope": scope}
    project = make.new_project(tmp_path / "p", likeness="consented_person", consent=consent)
    found = [likeness.allows(project, word) for word in (likeness.PUBLISH, likeness.DATASET)]
    assert found == [publish, dataset]


def test_a_big_archive_needs_few_open_files(tmp_path: Path) -> None:
    import resource

    found = {}
    for number in range(200):
        found[f"{number:03d}.txt"] = tmp_path / f"{number}.txt"
        found[f"{number:03d}.txt"].write_text(str(number))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "all.zip").open("wb") as raw:
        # a few beside what earlier tests of this process hold open
        highest = max(int(one.name) for one in Path("/dev/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
        try:
            archiving.lay_out(raw, archiving.of_files(found))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with zipfile.ZipFile(tmp_path / "all.zip") as box:
        assert len(box.namelist()) == 200 and box.read("007.txt") == b"7"


def test_a_trainers_folders_are_not_published(tmp_path: Path) -> None:
    run = make.build(tmp_path / "iris", stages=4)
    point = run.store.checkpoints(1)[0]
    path = tmp_path / "named.safetensors"
    named: dict[str, str | None] = {
        "ss_sd_model_name": "/home/ann b/models/qwen.safetensors",
        "ss_output_dir": "/home/ann",
        "ss_training_comment": "made in C:\\Users\\Ann B\\out",
        "ss_network_share": "\\\\server\\share\\ann\\x",
        "ss_home": "/Users/ann.b",
        "ss_mount": "--out=//nas/ann/x",
        "ss_note": "see https://example.org/a/b",
        "ss_tag_frequency": json.dumps(
            {"/home/someone/40_iris": {"head/shoulders": 3, "s:\\ o": 1}}
        ),
        "ss_datasets": json.dumps([{"image_dir": "C:\\Users\\Ann\\img", "repeats": 2}]),
    }
    lora.with_metadata(run.path(point.path), path, named)
    weights.write(weights.measured(path), tmp_path / "out.safetensors", {})
    told = tensorfile.header(tmp_path / "out.safetensors")[1]
    assert told["ss_sd_model_name"] == "qwen.safetensors"
    assert told["ss_note"] == named["ss_note"]
    # what managers of LoRAs read as JSON is JSON still, and no tag is lost
    tags = json.loads(told["ss_tag_frequency"])
    assert tags == {"folder_1": {"head/shoulders": 3, "s:\\ o": 1}}
    assert json.loads(told["ss_datasets"])[0]["repeats"] == 2
    assert not any("ann" in v.lower() for k, v in told.items() if k.startswith("ss_"))


def test_the_render_on_top_is_the_median_and_not_the_luckiest(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.project.records import Measure
    from limner.release import reading, story

    record = finished.store.verdict()
    assert record is not None
    read = reading.read(record)
    fresh = [r for r in story.chosen_renders(finished, read) if r.phase == "claim"]
    drawn = {r.id: value for r, value in zip(fresh, (0.9, 0.2, 0.6), strict=False)}
    assert len(drawn) == 3

    def scores(_: object, render: int) -> dict[str, Measure]:
        return {"identity_drawn": Measure("identity_drawn", drawn.get(render), "cosine", "no face")}

    monkeypatch.setattr(type(finished.store), "scores", scores)
    shown, cap = story._in_the_middle(finished, read)
    assert shown is not None and drawn[shown.id] == 0.6 and cap.endswith("median of 3")
