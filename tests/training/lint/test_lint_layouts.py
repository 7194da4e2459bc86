"""Folders that a setup names are looked into, whatever the trainer; other layouts are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.training.lint import check


def pictures(folder: Path, names: list[str], *, captions: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (1152, 1152), (number, 1, 2)).save(folder / f"{name}.png")
        if captions:
            (folder / f"{name}.txt").write_text(f"mia_char, picture {number}")


def rules(found: dict[str, Any], severity: str = "error") -> list[tuple[str, str]]:
    return [(r["rule"], r["file"]) for r in found["findings"] if r["severity"] == severity]


NAMES = [f"p{n:02d}" for n in range(12)]


def test_musubis_folders_captions_and_controls_are_checked(tmp_path: Path) -> None:
    pictures(tmp_path / "data", NAMES)
    pictures(tmp_path / "ctrl", NAMES[:-1], captions=False)
    (tmp_path / "data" / "p03.txt").unlink()
    file = tmp_path / "dataset.toml"
    file.write_text(
        '[general]\nresolution = [1024, 1024]\ncaption_extension = ".txt"\n'
        '[[datasets]]\nimage_directory = "data"\ncontrol_directory = "ctrl"\n'
        'control_resolution = [1024, 1024]\ncache_directory = "cache"\nnum_repeats = 1\n'
    )
    assert rules(check(file)) == [
        ("missing-caption", "data/p03"),
        ("control-pair", "data/p11.png"),
    ]
    assert rules(check(tmp_path)) == rules(check(file))  # told once, by the file that names them


def test_simpletuners_folders_too(tmp_path: Path) -> None:
    pictures(tmp_path / "data", NAMES)
    pictures(tmp_path / "refs", NAMES[1:], captions=False)
    rows = [
        {"id": "mia", "type": "local", "instance_data_dir": "data", "conditioning_data": "refs",
         "caption_strategy": "textfile", "cache_dir_vae": "c"},
        {"id": "refs", "type": "local", "dataset_type": "conditioning",
         "conditioning_type": "reference_loose", "instance_data_dir": "refs"},
        {"id": "text", "type": "local", "dataset_type": "text_embeds", "default": True,
         "cache_dir": "t"},
    ]  # fmt: skip
    file = tmp_path / "multidatabackend.json"
    file.write_text(json.dumps(rows))
    assert rules(check(file)) == [("control-pair", "data/p00.png")]


def test_captions_of_metadata_jsonl_are_read_from_it(tmp_path: Path) -> None:
    pictures(tmp_path / "train", NAMES, captions=False)
    lines = [json.dumps({"file_name": f"{n}.png", "text": f"mia_char, {n}"}) for n in NAMES[:-2]]
    lines += ['{"file_name": "gone.png", "text": "mia_char"}', "{", '{"file_name": 3, "text": ""}']
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(lines))
    found = check(tmp_path)
    assert ("missing-caption", "train/p11.png") in rules(found)
    assert ("syntax", "train/metadata.jsonl") in rules(found)
    gone = [r for r in found["findings"] if r["rule"] == "orphan-caption"]
    assert [(r["line"], r["what"]) for r in gone] == [(11, "There is no picture gone.png")]
    assert not found["fixed"]


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ('image_dir = "train/40_mia"\nnum_repeats = 40\ncaption_extension = ".txt"', []),
        ('image_dir = "train/40_mia"\nnum_repeats = 2\ncaption_extension = ".txt"',
         ["folder-repeats"]),
        ('image_dir = "train/40_mia"\nnum_repeats = 40', ["missing-caption"]),
        ("num_repeats = 40", ["no-folder"]),
    ],
)  # fmt: skip
def test_kohyas_toml_is_known(tmp_path: Path, subset: str, expected: list[str]) -> None:
    pictures(tmp_path / "train" / "40_mia", NAMES)
    file = tmp_path / "dataset.toml"
    file.write_text(f"[[datasets]]\nresolution = 1024\n[[datasets.subsets]]\n{subset}\n")
    found = check(file)
    assert found["kind"] == "kohya"
    assert [r["rule"] for r in found["findings"]] == expected


def test_references_may_be_small_and_repeat(tmp_path: Path) -> None:
    folder = tmp_path / "data_control"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (512, 512)).save(folder / f"{name}.png")
    assert check(folder)["findings"] == []
