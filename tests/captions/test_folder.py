"""Captions of folders Limner did not make: read as they are, changed without a byte too many."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.captions import edits, steps
from limner.captions.audit import examine
from limner.captions.encoding import clean_bytes, decode, encode, repaired
from limner.captions.folder import open_sheet
from limner.errors import InputError, NotReadyError

PNG = b"\x89PNG not really"


def folder(root: Path, **files: bytes) -> Path:
    """A folder with files; names with __ for a dot."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name.replace("__", ".").replace("/", os.sep)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def rules(root: Path, trigger: str | None = "grace_char") -> dict[str, set[str]]:
    """Rule -> files it was found in."""
    found: dict[str, set[str]] = {}
    for one in examine(root, trigger=trigger).findings:
        found.setdefault(one.rule, set()).add(one.file)
    return found


GOOD = b"grace_char, waist-up shot, wearing green hoodie, city street, calm expression"


def test_text_files_of_any_tool(tmp_path: Path) -> None:
    """Same stem, .txt or .caption, subfolders; notes beside the pictures are no captions."""
    folder(
        tmp_path,
        a__png=PNG,
        a__txt=GOOD,
        b__JPG=PNG,
        b__caption=GOOD + b" b",
        **{"10_grace/c__webp": PNG, "10_grace/c__txt": GOOD + b" c"},
        README__txt=b"Read me.",
        d__png=PNG,
        e__txt=GOOD + b" e",
        **{".hidden/f__txt": b"no"},
    )
    sheet = open_sheet(tmp_path)
    assert [i.key for i in sheet.items] == [
        "10_grace/c.txt",
        "a.txt",
        "b.caption",
        "d.txt",
        "e.txt",
    ]
    found = rules(tmp_path)
    assert found["missing"] == {"d.txt"} and found["orphan"] == {"e.txt"}
    assert "README.txt" not in set().union(*found.values())


def test_two_texts_for_one_picture_and_one_for_two(tmp_path: Path) -> None:
    folder(tmp_path, a__png=PNG, a__txt=GOOD, a__caption=b"x", b__png=PNG, b__jpg=PNG, b__txt=GOOD)
    found = rules(tmp_path)
    assert found["two_captions"] == {"a.txt"} and found["shared"] == {"b.txt"}


def test_json_lines_keep_every_other_byte(tmp_path: Path) -> None:
    """A mend changes the text's own characters: keys, order, spaces and other values stay."""
    lines = [
        b'{"file_name": "a.png",  "text":"waist-up shot, grace_char, hoodie, city street, calm",'
        b' "score": 1.50, "tags": ["x", {"text": "inner"}]}\r\n',
        b'\n{"text": "grace_char, caf\\u00e9, hoodie, smile, standing", "file_name": "b.png"}\n',
        '{"file_name": "sub/c.png", "text": "grace_char, café, long brown hair, hat"}'.encode(),
    ]
    raw = b"".join(lines)
    folder(tmp_path, metadata__jsonl=raw, a__png=PNG, b__png=PNG, **{"sub/c__png": PNG})
    sheet = open_sheet(tmp_path)
    assert [i.key for i in sheet.items] == [
        "metadata.jsonl#a.png",
        "metadata.jsonl#b.png",
        "metadata.jsonl#sub/c.png",
    ]
    audit = examine(sheet, trigger="grace_char")
    wanted = edits.pick(audit.active, (), ("trigger_*", "constant"))
    made = edits.mend(sheet, wanted)
    steps.apply(sheet, edits.changes(made), "mended")
    after = (tmp_path / "metadata.jsonl").read_bytes()
    want = raw.replace(b"waist-up shot, grace_char, hoodie", b"grace_char, waist-up shot, hoodie")
    assert after == want.replace(b", long brown hair", b"")
    accents = edits.find_replace(open_sheet(tmp_path), "hoodie", "crème coat")
    steps.apply(open_sheet(tmp_path), edits.changes(accents), "accents")
    again = (tmp_path / "metadata.jsonl").read_bytes()
    assert b"cr\\u00e8me coat, city" in again, "a line without letters beyond ASCII stays so"
    steps.undo(open_sheet(tmp_path), [s.number for s in steps.steps(open_sheet(tmp_path))])
    assert (tmp_path / "metadata.jsonl").read_bytes() == raw


def test_a_picture_told_of_twice_counts_once(tmp_path: Path) -> None:
    """A table beside text files: the same words are no doubles, other words are a finding."""
    row = json.dumps({"file_name": "a.png", "text": GOOD.decode()})
    folder(tmp_path, metadata__jsonl=row.encode(), a__png=PNG, a__txt=GOOD)
    assert rules(tmp_path) == {}
    (tmp_path / "a.txt").write_bytes(GOOD + b" but not here")
    assert rules(tmp_path) == {"two_captions": {"a.txt"}}


