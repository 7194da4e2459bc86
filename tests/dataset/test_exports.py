"""A dataset leaves for every trainer and service and comes back equal."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakes.small_dataset import add_bodies, new
from limner.cli import shell
from limner.dataset import LAYOUTS, build, from_folder, from_project, import_dataset, read
from limner.dataset.exporting import MANIFEST, Source
from limner.dataset.exporting import export as export_files
from limner.dataset.layouts import Group, Pair
from limner.errors import InputError, UsageError
from limner.events import Notice, collect
from limner.pipeline.handover import export_dataset
from limner.training import peers
from limner.training.lint import check

FOLDERS = [name for name, layout in LAYOUTS.items() if not layout.zipped]
ZIPS = [name for name, layout in LAYOUTS.items() if layout.zipped]


def same(groups: tuple[Group, ...], other: tuple[Group, ...]) -> bool:
    """Pictures, captions and controls of each group, whatever the groups are called."""
    return [sorted(p.same() for p in g.pairs) for g in groups] == [
        sorted(p.same() for p in g.pairs) for g in other
    ]


@pytest.mark.parametrize("target", [*FOLDERS, *ZIPS])
def test_there_and_back_is_equal(target: str, tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    add_bodies(project)
    collect(build(project))
    out = tmp_path / ("out.zip" if target in ZIPS else "out")
    found = collect(export_dataset(project, target, out, base="Qwen/Qwen-Image"))
    before, after = from_project(project), read(out)
    assert same(before.groups, after.groups)
    assert [g["images"] for g in found["groups"]] == [17, 2]
    if target in FOLDERS:
        assert after.target == target
        assert [g.repeats for g in after.groups] == [40, 20]
        assert [g.name for g in after.groups] == ["grace_char", "grace_char_realbody"]
    else:
        names = zipfile.ZipFile(out).namelist()
        assert len(names) == 38 and not any("/" in n for n in names)
        again = collect(export_dataset(project, target, tmp_path / "again.zip"))
        assert again["sha256"] == found["sha256"]
    here = collect(import_dataset(project, out))
    assert (here["captions"], here["unknown"], here["missing"]) == ([], [], [])


@pytest.mark.parametrize("mode", ["blank", "self"])
@pytest.mark.parametrize("target", ["ai-toolkit", "musubi", "simpletuner", "fal"])
def test_references_travel_with_their_pictures(target: str, mode: str, tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    add_bodies(project)
    collect(build(project))
    out = tmp_path / ("out.zip" if target == "fal" else "out")
    collect(export_dataset(project, target, out, control=mode, control_size=512))
    groups = read(out).groups
    pictures = {p.stem: _rgb(p.data) for p in groups[0].pairs}
    for pair in groups[0].pairs:
        (control,) = pair.controls
        assert _size(control) == (32, 32)  # the size of the picture, never enlarged
        other = [stem for stem, rgb in pictures.items() if rgb == _rgb(control)]
        assert (_rgb(control) == (0, 0, 0)) == (mode == "blank")
        if mode == "self":
            assert other and pair.stem not in other
    assert all(_rgb(c) == (0, 0, 0) for p in groups[1].pairs for c in p.controls)


def _rgb(data: bytes) -> tuple[int, ...]:
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((1, 1))  # type: ignore[return-value]


def _size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize("target", ["ai-toolkit", "musubi", "simpletuner"])
@pytest.mark.parametrize("mode", ["none", "self"])
def test_our_own_check_finds_no_fault_in_the_configs(
    target: str, mode: str, tmp_path: Path
) -> None:
    project = new(tmp_path / "p")
    collect(build(project))
    base = "Qwen/Qwen-Image" if (target, mode) == ("simpletuner", "none") else ""
    out = tmp_path / "out"
    collect(export_dataset(project, target, out, control=mode, base=base))
    rows = check(out)["findings"]
    about_pictures = {"small-picture", "frequent-term", "duplicate-caption", "duplicate-picture"}
    assert [r for r in rows if r["rule"] not in about_pictures] == []
    for file in ("train.yaml", "train.sh", "dataset.toml", "config.json"):
        if (out / file).is_file():
            rows = check(out / file)["findings"]
            assert [r for r in rows if r["rule"] not in about_pictures] == [], file


def test_what_a_hand_changed_is_kept_and_comes_home(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    add_bodies(project)
    collect(build(project))
    out = tmp_path / "out"
    collect(export_dataset(project, "kohya", out))
    (out / "cache").mkdir()
    collect(export_dataset(project, "kohya", out))
    assert (out / "cache").is_dir()  # the same export: what a trainer put there stays
    collect(export_dataset(project, "kohya", out, base="Qwen/Qwen-Image", steps=7))
    folder = out / "train" / "40_grace_char"
    text = next(iter(sorted(folder.glob("*.txt"))))
    text.write_text("grace_char, by hand\n")
    (out / "train" / "20_grace_char_realbody" / "body_001.txt").write_text("arms")
    with pytest.raises(UsageError, match="2 files were changed"):
        collect(export_dataset(project, "kohya", out))
    stranger = folder / "zz.png"
    Image.new("RGB", (9, 9)).save(stranger)
    stranger.with_suffix(".txt").write_text("someone")
    tried = collect(import_dataset(project, out, dry_run=True))
    found = collect(import_dataset(project, out))
    assert tried["captions"] == found["captions"] and len(found["captions"]) == 2
    assert found["unknown"] == ["zz.png"]
    captions = [c for c in project.store.captions().values() if c.author == "person"]
    assert [c.text for c in captions] == ["grace_char, by hand"]
    collect(build(project))
    body = project.root / "dataset" / "v2" / "20_grace_char_realbody" / "body_001.txt"
    assert body.read_text() == "grace_char, realistic_body, arms"


def test_references_follow_the_projects_own_template(tmp_path: Path) -> None:
    project = new(tmp_path / "p", count=8)
    collect(build(project))
    for n, (template, control, expected) in enumerate(
        [("t2i", "auto", 0), ("edit", "auto", 1), ("edit", "none", 0), ("edit", "blank", 1)]
    ):
        project.change_character(training__template=template, training__control=control)
        out = tmp_path / f"out{n}"
        collect(export_dataset(project, "musubi", out))
        assert [g.controls for g in read(out).groups] == [expected]
        collect(export_dataset(project, "kohya", tmp_path / f"k{n}"))  # it takes none: no error


def test_ratios_are_said_as_they_are(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    add_bodies(project)
    collect(build(project))
    for target, said in (("musubi", "94 % : 6 % of the passes"), ("civitai", "89 % : 11 %")):
        out = tmp_path / f"{target}.zip"
        events = list(export_dataset(project, target, out))
        assert any(said in e.text for e in events if isinstance(e, Notice)), target


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    project = new(tmp_path / "p")
    collect(build(project))
    out = tmp_path / "out"

    def export(target: str, **more: str) -> None:
        collect(export_dataset(project, target, out, **more))  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="no export for 'sdxl'"):
        export("sdxl")
    with pytest.raises(UsageError, match="takes no control pictures"):
        export("kohya", control="self")
    with pytest.raises(UsageError, match="no control mode"):
        export("musubi", control="mirror")
    with pytest.raises(UsageError, match="at least one control latent"):
        export("simpletuner")
    with pytest.raises(UsageError, match="takes no control"):
        export("musubi", control="self", base="Qwen/Qwen-Image")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else here"):
        export("musubi")
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
    next((project.root / "dataset" / "40_grace_char").glob("*.txt")).write_text("other")
    with pytest.raises(InputError, match="not as it was built"):
        export("musubi")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="no zip"):
        read(bad)
    with pytest.raises(InputError, match="no pictures with captions"):
        read(tmp_path / "p" / "logs")


def test_anyones_folder_changes_its_layout(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "12_mia"
    theirs.mkdir(parents=True)
    for n in range(3):
        Image.new("RGB", (40, 24), (n, 9, 9)).save(theirs / f"p{n}.webp", lossless=True)
        (theirs / f"p{n}.txt").write_text(f"\ufeffmia, number {n}\n", encoding="utf-8")
    (theirs / "alone.png").write_bytes((theirs / "p0.webp").read_bytes())
    out = tmp_path / "out"
    found = collect(export_dataset(None, "ai-toolkit", out, source=theirs.parent))
    back = read(out)
    assert (back.target, back.groups[0].repeats) == ("ai-toolkit", 12)
    assert [p.caption for p in back.groups[0].pairs] == [f"mia, number {n}" for n in range(3)]
    assert {p.suffix for p in back.groups[0].pairs} == {".png"}  # ai-toolkit passes over webp
    assert "made PNG" in " ".join(found["notes"]) and "alone.png" in " ".join(found["notes"])
    assert json.loads((out / MANIFEST).read_text())["trigger"] == "mia"
    (theirs / "p1.txt").write_text("someone else")
    with pytest.raises(UsageError, match="--trigger"):
        from_folder(theirs.parent)


words = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=40
).map(str.strip)


@given(
    st.lists(
        words.filter(lambda w: bool(w) and not w.startswith("\ufeff")), min_size=1, max_size=5
    ),
    st.integers(1, 90),
    st.sampled_from(FOLDERS),
)
@settings(max_examples=25, deadline=None)
def test_any_caption_survives(captions: list[str], repeats: int, target: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    pairs = tuple(
        Pair(f"img_{n:03d}", ".png", out.getvalue() + b"%d" % n, text)
        for n, text in enumerate(captions)
    )
    group = Group("mia", pairs, repeats)
    source = Source((group,), "mia", frozenset(), {})

    def configs(groups: list[dict[str, object]]) -> dict[str, str]:
        base = "Qwen/Qwen-Image"
        setup = peers.decide(groups, peers.COUNTED_AS[target], trigger="mia", base=base)
        return peers.configs(target, setup)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "out"
        collect(export_files(source, target, place, configs=configs))
        (back,) = read(place).groups
    assert [p.same() for p in back.pairs] == [p.same() for p in pairs]
    assert back.repeats == repeats


def test_a_real_persons_set_is_not_made_for_civitai_and_says_whom_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = new(tmp_path / "p")
    collect(build(project))
    place = str(project.root)
    assert shell.run(["-C", place, "dataset", "export", "--for", "musubi"]) == 0
    said = capsys.readouterr().out
    assert "real person" not in said
    assert f"next: cd {place}/exports/v1-musubi && bash train.sh" in said
    assert shell.run(["-C", place, "dataset", "export", "--for", "civitai"]) == 0
    text = (project.root / "character.yaml").read_text()
    person = "likeness: consented_person\nconsent: {evidence: c.pdf, date: 2026-03-01}\n"
    (project.root / "character.yaml").write_text(
        "".join(person if x.startswith("likeness") else x for x in text.splitlines(keepends=True))
    )
    capsys.readouterr()
    assert shell.run(["-C", place, "dataset", "export", "--for", "civitai"]) == 2
    assert "no models of real people" in capsys.readouterr().err
    assert shell.run(["-C", place, "dataset", "export", "--for", "fal"]) == 0
    assert "real person" in capsys.readouterr().out
