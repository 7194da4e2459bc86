"""A Soul ID: made once from a folder, never twice, however the making is cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_higgsfield import KEY, SECRET, FakeHiggsfield, Fault
from PIL import Image

from limner.cli import shell
from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.project import Project
from limner.sources import LaterError, create_soul_id, generate

Grace = Callable[..., Project]


def faces(folder: Path, count: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = Image.new("RGB", (80, 96), (40 * number % 255, 90, 120))
        exif = Image.Exif()
        exif[0x010E] = "taken at home"
        picture.save(folder / f"face_{number:03d}.jpg", exif=exif)
    return folder


def make(project: Project, folder: Path, fake: FakeHiggsfield) -> dict[str, Any]:
    found = collect(create_soul_id(project, folder, base_url=fake.url))
    assert isinstance(found, dict)
    return found


def test_a_soul_id_is_trained_and_used(
    grace: Grace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = grace()
    with FakeHiggsfield(picture=(64, 64), times=(0.002, 0.002), v1=("pair",)) as fake:
        args = ["-C", str(project.root), "soul-id", "create", str(faces(tmp_path / "faces"))]
        assert shell.run([*args, "--base-url", fake.url, "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["model_version"] == "v2" and found["created"] and found["pictures"] == 3
        project = Project.open(project.root)
        assert project.character.source.higgsfield.soul_id == found["id"]
        made = fake.references[found["id"]]
        assert made.version == "v2" and made.name.startswith("grace_char-v2-")
        assert len(made.images) == 3 == len(fake.uploads)
        assert not [data for data in fake.uploads.values() if b"taken at home" in data]
        puts = [h for m, _, h, _ in fake.requests if m == "PUT"]
        assert not [h for h in puts if "Authorization" in h or "hf-secret" in h]
        options = {"name": "higgsfield", "base_url": fake.url, "max_cost": 1.0, "limit": 1}
        collect(generate(project, **options))
        body = fake.submits()[0][1]
        assert body["custom_reference_id"] == found["id"]
        assert body["custom_reference_strength"] == 1.0
        project.change_character(source__higgsfield__model="soul/cinema")
        told = [e.text for e in generate(project, **options) if isinstance(e, Notice)]
        assert any("does the Soul ID belong to this family?" in text for text in told)
    project.store.close()
    files = [p.read_bytes() for p in project.root.rglob("*") if p.is_file()]
    assert not [data for data in files if SECRET.encode() in data or KEY.encode() in data]


def test_a_making_cut_short_is_found_again_by_its_name(grace: Grace, tmp_path: Path) -> None:
    """The service has no idempotency here: a lost answer must not become a second Soul ID."""
    project, folder = grace(), faces(tmp_path / "faces", 12)
    lost = Fault("POST /v1/custom-references", 0, after=True)
    with FakeHiggsfield(times=(0.002, 0.002), faults=[lost]) as fake:
        with pytest.raises(LaterError, match="not known"):
            make(project, folder, fake)
        found = make(project, folder, fake)
        assert len(fake.references) == 1 and not found["created"]
        assert make(project, folder, fake)["id"] == found["id"] and len(fake.references) == 1
        assert len(fake.uploads) == 12  # not uploaded again either
    with FakeHiggsfield(times=(0.002, 0.002)) as fake:  # a list of two pages
        other = grace("other")
        fake.uploads["y"] = b""
        for number in range(60):
            body = {"name": f"old {number}", "input_images": [{"image_url": "x/y"}]}
            fake._reference(None, "POST", [], body)  # type: ignore[arg-type]
        make(other, folder, fake)
        pages = [p for m, p, _, _ in fake.requests if p.endswith("/list")]
        assert len(pages) == 2


def test_poor_pictures_and_failures_are_said(grace: Grace, tmp_path: Path) -> None:
    project, folder = grace(), faces(tmp_path / "faces")
    with FakeHiggsfield(times=(0.002, 0.002), v1=("key",)) as fake:
        fake.reference_fails = "two people in a picture"
        run = create_soul_id(project, folder, base_url=fake.url)
        told = []
        with pytest.raises(WorkFailedError, match="two people in a picture"):
            for event in run:
                told += [event.text] if isinstance(event, Notice) else []
        assert any("Only 3 pictures" in t for t in told) and any("1024 px" in t for t in told)
        assert any("right to use every face" in t for t in told)
        assert any("no face was found in 3" in t or "not looked for" in t for t in told)
        assert project.character.source.higgsfield.soul_id == ""
        fake.reference_fails = ""
        assert make(project, folder, fake)["name"].endswith("-2")
    with FakeHiggsfield() as fake:
        with pytest.raises(InputError, match="0 pictures"):
            make(project, tmp_path, fake)
        (folder / "face_001.jpg").write_bytes(b"no picture")
        with pytest.raises(InputError, match="no picture") as error:
            make(project, folder, fake)
        assert "face_001.jpg" in str(error.value) and not fake.requests
        with pytest.raises(UsageError, match="no such folder"):
            make(project, tmp_path / "none", fake)