def test_without_a_trigger_it_is_said_not_passed(tmp_path: Path) -> None:
    folder(tmp_path, a__png=PNG, a__txt=GOOD)
    audit = examine(tmp_path)
    assert audit.active == [] and "begin with grace_char" in audit.unmeasured[-1]["way"]


def test_broken_lines_are_findings(tmp_path: Path) -> None:
    rows = [b"{", b"[1]", b'{"file_name": 3, "text": "x"}', b'{"file_name": "a.png"}', b"[" * 9999]
    rows += [b'{"file_name": "a.png", "text": "grace_char, \\ud800 and one two three"}']
    folder(tmp_path, metadata__jsonl=b"\n".join(rows), a__png=PNG)
    audit = examine(tmp_path, trigger="grace_char")
    assert sum(f.rule == "jsonl" for f in audit.findings) == 5
    json.dumps(audit.as_json()).encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "rule", "mended"),
    [
        ("\ufeffgrace_char, café".encode(), "encoding_bom", "grace_char, café"),
        ("grace_char, café".encode("cp1252"), "encoding_not_utf8", "grace_char, café"),
        ("grace_char, café".encode("utf-16"), "encoding_not_utf8", "grace_char, café"),
        ("grace_char, cafÃ©".encode(), "encoding_mojibake", "grace_char, café"),
        ("grace_char, cafÃƒÂ©".encode(), "encoding_mojibake", "grace_char, café"),
        ("grace\u200b_char,\u202e cafe\u0301".encode(), "encoding_invisible", "grace_char, café"),
        ("grace_char, cafe\u0301".encode(), "encoding_decomposed", "grace_char, café"),
        ("grace_char,\u00a0café".encode(), "encoding_space", "grace_char, café"),
        (b"grace_char,\x07 pub", "encoding_control", "grace_char, pub"),
        (b"grace_char, pub\r\n", "encoding_crlf", "grace_char, pub\n"),
        (b"grace_char,\npub\n", "encoding_lines", "grace_char, pub\n"),
    ],
)
def test_every_fault_of_encoding_is_named_and_mended(
    tmp_path: Path, raw: bytes, rule: str, mended: str
) -> None:
    folder(tmp_path, a__png=PNG, a__txt=raw)
    sheet = open_sheet(tmp_path)
    found = examine(sheet, trigger="grace_char")
    assert rule in {f.rule for f in found.findings}
    made = edits.mend(sheet, edits.pick(found.active, (), (rule,)))
    steps.apply(sheet, edits.changes(made), "encoding")
    assert (tmp_path / "a.txt").read_bytes() == mended.encode()
    assert not [r for r in rules(tmp_path) if r.startswith("encoding")]


def test_good_words_with_accents_are_no_fault() -> None:
    for text in (
        "São Paulo, crème brûlée",
        "naïve façade, 24° light",
        "Ærø, “quoted” – dash",
        "日本",
    ):
        assert decode(text.encode()).faults == (), text


def test_no_folder_and_an_empty_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_sheet(tmp_path / "none")
    with pytest.raises(NotReadyError, match="no picture and no caption"):
        examine(tmp_path)


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    folder(tmp_path, a__png=PNG, a__txt=b"\x00\x01\xff\xfe" * 9, b__png=PNG, b__txt=b"x" * 300_000)
    (tmp_path / "c.txt").mkdir()
    os.mkfifo(tmp_path / "d.txt")
    (tmp_path / "e.txt").symlink_to(tmp_path / "nowhere")
    found = rules(tmp_path)
    assert found["encoding_binary"] == {"a.txt", "b.txt"}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_and_come_back(raw: bytes) -> None:
    found = decode(raw)
    if found.text is None:
        assert found.faults and clean_bytes(found) is None
        return
    assert encode(found, found.text) == raw
    once = clean_bytes(found)
    assert once is not None and clean_bytes(decode(once)) == once, "mended once is mended"
    assert repaired(found) == repaired(decode(once))


@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=80), min_size=1), st.binary())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_folder_of_any_bytes_gives_no_traceback(
    tmp_path: Path, texts: dict[str, bytes], table: bytes
) -> None:
    for old in tmp_path.glob("*.*"):
        old.unlink()
    folder(tmp_path, metadata__jsonl=table + b'\n{"file_name":"z.png","text":"t"}')
    for name, raw in texts.items():
        folder(tmp_path, **{f"{name}__png": PNG, f"{name}__txt": raw})
    audit = examine(tmp_path, trigger="grace_char")
    json.dumps(audit.as_json(), ensure_ascii=False).encode("utf-8")
    sheet = open_sheet(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    made = edits.mend(sheet, audit.active)
    if (step := steps.apply(sheet, edits.changes(made), "all")) is not None:
        steps.undo(open_sheet(tmp_path), [step.number])
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert after == before
