"""A folder of pictures and captions: every fault a trainer stumbles over, by file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.cli import shell
from limner.training.lint import check

CAPTIONS = [
    "grace_char, close-up portrait, black turtleneck, indoor setting, serene expression",
    "grace_char, full body shot, red coat, city street, walking, playful smile",
    "grace_char, waist-up shot, blue shirt, kitchen, holding a cup, calm expression",
    "grace_char, half-body shot, green dress, garden, sitting on a bench, warm smile",
]


def picture(path: Path, number: int, size: tuple[int, int] = (1152, 1152)) -> None:
    Image.new("RGB", size, (number * 20 % 255, 90, 120)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    made.mkdir()
    for number in range(10):
        picture(made / f"img_{number:03d}.png", number)
        text = CAPTIONS[number % 4].replace("shot", "shot" + " again" * (number // 4))
        (made / f"img_{number:03d}.txt").write_text(f"{text}, scene {number}\n", "utf-8")
    return made


def by_file(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(r["rule"], r["file"].rpartition("/")[2]) for r in found["findings"]}


def test_a_good_folder_has_no_findings(folder: Path) -> None:
    found = check(folder)
    assert found["findings"] == [] and found["files"] == ["dataset"]


def test_every_fault_of_a_folder_is_told_by_file(folder: Path) -> None:
    picture(folder / "img_000.png", 0, (900, 1200))
    (folder / "img_001.txt").unlink()
    (folder / "img_002.txt").write_text("close-up portrait, black turtleneck, café")
    (folder / "img_003.txt").write_bytes(b"\xef\xbb\xbfgrace_char, full body shot\nsecond line")
    (folder / "img_004.txt").write_text("grace_char, portrait, brown eyes, 85mm, bokeh")
    (folder / "img_005.txt").write_text("   ")
    (folder / "img_006.txt").write_text("a portrait of grace_char, red coat")
    (folder / "img_007.png").write_bytes((folder / "img_008.png").read_bytes())
    (folder / "img_009.png").write_bytes((folder / "img_009.png").read_bytes()[:200])
    (folder / "extra.txt").write_text("grace_char, nobody")
    picture(folder / "my pic.png", 77)
    (folder / "my pic.txt").write_text("grace_char, evening, red_dress, dancing, laughing, park")
    Image.new("RGB", (2000, 2000), (1, 2, 3)).save(folder / "cut.jpg", quality=90)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-300])
    (folder / "cut.txt").write_text("grace_char, sitting, blue coat, office, thoughtful look")
    (folder / "old.bmp").write_bytes(b"BM")
    found = check(folder)
    wanted = {
        ("small-picture", "img_000.png"),
        ("missing-caption", "img_001"),
        ("trigger-missing", "img_002.txt"),
        ("caption-form", "img_003.txt"),
        ("identity-leak", "img_004.txt"),
        ("camera-words", "img_004.txt"),
        ("empty-caption", "img_005.txt"),
        ("trigger-place", "img_006.txt"),
        ("duplicate-picture", "img_008.png"),
        ("broken-picture", "img_009.png"),
        ("orphan-caption", "extra.txt"),
        ("spaces-in-name", "my pic.png"),
        ("underscore-tag", "my pic.txt"),
        ("broken-picture", "cut.jpg"),
        ("picture-type", "old.bmp"),
    }
    assert wanted <= by_file(found), wanted - by_file(found)
    assert found["fixed"]["dataset/img_002.txt"].startswith("grace_char, close-up")
    assert found["fixed"]["dataset/img_003.txt"] == "grace_char, full body shot second line\n"
    assert found["fixed"]["dataset/img_006.txt"].startswith("grace_char, a portrait of")


def test_a_term_in_most_captions_and_equal_captions_are_told(folder: Path) -> None:
    for file in folder.glob("*.txt"):
        file.write_text(file.read_text().strip() + ", natural lighting")
    (folder / "img_001.txt").write_text((folder / "img_000.txt").read_text())
    rules = {r["rule"]: r["what"] for r in check(folder)["findings"]}
    assert '"natural lighting" stands in 10 of 10' in rules["frequent-term"]
    assert "duplicate-caption" in rules
    (folder / "img_002.txt").write_text("grace_char, realistic_body, hands, standing")
    assert "body-tag" in {r["rule"] for r in check(folder)["findings"]}


def test_a_setup_beside_its_folders_is_checked_with_them(tmp_path: Path, folder: Path) -> None:
    from setups import AITOOLKIT

    control = tmp_path / "ctrl"
    control.mkdir()
    for file in sorted(folder.glob("*.png"))[1:]:
        picture(control / file.name, 5)
    text = AITOOLKIT.replace("arch: qwen_image", "arch: qwen_image_edit_plus")
    text = text.replace("caption_ext: txt", "control_path: ctrl")
    text = text.replace("dataset/grace_char", "dataset")
    (tmp_path / "train.yaml").write_text(text)
    found = check(tmp_path / "train.yaml")
    assert ("control-pair", "img_000.png") in by_file(found)
    (folder / "img_003.txt").write_text("someone, full body shot, red coat, city, walking")
    found = check(tmp_path)
    assert {("trigger-missing", "img_003.txt"), ("control-pair", "img_000.png")} <= by_file(found)
    assert "train.yaml" in found["files"] and "train.yaml" in found["fixed"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert by_file(check(empty)) == {("unknown-file", "empty")}


def test_the_guides_folder_name_is_explained(tmp_path: Path, folder: Path) -> None:
    made = tmp_path / "project"
    made.mkdir()
    folder.rename(made / "40_grace_char")
    found = check(made)
    assert found["findings"] == []
    assert [n["rule"] for n in found["notes"]] == ["folder-repeats"]


def test_a_fault_of_many_pictures_is_said_once_to_people(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        picture(folder / f"img_{number:03d}.png", number, (512, 512))
    assert shell.run(["check", str(folder)]) == 1
    said = [x for x in capsys.readouterr().out.splitlines() if "small-picture" in x]
    assert len(said) == 1 and "img_002.png and 7 more" in said[0]
    assert shell.run(["check", str(folder), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert sum(row["rule"] == "small-picture" for row in rows) == 10


def test_a_zip_or_a_picture_is_named_as_what_it_is(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", 1)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as z:
        z.writestr("a.txt", "a")
    for name, word in (("p.png", "A picture"), ("set.zip", "A zip")):
        (row,) = check(tmp_path / name)["findings"]
        assert row["rule"] == "unknown-file" and word in row["what"]
