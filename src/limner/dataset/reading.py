"""Anyone's training folder or zip read back: which layout it is, its groups, what was passed over.

In: a folder or a zip. Out: `Contents`. Nothing is changed; repeats and controls are read from the
trainer's own config where it lies beside the pictures.
"""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from limner.dataset.layouts import CONTROL, PICTURES, Contents, Group, Pair, is_body
from limner.errors import InputError, UsageError

NUMBERED = re.compile(r"^(\d{1,4})_(\w[\w.-]*)$")
MAX_FILE = 200_000_000
MAX_ALL = 20_000_000_000
"""Bytes: a larger file or a larger zip is no training set (starting values)."""

Files = dict[str, bytes]


def read(path: Path) -> Contents:
    """The dataset in a folder or zip. Raises UsageError (no such path), InputError (none in it)."""
    if not path.exists():
        raise UsageError("There is no such folder or zip", where=str(path), fix="Check the path.")
    if path.is_file():
        return _zip(path)
    passed: list[tuple[str, str]] = []
    for name, reader in _READERS.items():
        groups = reader(path, passed)
        if groups:
            return Contents(name, path, tuple(groups), tuple(passed))
    raise InputError(
        "There are no pictures with captions here",
        where=str(path),
        fix="Give a folder of pictures with .txt captions, a trainer's export, or a zip.",
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", errors="replace").strip()


def _open(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError("The file is too large for a training set", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"It cannot be read: {error.strerror}", where=str(path)) from None


def _pairs(folder: Path, passed: list[tuple[str, str]], ending: str = ".txt") -> list[Pair]:
    """Pictures with a caption of the same name, in name order."""
    found = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in PICTURES or file.name.startswith("."):
            continue
        text = file.with_suffix(ending)
        if not text.is_file():
            passed.append((f"{folder.name}/{file.name}", "no caption"))
            continue
        found.append(Pair(file.stem, file.suffix, _open(file), _text(_open(text))))
    return found


def _group(
    folder: Path,
    passed: list[tuple[str, str]],
    *,
    name: str | None = None,
    repeats: int | None = None,
    controls: Iterable[Path] = (),
    ending: str = ".txt",
) -> Group:
    """One folder as a group, each pair with the controls that lie in `controls`."""
    places = list(controls)
    made = []
    for pair in _pairs(folder, passed, ending) if folder.is_dir() else []:
        own = [data for place in places for data in _controls_in(place, pair.stem)]
        made.append(Pair(pair.stem, pair.suffix, pair.data, pair.caption, tuple(own)))
    return Group(name or folder.name, tuple(made), repeats)


def _controls_in(place: Path, stem: str) -> list[bytes]:
    """name.png, or name_0.png, name_1.png and so on."""
    one = next((f for e in PICTURES if (f := place / f"{stem}{e}").is_file()), None)
    if one is not None:
        return [_open(one)]
    found = []
    for number in range(3):
        file = next((f for e in PICTURES if (f := place / f"{stem}_{number}{e}").is_file()), None)
        if file is None:
            break
        found.append(_open(file))
    return found


def _inside(root: Path, named: object) -> Path | None:
    """A folder that a config names, if it lies in the export; moved exports keep its last part."""
    if not isinstance(named, str) or not named.strip():
        return None
    for place in (root / named, root / PurePosixPath(named.replace("\\", "/")).name):
        try:
            if place.is_dir():
                return place
        except (OSError, ValueError):
            return None
    return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _kept(groups: Iterable[Group]) -> list[Group]:
    return [g for g in groups if g.pairs]


def _aitoolkit(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for file in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        try:
            data = YAML(typ="safe").load(_text(_open(file)))
            rows = data["config"]["process"][0]["datasets"]
        except (YAMLError, KeyError, IndexError, TypeError, ValueError):
            continue
        groups = []
        for row in rows if isinstance(rows, list) else []:
            folder = _inside(root, row.get("folder_path")) if isinstance(row, dict) else None
            if folder is None:
                continue
            listed = row.get("control_path")
            named = listed if isinstance(listed, list) else [listed]
            controls = [c for n in named if (c := _inside(root, n))]
            ending = "." + str(row.get("caption_ext") or "txt").lstrip(".")
            repeats = _whole(row.get("num_repeats"))
            groups.append(_group(folder, passed, repeats=repeats, controls=controls, ending=ending))
        if _kept(groups):
            return _kept(groups)
    return []


def _toml_rows(file: Path) -> list[dict[str, Any]]:
    try:
        data = tomllib.loads(_text(_open(file)))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"It cannot be read: {error}", where=str(file)) from None
    general = data.get("general")
    general = general if isinstance(general, dict) else {}
    rows = data.get("datasets")
    return [{**general, **r} for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []


def _musubi(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    groups = []
    for file in sorted(root.glob("*.toml")):
        for row in _toml_rows(file):
            folder = _inside(root, row.get("image_directory"))
            if folder is None:
                continue
            control = _inside(root, row.get("control_directory"))
            groups.append(
                _group(
                    folder,
                    passed,
                    repeats=_whole(row.get("num_repeats")) or 1,
                    controls=[control] if control else [],
                    ending=str(row.get("caption_extension") or ".txt"),
                )
            )
    return _kept(groups)


def _simpletuner(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    file = root / "multidatabackend.json"
    if not file.is_file():
        return []
    try:
        rows = [r for r in json.loads(_text(_open(file))) if isinstance(r, dict)]
    except (ValueError, TypeError) as error:
        raise InputError(f"It cannot be read: {error}", where=str(file)) from None
    places = {str(r.get("id")): _inside(root, r.get("instance_data_dir")) for r in rows}
    groups = []
    for row in rows:
        folder = _inside(root, row.get("instance_data_dir"))
        if str(row.get("dataset_type", "image")) != "image" or folder is None:
            continue
        named = row.get("conditioning_data")
        listed = named if isinstance(named, list) else [named] if named else []
        controls = [c for n in listed if (c := places.get(str(n)))]
        extra = row.get("repeats")
        repeats = extra + 1 if isinstance(extra, int) else 1  # it counts the extra showings
        groups.append(_group(folder, passed, repeats=repeats, controls=controls))
    return _kept(groups)


def _diffusers(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    file = next((f for f in (root / "metadata.jsonl", root / "train" / "metadata.jsonl")
                 if f.is_file()), None)  # fmt: skip
    if file is None:
        return []
    sets: dict[tuple[str, int | None], list[Pair]] = {}
    for number, line in enumerate(_text(_open(file)).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = str(row["file_name"]), str(row["text"]).strip()
        except (ValueError, KeyError, TypeError):
            passed.append((f"{file.name}:{number}", "no row with file_name and text"))
            continue
        picture = (file.parent / name).resolve()
        if not picture.is_relative_to(file.parent.resolve()) or not picture.is_file():
            passed.append((name, "no such picture"))
            continue
        key = (str(row.get("set") or "character"), _whole(row.get("repeats")))
        pair = Pair(picture.stem, picture.suffix, _open(picture), text)
        sets.setdefault(key, []).append(pair)
    return [Group(name, tuple(pairs), repeats) for (name, repeats), pairs in sets.items()]


def _kohya(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    groups = []
    for parent in (root, root / "train", root / "img"):
        if not parent.is_dir():
            continue
        for folder in sorted(p for p in parent.iterdir() if p.is_dir()):
            if named := NUMBERED.match(folder.name):
                groups.append(_group(folder, passed, name=named[2], repeats=int(named[1])))
    groups = _kept(groups)
    # the character first, as everywhere else
    return sorted(groups, key=lambda g: g.is_bodies)


def _plain(root: Path, passed: list[tuple[str, str]]) -> list[Group]:
    """A folder of pairs, or one of folders of pairs."""
    if named := NUMBERED.match(root.name):
        return _kept([_group(root, passed, name=named[2], repeats=int(named[1]))])
    groups = [_group(root, passed)]
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if CONTROL not in folder.name and folder.name != "held_out":
            groups.append(_group(folder, passed))
    return sorted(_kept(groups), key=lambda g: g.is_bodies)


_READERS = {
    "ai-toolkit": _aitoolkit,
    "simpletuner": _simpletuner,
    "musubi": _musubi,
    "diffusers": _diffusers,
    "kohya": _kohya,
    "folder": _plain,
}


def _zip(path: Path) -> Contents:
    """Pairs of a zip, with or without a folder above them; fal's start and end pictures."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir()]
            if sum(e.file_size for e in entries) > MAX_ALL or any(
                e.file_size > MAX_FILE for e in entries
            ):
                raise InputError("The zip is too large for a training set", where=str(path))
            files = {e.filename: archive.read(e) for e in entries if _wanted(e.filename)}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError):
        raise InputError(
            "The file is no zip that can be read", where=str(path), fix="Give a folder or a zip."
        ) from None
    passed: list[tuple[str, str]] = []
    named = {PurePosixPath(name).stem for name in files}
    edits = any(f"{s[:-6]}_end" in named for s in named if s.endswith("_start"))
    pairs = _edit_pairs(files) if edits else _zip_pairs(files, passed)
    if not pairs:
        raise InputError("There are no pictures with captions in the zip", where=str(path))
    character = tuple(p for p in pairs if not is_body(p.caption))
    real = tuple(p for p in pairs if is_body(p.caption))
    groups = [Group("character", character), Group("realbody", real)]
    return Contents("zip", path, tuple(_kept(groups)), tuple(passed))


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    good = path.suffix.lower() in (*PICTURES, ".txt")
    return good and "__MACOSX" not in path.parts and not path.name.startswith(".")


def _zip_pairs(files: Mapping[str, bytes], passed: list[tuple[str, str]]) -> list[Pair]:
    found = []
    for name in sorted(files):
        path = PurePosixPath(name)
        if path.suffix.lower() not in PICTURES:
            continue
        text = files.get(str(path.with_suffix(".txt")))
        if text is None:
            passed.append((name, "no caption"))
            continue
        found.append(Pair(path.stem, path.suffix, files[name], _text(text)))
    return found


def _edit_pairs(files: Mapping[str, bytes]) -> list[Pair]:
    found = []
    by_stem = {PurePosixPath(n).stem: n for n in files if not n.endswith(".txt")}
    texts = {PurePosixPath(n).stem: _text(d) for n, d in files.items() if n.endswith(".txt")}
    for stem in sorted(texts):
        end = by_stem.get(f"{stem}_end")
        starts = [by_stem.get(f"{stem}_start{n}") for n in ("", "2", "3")]
        if end is not None:
            suffix = PurePosixPath(end).suffix
            controls = tuple(files[s] for s in starts if s is not None)
            found.append(Pair(stem, suffix, files[end], texts[stem], controls))
    return found
