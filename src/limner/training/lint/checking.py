"""The check of a file or folder: what kind it is, who looks at it, what comes back.

In: a path. Out: {kind, files, findings, notes, fixed}. Nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.errors import UsageError
from limner.training.lint import (
    aitoolkit,
    commands,
    kohya,
    mend,
    musubi,
    pictures,
    setup,
    simpletuner,
)
from limner.training.lint.findings import Findings
from limner.training.lint.reading import TEXT_LIMIT, Doc, fenced, parse
from limner.training.lint.rules import values

FORMS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonc": "json", ".toml": "toml"}
SCRIPTS = {".sh", ".bash", ".bat", ".ps1", ".cmd"}
PAGES = {".md", ".markdown"}
LANGUAGES = {"yaml": "yaml", "yml": "yaml", "json": "json", "jsonc": "json", "toml": "toml"}


NO_TEXT = {b"PK\x03\x04": "A zip", b"\xff\xd8\xff": "A picture", b"\x89PNG": "A picture"}
"""How files begin that people give by mistake, and what they are."""
ELSE = {
    "A zip": "Unpack it and check the folder, or bring its captions home: limner dataset import",
    "A picture": "Check the folder it lies in; limner review FOLDER judges pictures.",
}


def check(
    path: Path, *, images: int | None = None, own: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Every fault of a training setup or a folder of pictures.

    path: ai-toolkit YAML or JSON, the guide's YAML, musubi-tuner TOML or command, SimpleTuner JSON,
    a Markdown guide with such blocks, or a folder. images: pictures of the data set, where the file
    names a folder that is not here. own: thresholds by name (`rules.VALUES`).

    findings: rows {rule, severity, file, line, what, instead, tag, source}; severity error, warning
    or info. notes: the same, no faults. fixed: mended text of a file, None when there is nothing to
    mend; of a folder a mapping name -> text. Raises UsageError when the path does not exist.
    """
    if not path.exists():
        raise UsageError("There is no such file or folder", where=str(path), fix="Check the path.")
    v = values(own)
    if path.is_dir():
        return _folder(path, images, v)
    found = Findings(path.name)
    kind, fixed = _file(path, found, images, v)
    return _answer(kind, [path.name], found, fixed)


def _answer(
    kind: str, files: list[str], found: Findings, fixed: str | dict[str, str] | None
) -> dict[str, Any]:
    order = {"error": 0, "warning": 1, "info": 2, "note": 3}
    findings = sorted(found.rows, key=lambda r: (r["file"], order[r["severity"]], r["line"] or 0))
    return {
        "kind": kind,
        "files": files,
        "findings": findings,
        "notes": found.notes,
        "fixed": (fixed or None) if findings else None,
    }


def _read(path: Path, found: Findings) -> str | None:
    try:
        raw = path.read_bytes()
    except OSError as error:
        found.add("unreadable", None, f"It cannot be read: {error.strerror}", "Check its rights.")
        return None
    if what := next((said for magic, said in NO_TEXT.items() if raw.startswith(magic)), None):
        found.add("unknown-file", None, f"{what}, no training setup", ELSE[what])
        return None
    if len(raw) > TEXT_LIMIT:
        found.add("unreadable", None, f"{len(raw) / 1e6:.0f} MB are no training setup", "Another?")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        found.add("syntax", line, "The file is no UTF-8 here", "Save it as UTF-8.")
        return None
    if "\x00" in text:
        found.add("syntax", None, "The file holds zero bytes: it is no text", "Another file?")
        return None
    return text


