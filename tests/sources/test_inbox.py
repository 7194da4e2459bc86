"""Pictures made elsewhere: found, matched to shots, shown, and taken in a plain form."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.cli import shell
from limner.errors import InputError, UsageError
from limner.events import collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.project.records import Shot
from limner.sources import inbox, realism
from limner.sources.atelier import DRAWING
from limner.sources.intake import stage
from limner.sources.intake.matching import Candidate, match
from limner.sources.intake.opening import INBOX

Grace = Callable[..., Project]


def picture(path: Path, color: int, **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (96, 96), (color, 80, 255 - color)).save(path, **save)
    return path


def run(project: Project, path: Path, **more: Any) -> dict[str, Any]:
    found = collect(inbox(project, path, **more))
    assert isinstance(found, dict)
    return found


def pairs(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {p["file"]: (p["shot"], p["by"]) for p in found["pairs"]}


def test_of_equal_files_the_one_whose_name_tells_is_taken(grace: Grace, tmp_path: Path) -> None:
    project = grace()
    drop = tmp_path / "drop"
    for name in ("copy of the best.png", "mine too.png", "shot_003.png", "zz.png"):
        picture(drop / name, 9)
    found = run(project, drop)
    assert pairs(found) == {"shot_003.png": ("shot_003", "name")}
    left = {row["file"]: row["reason"] for row in found["leftovers"]}
    assert set(left) == {"copy of the best.png", "mine too.png", "zz.png"}
    assert set(left.values()) == {"the same file as shot_003.png"}
    asked = project.store.shot("shot_003")
    assert asked is not None
    project.store.update_shot("shot_003", prompt="another one")
    later = project.store.shot("shot_003")
    assert later is not None and project.store.take(found["takes"][0]).asked(later) == asked


def test_pictures_find_their_shots_are_shown_and_taken_once(
    grace: Grace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = grace(source__short_side=128)
    shots = project.store.shots()
    drop = tmp_path / "drop"
    info = PngInfo()
    info.add_text("parameters", f"{shots[0].prompt}\nNegative prompt: blurry\nSteps: 20, Seed: 1")
    picture(drop / "a1111.png", 1, pnginfo=info)
    graph = PngInfo()
    graph.add_text("prompt", json.dumps({"6": {"inputs": {"text": shots[1].prompt}}}))
    picture(drop / "comfy.png", 2, pnginfo=graph)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + shots[2].prompt.encode("utf-16-le")
    picture(drop / "deep" / "camera.jpg", 3, exif=exif)
    picture(drop / "Shot-4 (final).webp", 4)
    ours = PngInfo()
    ours.add_text("Description", DRAWING)
    picture(drop / "shot_004_2.png", 5, pnginfo=ours)
    words = "_".join(shots[4].prompt.split()[3:11])
    picture(drop / f"user_{words}_8f3a9c2d.png", 6)
    picture(drop / "nobody knows.png", 7)
    (drop / "notes.txt").write_text("hello")
    picture(drop / "again.png", 7)
    args = ["-C", str(project.root), "inbox", str(drop)]
    assert shell.run([*args, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert pairs(found) == {
        "a1111.png": ("shot_001", "prompt"),
        "comfy.png": ("shot_002", "prompt"),
        "deep/camera.jpg": ("shot_003", "prompt"),
        "Shot-4 (final).webp": ("shot_004", "name"),
        "shot_004_2.png": ("shot_004", "name"),
        f"user_{words}_8f3a9c2d.png": ("shot_005", "name"),
    }
    assert found["gaps"] == ["shot_006", "shot_007", "shot_008"]
    left = {one["file"]: one["reason"] for one in found["leftovers"]}
    assert "same file as again.png" in left["nobody knows.png"] and "again.png" in left
    assert left["notes.txt"] == "not a picture"
    assert any("96 px on the short side, 128 wanted" in n for n in found["pairs"][0]["notes"])
    assert not project.store.takes()
    assert shell.run([*args, "--json"]) == 1 and not project.store.takes()  # nobody said yes
    capsys.readouterr()
    assert shell.run([*args, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["taken"] == 6
    takes = project.store.takes(state="done")
    assert [t.shot_id for t in takes] == [f"shot_00{n}" for n in (1, 2, 3, 4, 4, 5)]
    for take in takes:
        file = project.path(take.path or "")
        assert take.source == "inbox" and sha256_file(file) == take.sha256
        assert take.labels["matched_by"] and take.labels["file"] in pairs(found)
        assert shots[0].prompt.encode() not in file.read_bytes(), "notes are left out of the copy"
    assert takes[0].labels["texts"] == [shots[0].prompt]
    drawn = [t.labels["file"] for t in takes if t.labels.get("drawing")]
    assert drawn == ["shot_004_2.png"], "a drawing stays one, though it came by the inbox"
    again = run(project, drop)
    assert again["taken"] == 0 and "taken already" in str(again["leftovers"])


def test_an_inbox_cut_short_goes_on_without_doubles(
    grace: Grace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = grace()
    drop = tmp_path / "drop"
    for number in (1, 2, 3):
        picture(drop / f"shot_{number:03d}.png", number)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_bytes", lambda path, data: _die_at(path, data, "shot_002"))
        with pytest.raises(KeyboardInterrupt):
            run(project, drop)
    assert [t.state for t in project.store.takes()] == ["done", "pending"]
    assert run(project, drop)["taken"] == 2
    takes = project.store.takes()
    assert [(t.shot_id, t.state, t.attempt) for t in takes] == [
        (f"shot_{number:03d}", "done", 1) for number in (1, 2, 3)
    ]


def _die_at(path: Path, data: bytes, name: str) -> None:
    if name in path.name:
        raise KeyboardInterrupt
    path.write_bytes(data)


def test_order_places_what_says_nothing(grace: Grace, tmp_path: Path) -> None:
    project = grace()
    drop = tmp_path / "drop"
    for number in range(1, 9):
        picture(drop / f"img{number}.png", number)
    found = run(project, drop, ways=("name", "order"), dry_run=True)
    assert pairs(found)["img2.png"] == ("shot_002", "order") and not found["gaps"]
    (drop / "img8.png").unlink()
    found = run(project, drop, ways=("order",), dry_run=True)
    assert not found["pairs"] and len(found["gaps"]) == 8, "seven for eight tell nothing"
    with pytest.raises(UsageError, match="guess"):
        run(project, drop, ways=("guess",))


def _tiff16() -> bytes:
    import numpy as np

    out = io.BytesIO()
    grey = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    Image.fromarray(grey).save(out, "TIFF")
    return out.getvalue()


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return saved(Image.new("RGB", (64, 32), "red"), "JPEG", exif=exif)


def _png16() -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    rows = b"".join(b"\0" + b"\x80\x00\x40\x00\xc0\x00" * 40 for _ in range(40))
    head = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


HALF = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
FRAMES = [Image.new("RGB", (40, 40), c) for c in ("red", "green", "blue")]
ODD = {
    "turned.jpg": (_turned(), "turned upright", (32, 64), (254, 0, 0)),
    "cmyk.jpg": (saved(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG"), "CMYK", (40, 40),
                 (254, 0, 0)),
    "deep.tif": (_tiff16(), "grey of more than 8 bits", (64, 64), None),
    "float.tif": (saved(Image.new("F", (40, 40), 0.5), "TIFF"), "grey of more than 8 bits",
                  (40, 40), (128, 128, 128)),
    "deep.png": (_png16(), "16 bits a channel", (40, 40), (128, 64, 192)),
    "clear.png": (saved(HALF, "PNG"), "laid on white", (40, 40), (255, 255, 255)),
    "moving.gif": (saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
                   "3 frames: the first", (40, 40), (255, 0, 0)),
    "moving.webp": (saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
                    "3 frames: the first", (40, 40), None),
    "still.avif": (saved(FRAMES[2], "AVIF"), "AVIF stored as PNG", (40, 40), None),
    "still.bmp": (saved(FRAMES[2], "BMP"), "BMP stored as PNG", (40, 40), (0, 0, 255)),
    "grey.jpg": (saved(Image.new("L", (40, 40), 90), "JPEG"), "stored as RGB", (40, 40), None),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_formats_become_plain_pictures(name: str, grace: Grace, tmp_path: Path) -> None:
    data, change, size, color = ODD[name]
    project = grace()
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / f"shot_001_{name}").write_bytes(data)
    found = run(project, drop)
    assert found["taken"] == 1, found["leftovers"]
    take = project.store.takes()[0]
    assert any(change in text for text in take.labels["changes"]), take.labels["changes"]
    with Image.open(project.path(take.path or "")) as made:
        assert (made.mode, made.size) == ("RGB", size) and not made.getexif()
        middle = made.getpixel((5, 5))
    if color is not None:
        assert isinstance(middle, tuple)
        assert all(abs(a - b) <= 3 for a, b in zip(middle, color, strict=True))
    if name == "deep.tif":
        assert made.size == (64, 64)


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "WEBP", "PNG"])
def test_nothing_private_stays_in_the_copy(kind: str) -> None:
    """EXIF, XMP and what hangs behind the picture go; the pixels stay bit for bit."""
    import numpy as np

    from limner.sources.normal import plain

    noise = np.random.default_rng(1).integers(0, 255, (72, 90, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0110] = "SECRET camera"
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    more: dict[str, Any] = {"exif": exif.tobytes()}
    if kind != "PNG":
        more |= {"xmp": b"<x:xmpmeta>SECRET place</x:xmpmeta>"}
    if kind == "progressive":
        more |= {"progressive": True}
    form = "JPEG" if kind == "progressive" else kind
    data = saved(Image.fromarray(noise), form, **more) + b"ftypmp42 SECRET film with its place"
    assert data.count(b"SECRET") >= 2
    made = plain(data)
    assert b"SECRET" not in made.data and made.suffix in (".jpg", ".webp", ".png")
    assert not made.changes, made.changes
    before, after = (np.array(Image.open(io.BytesIO(d))) for d in (data, made.data))
    assert np.array_equal(before, after)


def test_heic_is_read_or_says_what_it_needs(
    grace: Grace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = grace()
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "shot_001.heic").write_bytes((Path(__file__).parent / "data" / "red.heic").read_bytes())
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    found = run(project, drop, dry_run=True)
    assert "limner[heic]" in found["leftovers"][0]["reason"]
    monkeypatch.undo()
    pytest.importorskip("pi_heif", reason="pi-heif (extra `heic`) is not installed")
    found = run(project, drop, dry_run=True)
    assert (found["pairs"][0]["width"], found["pairs"][0]["height"]) == (64, 48)


def test_a_hostile_zip_gets_nowhere(
    grace: Grace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = grace()
    good = saved(Image.new("RGB", (64, 64), "red"), "PNG")
    bomb = _huge_png()
    file = tmp_path / "drop.zip"
    link = zipfile.ZipInfo("shot_002.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../shot_003.png", good)
        archive.writestr("/etc/shot_004.png", good)
        archive.writestr("C:\\shot_005.png", good)
        archive.writestr(link, "/etc/passwd")
        archive.writestr("shot_006.png", b"\0" * 3_000_000)
        archive.writestr("shot_007.png", bomb)
        archive.writestr("__MACOSX/._shot_001.png", b"junk")
        archive.writestr("more.zip", b"PK")
        archive.writestr("shot_001.png", good)
        archive.writestr("shot_008.png", good[:80])
    found = run(project, file)
    assert pairs(found) == {"shot_001.png": ("shot_001", "name")} and found["taken"] == 1
    why = {one["file"]: one["reason"] for one in found["leftovers"]}
    assert "out of the zip" in why["../../shot_003.png"]
    assert "out of the zip" in why["/etc/shot_004.png"] and "out of" in why["C:/shot_005.png"]
    assert "link" in why["shot_002.png"] and "suspiciously" in why["shot_006.png"]
    assert "too large" in why["shot_007.png"] and "damaged" in why["shot_008.png"]
    assert why["more.zip"] == "not a picture" and len(why) == 8
    assert not list(tmp_path.parent.glob("shot_00*")) and not list(tmp_path.glob("shot_00*"))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged or cut off"):
        run(project, broken)
    monkeypatch.setitem(INBOX, "all_bytes", type(INBOX["files"])(10, "derived", "", ""))
    with pytest.raises(InputError, match="would unpack to more"):
        run(project, file)


def _huge_png() -> bytes:
    """A PNG whose header promises 60000 x 60000 pixels."""
    import struct
    import zlib

    found = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 999)), (b"IEND", b"")):
        found += struct.pack(">I", len(data)) + kind + data
        found += struct.pack(">I", zlib.crc32(kind + data))
    return found


def test_odd_names_and_wrong_folders(
    grace: Grace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = grace()
    drop = tmp_path / "drop"
    picture(drop / "日本 shot_001.png", 1)
    picture(drop / "new\nline shot_002.png", 2)
    raw = drop / os.fsdecode(b"bad\xff shot_003.png")
    picture(drop / "plain.png", 3).rename(raw)
    found = run(project, drop)
    assert {p["file"]: p["shot"] for p in found["pairs"]} == {
        "日本 shot_001.png": "shot_001",
        "new\\nline shot_002.png": "shot_002",
        "bad\\xff shot_003.png": "shot_003",
    }
    assert found["taken"] == 3 and json.dumps(found["pairs"]).encode()
    for wrong in (project.root, project.root.parent):
        with pytest.raises(UsageError, match="holds the project itself"):
            run(project, wrong)
    args = ["-C", str(project.root), "inbox", str(drop), "--json"]
    for more, word in ((["--licence", "CC0"], "--licence"), (["--by", ""], "--by")):
        assert shell.run([*args, *more]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["where"] == word


def test_links_in_a_folder_are_not_followed(grace: Grace, tmp_path: Path) -> None:
    project = grace()
    secret = picture(tmp_path / "elsewhere" / "shot_001.png", 9)
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "shot_001.png").symlink_to(secret)
    (drop / "inner").symlink_to(secret.parent, target_is_directory=True)
    found = run(project, drop)
    assert found["taken"] == 0
    assert {one["reason"] for one in found["leftovers"]} == {"a link is not followed"}
    with pytest.raises(UsageError, match="no such folder"):
        run(project, tmp_path / "none")


def test_real_bodies_come_only_with_licence_and_consent(grace: Grace, tmp_path: Path) -> None:
    project = grace()
    drop = tmp_path / "drop"
    picture(drop / "one.jpg", 1)
    picture(drop / "two.png", 2)
    (drop / "three.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="only with their licence"):
        collect(realism(project, drop, licence="", consent="release 12"))
    with pytest.raises(UsageError, match="only with their consent"):
        collect(realism(project, drop, licence="CC0", consent=" "))
    said = {"licence": "CC0, example.org/12", "consent": "model release 12"}
    assert collect(realism(project, drop, **said, dry_run=True))["taken"] == 2
    assert collect(realism(project, drop, **said))["taken"] == 2
    assert collect(realism(project, drop, **said))["taken"] == 0
    folder = project.root / "takes" / "realism"
    record = json.loads((folder / "pictures.json").read_text())
    assert [e["licence"] for e in record] == ["CC0, example.org/12"] * 2
    assert all(sha256_file(folder / e["file"]) == e["sha256"] for e in record)
    assert {e["kind"] for e in record} == {"realism"} and not project.store.takes()


def test_a_prompts_number_counts_in_its_domain() -> None:
    angles = ["front"] * 4 + ["side"] * 3
    shots = [
        Shot(f"shot_{n:03d}", n, {"angle": angle}, f"words {n}", n)
        for n, angle in enumerate(angles, 1)
    ]

    def placed(*names: str) -> dict[str, str]:
        found = match([Candidate(n) for n in names], shots, ways=["name"])
        return {p.name: p.shot_id for p in found.pairs}

    told = placed("domain 3/prompt 2.png", "Domain_1_Prompt_2.png", "prompt_4.png", "prompt 3.png")
    assert told == {
        "domain 3/prompt 2.png": "shot_006",  # the second side view, not the second shot
        "Domain_1_Prompt_2.png": "shot_002",
        "prompt_4.png": "shot_004",  # only one domain has four
    }
    through = {f"prompt_{n}.png": f"shot_{n:03d}" for n in range(1, 8)}
    assert placed(*through) == through


SHOTS = [
    Shot(f"shot_{n:03d}", n, {"angle": "front"}, f"alpha beta gamma delta number {n}", n)
    for n in range(1, 13)
]
NAMES = st.lists(
    st.text("abcdefgshotprm_0123456789 ", min_size=1, max_size=20), unique=True, max_size=14
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, st.sets(st.sampled_from([s.id for s in SHOTS])))
def test_matching_loses_and_doubles_no_picture(names: list[str], wanting: set[str]) -> None:
    found = match([Candidate(f"{n}.png") for n in names], SHOTS, wanting=wanting)
    placed = [p.name for p in found.pairs]
    assert sorted([*placed, *found.left]) == sorted(f"{n}.png" for n in names)
    filled = {p.shot_id for p in found.pairs}
    assert set(found.gaps) == wanting - filled
    by_order = [p for p in found.pairs if p.by == "order"]
    assert len({p.shot_id for p in by_order}) == len(by_order)


def test_a_project_of_pictures_made_elsewhere_lives_by_its_inbox(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ada"
    person = ["--likeness", "consented_person", "--consent-evidence", "c.pdf"]
    new = ["new", "ada", "--trigger", "ada_p", "--class-word", "woman", *person]
    new += ["--dir", str(folder), "--consent-date"]
    assert shell.run([*new, "2999-01-01"]) == 2 and "still to come" in capsys.readouterr().err
    assert shell.run([*new, "2026-03-01"]) == 0
    assert f"the consent is not there yet: put it at {folder / 'c.pdf'}" in capsys.readouterr().out
    project = Project.open(folder)
    assert project.character.source.name == "inbox", "a real person is never drawn by default"
    project.change_character(shots__count=8)
    capsys.readouterr()
    at = ["-C", str(folder)]
    assert shell.run([*at, "shots", "plan"]) == 0
    assert f"next: limner -C {folder} inbox\n" in capsys.readouterr().err
    assert shell.run([*at, "generate"]) == 2, "there is nobody to make them"
    assert "limner -C" in capsys.readouterr().err
    assert shell.run([*at, "inbox"]) == 2, "its own folder is the default, and empty"
    picture(folder / "inbox" / "shot_001.png", 1)
    picture(folder / "inbox" / "IMG_1.png", 2)
    picture(folder / "inbox" / "IMG_2.png", 3)
    looked: list[int] = []
    real = stage.look

    def look(*args: Any) -> Any:
        looked.append(1)
        return real(*args)

    monkeypatch.setattr(stage, "look", look)
    capsys.readouterr()
    assert shell.run([*at, "inbox", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"next: limner -C {folder} inbox --yes" in said and "too small: 1" in said
    assert len(looked) == 2
    assert shell.run([*at, "inbox", "--yes"]) == 0
    assert "1 picture taken" in capsys.readouterr().out
    assert len(looked) == 4, "what is taken at once is measured once"
    for left in ("IMG_1.png", "IMG_2.png"):
        (folder / "inbox" / left).unlink()
    assert shell.run([*at, "inbox", "--yes"]) == 0, "taken already is no finding"
    assert "taken already: 1" in capsys.readouterr().out
    papers = ["--kind", "realism", "--licence", "CC0", "--consent", "own"]
    assert shell.run([*at, "inbox", *papers]) == 2, "its own inbox holds the character"
