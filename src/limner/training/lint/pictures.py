"""Faults of a folder of pictures and captions, as any trainer reads it.

In: a folder. Out: findings by file, and mended captions. Pictures are opened for their header, PNG
checksums and a JPEG's end only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from limner.errors import first_line
from limner.lexicon.constants import find_constants
from limner.training.lint.findings import Findings

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
OTHER = {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jfif"}
ROWS = "metadata.jsonl"
CACHES = {"_latent_cache", "_t_e_cache", "_controls", "cache", ".thumbs", "__pycache__"}
CONTROL_NAMES = re.compile(r"(?:^|_)(?:control|controls|ctrl|ref|refs|reference|conditioning)\d*$")
_CAMERA = re.compile(
    r"\b(?:\d+ ?mm|f/\d[\d.]*|bokeh|canon|nikon|sony|leica|fujifilm|depth of field|8k|4k|hdr|"
    r"raw photo|photorealistic|ultra[- ]detailed|masterpiece|best quality|high quality|"
    r"professional photography)\b",
    re.IGNORECASE,
)
_PLAIN = {"a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "with", "her", "his"}


def picture_folders(root: Path) -> list[Path]:
    """Folders with pictures at or below `root`, without caches; at most four levels down."""
    found = []
    queue = [(root, 0)]
    while queue:
        folder, depth = queue.pop(0)
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            continue
        if any(f.suffix.lower() in PICTURES | OTHER for f in inside if f.is_file()):
            found.append(folder)
        if depth < 4:
            queue += [
                (f, depth + 1)
                for f in inside
                if f.is_dir() and f.name not in CACHES and not f.name.startswith(".")
            ]
    return found


def check_folder(
    folder: Path,
    found: Findings,
    v: Mapping[str, float],
    *,
    shown: str,
    trigger: str | None = None,
    controls: tuple[Path, ...] = (),
) -> dict[str, str]:
    """All faults of one folder; returns mended captions by shown name.

    shown: how the folder is called in findings. trigger: the word captions begin with; None = the
    word that most of them begin with. controls: folders that must hold a picture of each name.
    """
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    pictures = [f for f in files if f.suffix.lower() in PICTURES]
    for file in files:
        if file.suffix.lower() in OTHER:
            found.add(
                "picture-type",
                None,
                f"{file.suffix} is passed over by trainers without a word",
                "Save it as PNG or JPEG.",
                file=f"{shown}/{file.name}",
            )
    if not pictures:
        found.add(
            "no-picture", None, "There are no pictures here", "Name the right folder.", file=shown
        )
        return {}
    shows_controls = bool(CONTROL_NAMES.search(folder.name.lower()))
    if len(pictures) < v["few_pictures"] and not shows_controls:
        found.add(
            "few-pictures",
            None,
            f"{len(pictures)} pictures; the guides use 40 to 100",
            "Add pictures, or be sure that this is a trial.",
            file=shown,
        )
    _check_pictures(pictures, found, v, shown, controls=shows_controls)
    for control in controls:
        _check_control(pictures, control, found, shown)
    if shows_controls:
        return {}
    rows = next((f for f in files if f.name == ROWS), None)
    if rows is not None:  # Hugging Face's imagefolder: the captions stand in one file
        texts = _rows(rows, pictures, found, shown)
    else:
        texts = _captions(files, pictures, found, shown)
    word = trigger or _usual_trigger(texts)
    mended = _check_captions(texts, word, found, shown)
    if rows is not None:
        mended = {}
    for row in found.rows:
        if row["rule"] == "caption-form" and row["file"].startswith(f"{shown}/"):
            mended.setdefault(row["file"], f"{row['instead']}\n")
    _check_set(texts, word, found, v, shown)
    return mended


def _check_pictures(
    pictures: list[Path],
    found: Findings,
    v: Mapping[str, float],
    shown: str,
    *,
    controls: bool = False,
) -> None:
    """Each picture's faults. controls: references, which may be small and the same twice."""
    seen: dict[str, str] = {}
    for file in pictures:
        name = f"{shown}/{file.name}"
        if " " in file.name:
            found.add(
                "spaces-in-name",
                None,
                "A space in the name breaks shell commands and some trainers' lists",
                file.name.replace(" ", "_"),
                file=name,
            )
        size, trouble = _look(file)
        if trouble or size is None:
            found.add("broken-picture", None, trouble, "Copy or make it again.", file=name)
            continue
        width, height, lying = size
        if min(width, height) < v["short_side"] and not controls:
            found.add(
                "small-picture",
                None,
                f"{width} x {height}: the short side is under {v['short_side']:.0f} px; buckets "
                "never enlarge, so it is trained at its own size",
                "Make it again at 1152 x 1152 or larger.",
                file=name,
            )
        if lying:
            found.add(
                "rotated-picture",
                None,
                "It is turned by an EXIF mark that trainers and caches may not honour",
                "Save it upright.",
                file=name,
            )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest in seen and not controls:
            found.add(
                "duplicate-picture",
                None,
                f"The same bytes as {seen[digest]}",
                "Remove one; it counts twice.",
                file=name,
            )
        seen.setdefault(digest, file.name)