def _file(
    path: Path, found: Findings, images: int | None, v: Mapping[str, float]
) -> tuple[str, str | None]:
    """(kind, mended text) of one file."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        found.add("unknown-file", None, "A LoRA, no training setup", "limner lora check FILE")
        return "lora", None
    text = _read(path, found)
    if text is None:
        return "unreadable", None
    if suffix in PAGES:
        return "guide", _page(path, text, found, images, v)
    if suffix in SCRIPTS:
        commands.check_lines(text, found)
        return ("musubi-tuner", None) if _command(text, found) else ("script", None)
    form = FORMS.get(suffix) or _guess(text)
    doc = parse(text, path.name, form, found)
    if doc is None:
        return "unreadable", None
    kind, fixed = _doc(doc, found, images, v, path.parent)
    if kind == "unknown":
        found.add(
            "unknown-file",
            1,
            "No training setup is recognised: neither ai-toolkit's sections nor musubi-tuner's or "
            "SimpleTuner's keys",
            "Give the trainer's own file.",
        )
    return kind, fixed


def _guess(text: str) -> str:
    start = text.lstrip()[:1]
    if start in ("{",) or re.match(r"\s*\[\s*[{\]]", text):
        return "json"
    return "toml" if re.search(r"(?m)^\s*\[\[?[\w.]+\]\]?\s*$", text) else "yaml"


def _doc(
    doc: Doc, found: Findings, images: int | None, v: Mapping[str, float], home: Path | None
) -> tuple[str, str | None]:
    data = doc.data
    if setup.is_aitoolkit(data) and doc.form != "toml":
        return "ai-toolkit", _aitoolkit(doc, found, images, v, home)
    if simpletuner.is_config(data):
        simpletuner.check_config(doc, found)
        if home is not None:
            _backends_beside(doc, found, home)
        own = [r for r in found.rows if r["file"] == found.file]
        return "SimpleTuner", _json(simpletuner.mended(data, own))
    if simpletuner.is_backends(data):
        simpletuner.check_backends(doc, found)
        mended_rows = simpletuner.mended(data, found.rows)
        _backend_folders(data, found, v, home)
        return "SimpleTuner", _json(mended_rows)
    if kohya.is_dataset(data):
        kohya.check_dataset(doc, found)
        rows = [row for _, row in kohya.subsets(doc)]
        _folders_of(rows, "image_dir", None, found, v, home)
        return "kohya", None
    if musubi.is_dataset(data):
        musubi.check_dataset(doc, found)
        mended = musubi.mended_dataset(doc.text, found.rows) if doc.form == "toml" else None
        listed = data.get("datasets")
        rows = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
        _folders_of(rows, "image_directory", "control_directory", found, v, home)
        return "musubi-tuner", mended
    if musubi.is_arguments(data):
        lines = _flat_lines(doc)
        given = musubi.flat(data)
        musubi.check_arguments(given, lambda k: lines.get(k, 1), found, command=False)
        return "musubi-tuner", None
    return "unknown", None


def _folders_of(
    rows: list[dict[str, Any]],
    key: str,
    control: str | None,
    found: Findings,
    v: Mapping[str, float],
    home: Path | None,
) -> None:
    """Pictures, captions and controls of the folders that a data set names and that are here."""
    for row in rows:
        folder = _local(home, row.get(key))
        if folder is None or home is None:
            continue
        named = row.get(control) if control else None
        controls = (home / named,) if isinstance(named, str) and named.strip() else ()
        shown = str(row.get(key)).rstrip("/")
        pictures.check_folder(folder, found, v, shown=shown, controls=controls)


def _backend_folders(
    data: list[Any], found: Findings, v: Mapping[str, float], home: Path | None
) -> None:
    """The same for SimpleTuner's list, whose references are data sets of their own."""
    rows = [r for r in data if isinstance(r, dict)]
    places = {str(r.get("id")): r.get("instance_data_dir") for r in rows}
    for row in rows:
        folder = _local(home, row.get("instance_data_dir"))
        if folder is None or home is None or row.get("dataset_type", "image") != "image":
            continue
        named = row.get("conditioning_data")
        listed = named if isinstance(named, list) else [named] if named else []
        controls = [places.get(str(n)) for n in listed]
        there = tuple(home / c for c in controls if isinstance(c, str) and c.strip())
        shown = str(row["instance_data_dir"]).rstrip("/")
        pictures.check_folder(folder, found, v, shown=shown, controls=there)


def _flat_lines(doc: Doc) -> dict[str, int]:
    return {str(path[-1]): line for path, line in doc.lines.items() if path}


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _aitoolkit(
    doc: Doc, found: Findings, images: int | None, v: Mapping[str, float], home: Path | None
) -> str | None:
    runs = setup.setups(doc, found)
    for run in runs:
        here = 0
        for row in run.datasets if home is not None else []:
            folder = _local(home, row.get("folder_path")) if home else None
            if folder is not None:
                here += pictures.count_pictures(folder)
                _data_folder(folder, row, run, found, v, home)
        aitoolkit.check_setup(run, found, here or images, v)
    if not found.rows:
        return None
    return mend.mended(doc, runs)


def _local(home: Path | None, folder: Any) -> Path | None:
    """A folder that a setup names, if it is on this machine."""
    if home is None or not isinstance(folder, str) or not folder.strip():
        return None
    try:
        place = home / folder
        return place if place.is_dir() else None
    except (OSError, ValueError):
        return None


def _data_folder(
    folder: Path,
    row: dict[str, Any],
    run: setup.Setup,
    found: Findings,
    v: Mapping[str, float],
    home: Path | None,
) -> None:
    paths = row.get("control_path")
    listed = [*paths] if isinstance(paths, list) else [paths]
    listed += [row.get(f"control_path_{n}") for n in (1, 2, 3)]
    controls = tuple(home / p for p in listed if home and isinstance(p, str) and p.strip())
    word = row.get("trigger_word") or run.process.get("trigger_word")
    pictures.check_folder(
        folder,
        found,
        v,
        shown=str(row.get("folder_path")).rstrip("/"),
        trigger=word if isinstance(word, str) and word.strip() else None,
        controls=controls,
    )


def _backends_beside(doc: Doc, found: Findings, home: Path) -> None:
    """The data list that a SimpleTuner config names, if it lies beside it."""
    data = {str(k).lstrip("-"): value for k, value in doc.data.items()}
    named = data.get("data_backend_config")
    if not isinstance(named, str) or not named.strip():
        return
    try:
        places = [home / named, home / Path(named).name]
        file = next((p for p in places if p.is_file()), None)
    except (OSError, ValueError):
        return
    edit = data.get("model_flavour") in simpletuner.EDIT
    if file is None:
        if edit:
            found.add(
                "folder-elsewhere",
                None,
                f"{Path(named).name} is not beside this file: its conditioning data, without which "
                "an edit flavour stops, is not checked",
                "Check it too.",
            )
        return
    inner = Findings(file.name)
    text = _read(file, inner)
    other = parse(text, file.name, "json", inner) if text is not None else None
    if other is not None and simpletuner.is_backends(other.data):
        simpletuner.check_backends(other, inner, edit=edit)
    found.rows += inner.rows
    found.notes += inner.notes


FRAGMENT = {"no-length", "no-text-cache", "no-folder", "no-checkpoints", "syntax", "size-default"}
"""What a guide's piece of a JSON or TOML file may lack: the rest stands elsewhere."""


def _page(
    path: Path, text: str, found: Findings, images: int | None, v: Mapping[str, float]
) -> str | None:
    """A guide: its commands, and every block that is a training setup."""
    commands.check_lines(text, found)
    fixed = []
    for language, block, before in fenced(text):
        if language in ("bash", "sh", "shell", "powershell", "console", "cmd"):
            _command(block, found, before)
        form = LANGUAGES.get(language)
        if form is None:
            continue
        inner = Findings(path.name)
        doc = parse(block, path.name, form, inner, before)
        kind, mended = _doc(doc, inner, images, v, None) if doc else ("unreadable", None)
        if kind == "unknown":
            continue
        piece = form != "yaml"
        found.rows += [r for r in inner.rows if not (piece and r["rule"] in FRAGMENT)]
        found.notes += inner.notes
        if mended and not piece:
            fixed.append(mended)
    return "---\n".join(fixed) or None


def _command(text: str, found: Findings, before: int = 0) -> bool:
    """Check musubi-tuner's training commands; whether there was one."""
    given = commands.musubi_commands(text)
    for arguments, lines, start in given:
        if before and "network_module" not in arguments:
            continue  # a guide's piece of a command

        def line(key: str, lines: dict[str, int] = lines, start: int = start) -> int:
            return lines.get(key, start) + before

        musubi.check_arguments(arguments, line, found, command=True)
    return bool(given)


def _folder(path: Path, images: int | None, v: Mapping[str, float]) -> dict[str, Any]:
    """Every setup in a folder and every folder of pictures below it."""
    root = path.resolve().name or path.name
    found = Findings(root)
    fixed: dict[str, str] = {}
    files: list[str] = []
    for file in sorted(path.iterdir()):
        if file.is_file() and file.suffix.lower() in (*FORMS, *SCRIPTS):
            inner = Findings(file.name)
            kind, mended = _file(file, inner, images, v)
            if kind in ("unknown", "script"):
                continue
            files.append(file.name)
            found.rows += inner.rows
            found.notes += inner.notes
            if mended and inner.rows:
                fixed[file.name] = mended
    own = set(files)
    seen = {r["file"].split("/")[0] for r in found.rows if r["file"] not in own}
    for folder in pictures.picture_folders(path):
        shown = root if folder == path else str(folder.relative_to(path))
        files.append(shown)
        if shown.split("/")[0] not in seen:
            fixed |= pictures.check_folder(folder, found, v, shown=shown)
            _kohya_name(folder, found, shown)
    if not files:
        found.add(
            "unknown-file",
            None,
            "There is neither a training setup nor a folder with pictures here",
            "Give the trainer's file or the data set's folder.",
        )
    kind = "folder" if len(files) != 1 or files[0] in fixed else "dataset"
    return _answer(kind, files, found, fixed)


def _kohya_name(folder: Path, found: Findings, shown: str) -> None:
    named = aitoolkit.FOLDER_NUMBER.match(folder.name)
    if named:
        found.notes.append(
            {
                "rule": "folder-repeats",
                "severity": "note",
                "file": shown,
                "line": None,
                "what": f"{named[1]} repeats are kohya's reading of this name; ai-toolkit and "
                "musubi-tuner read num_repeats only",
                "instead": f"num_repeats: {named[1]}",
                "tag": "published",
                "source": "trainers' sources",
            }
        )