def _look(file: Path) -> tuple[tuple[int, int, bool] | None, str]:
    """((width, height, turned by EXIF), "") or (None, what is wrong)."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            width, height = picture.size
            kind = picture.format  # a PNG's EXIF would decode it whole
            lying = kind != "PNG" and picture.getexif().get(0x0112, 1) not in (0, 1)
            if kind == "PNG":
                picture.verify()
        if kind == "JPEG":
            with file.open("rb") as raw:
                raw.seek(max(file.stat().st_size - 64, 0))
                if b"\xff\xd9" not in raw.read():
                    return None, "The JPEG is cut: its end is missing"
        return (width, height, lying), ""
    except Exception as error:  # Pillow raises its own, struct's and zlib's errors on broken files
        return None, f"It is no whole picture ({first_line(error)[:120]})"


def _check_control(pictures: list[Path], control: Path, found: Findings, shown: str) -> None:
    if not control.is_dir():
        found.add(
            "folder-elsewhere",
            None,
            f"The control folder {control.name} is not on this machine: its pairs are not checked",
            "Check it where it lies.",
            file=shown,
        )
        return
    there = {re.sub(r"_\d+$", "", f.stem) for f in control.iterdir() if f.is_file()}
    there |= {f.stem for f in control.iterdir() if f.is_file()}
    for file in pictures:
        if file.stem not in there:
            found.add(
                "control-pair",
                None,
                f"There is no picture of this name in {control.name}: the run stops at it",
                f"{control.name}/{file.stem}.png",
                file=f"{shown}/{file.name}",
            )


def _captions(
    files: list[Path], pictures: list[Path], found: Findings, shown: str
) -> dict[str, str]:
    """Name of the caption file -> its text; what is missing or malformed is told."""
    stems = {f.stem for f in pictures}
    captions = {f.stem: f for f in files if f.suffix.lower() in (".txt", ".caption")}
    texts: dict[str, str] = {}
    for stem in sorted(stems - set(captions)):
        found.add(
            "missing-caption",
            None,
            "A picture without a caption is trained with the trigger or with nothing",
            f"{stem}.txt",
            file=f"{shown}/{stem}",
        )
    for stem, file in sorted(captions.items()):
        if stem not in stems:
            if stem.lower() not in ("prompt_mapping", "readme", "license"):
                found.add(
                    "orphan-caption",
                    None,
                    "There is no picture of this name",
                    "Remove it.",
                    file=f"{shown}/{file.name}",
                )
            continue
        try:
            raw = file.read_bytes()
        except OSError as error:
            found.add(
                "unreadable",
                None,
                str(error.strerror),
                "Check the file.",
                file=f"{shown}/{file.name}",
            )
            continue
        texts[file.name] = _read(raw, found, f"{shown}/{file.name}")
    return texts


def _rows(file: Path, pictures: list[Path], found: Findings, shown: str) -> dict[str, str]:
    """Name of the picture -> its text in metadata.jsonl; rows that lack one of them are told."""
    names = {p.name for p in pictures}
    texts: dict[str, str] = {}
    place = f"{shown}/{file.name}"
    for line, raw in enumerate(file.read_bytes().splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
            name, text = row["file_name"], row["text"]
        except (ValueError, KeyError, TypeError):
            what = "The row has no file_name and text that can be read"
            instead = '{"file_name": "img_001.png", "text": "..."}'
            found.add("syntax", line, what, instead, file=place)
            continue
        if not isinstance(name, str) or not isinstance(text, str) or not text.strip():
            found.add("empty-caption", line, "The caption is empty", "Write one.", file=place)
        elif name not in names and not (file.parent / name).is_file():
            what = f"There is no picture {name}"
            found.add("orphan-caption", line, what, "Remove the row.", file=place)
        else:
            texts[name] = " ".join(text.split())
    for name in sorted(names - set(texts)):
        found.add(
            "missing-caption",
            None,
            f"The picture has no row in {file.name}: it is not trained, or without a caption",
            f'{{"file_name": "{name}", "text": "..."}}',
            file=f"{shown}/{name}",
        )
    return texts


def _read(raw: bytes, found: Findings, name: str) -> str:
    trouble = []
    if raw.startswith(b"\xef\xbb\xbf"):
        trouble.append("it begins with a byte order mark, which becomes part of the trigger")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        trouble.append("it is no UTF-8")
    if not text.strip():
        found.add("empty-caption", 1, "The caption is empty", "Write one.", file=name)
        return ""
    if len(text.strip().splitlines()) > 1:
        trouble.append("it has several lines")
    if trouble:
        what = f"The caption is malformed: {', '.join(trouble)}"
        found.add("caption-form", 1, what, " ".join(text.split()), file=name)
    return " ".join(text.split())


def _usual_trigger(texts: Mapping[str, str]) -> str | None:
    """The word that more than half of the captions begin with, if it looks like a trigger."""
    first = Counter(re.split(r"[,\s]", t)[0] for t in texts.values() if t)
    if not first:
        return None
    word, times = first.most_common(1)[0]
    likely = "_" in word or times == len(texts) > 1
    return word if times * 2 > len(texts) and likely and word.lower() not in _PLAIN else None


def _check_captions(
    texts: Mapping[str, str], trigger: str | None, found: Findings, shown: str
) -> dict[str, str]:
    mended = {}
    for file, text in texts.items():
        name = f"{shown}/{file}"
        if not text:
            continue
        better = _mend_trigger(text, trigger, found, name)
        for constant in find_constants(text):
            found.add(
                "identity-leak",
                1,
                f'"{constant.words}" names a constant of the person ({constant.trait}): what is '
                "captioned stays outside the trigger",
                f'Delete "{constant.words}".',
                file=name,
            )
        camera = _CAMERA.search(text)
        if camera:
            found.add(
                "camera-words",
                1,
                f'"{camera[0]}" describes the photograph, not the picture',
                f'Delete "{camera[0]}".',
                file=name,
            )
        tags = [w for w in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text) if w != trigger]
        for tag in [t for t in tags if t != "realistic_body"][:3]:
            found.add(
                "underscore-tag",
                1,
                f"`{tag}` is one odd word to a language model",
                tag.replace("_", " "),
                file=name,
            )
        if better != text:
            mended[name] = better + "\n"
    return mended


def _mend_trigger(text: str, trigger: str | None, found: Findings, name: str) -> str:
    if trigger is None or "[trigger]" in text:
        return text
    word = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)")
    if not word.search(text):
        better = f"{trigger}, {text}"
        found.add("trigger-missing", 1, f"The trigger {trigger} is missing", better, file=name)
        return better
    if not word.match(text):
        rest = re.sub(r"^[\s,]+|(?<=,)\s*,", "", word.sub("", text, count=1)).strip(" ,")
        better = f"{trigger}, {re.sub(r' {2,}', ' ', rest)}"
        found.add("trigger-place", 1, "The trigger is not first", better, file=name)
        return better
    return text


def _check_set(
    texts: Mapping[str, str],
    trigger: str | None,
    found: Findings,
    v: Mapping[str, float],
    shown: str,
) -> None:
    """Terms in most captions, equal captions, the body tag in some only."""
    same: dict[str, list[str]] = defaultdict(list)
    terms: Counter[str] = Counter()
    for file, text in texts.items():
        if text:
            same[text].append(file)
            parts = {p.strip().lower() for p in text.split(",")}
            terms.update(p for p in parts if p and p != (trigger or "").lower())
    for files in same.values():
        for file in files[1:]:
            found.add(
                "duplicate-caption",
                1,
                f"The same caption as {files[0]}: what differs between the pictures stays unsaid",
                "Say what is different.",
                file=f"{shown}/{file}",
            )
    count = sum(1 for t in texts.values() if t)
    body = terms.get("realistic_body", 0)
    if 0 < body < count:
        found.add(
            "body-tag",
            None,
            f"realistic_body stands in {body} of {count} captions",
            "All captions of the body folder, none of the character's.",
            file=shown,
        )
    if count < v["frequency_from"]:
        return
    for term, times in terms.most_common(5):
        if times >= v["frequency"] * count and term != "realistic_body":
            found.add(
                "frequent-term",
                None,
                f'"{term}" stands in {times} of {count} captions: it fuses with the trigger',
                "Vary it, or leave it out.",
                file=shown,
            )


def count_pictures(folder: Path) -> int:
    """Pictures directly in a folder."""
    return sum(1 for f in folder.iterdir() if f.suffix.lower() in PICTURES)
