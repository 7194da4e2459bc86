"""Prompts that exist: read from any file, held against quotas, completed, taken into a project."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import lexicon
from limner.errors import InputError, LimnerError, UsageError
from limner.events import collect
from limner.project import Project
from limner.shots import Wanted, export, gather, make_plan, replan, take_in
from limner.shots.importing import LIMITS, Imported, parse
from limner.shots.items import of_entries, shares
from limner.shots.listing import by_domain, exported, mapping, table

PROMPTS = [s.prompt for s in make_plan(count=8, seed=2, trigger="g_char", class_word="woman").shots]
TREE = """GRACE_40_PROMPT_DATASET/
├── DOMAIN 1: FRONT ANGLES (12 prompts)
│   ├── Prompt 1: Soft morning light, casual outfit, café
│   ├── Prompt 2: Golden hour, athletic wear, park
│   └── ...
├── DOMAIN 2: 3/4 ANGLES (12 prompts)
└── DOMAIN 4: BACK & OVER-SHOULDER (8 prompts)
    └── **Prompt 1 (shot_033):** grace_char on a pier
        by the sea
"""


def texts(found: Imported) -> list[str]:
    return [entry.text for entry in found.entries]


def test_the_same_prompts_come_out_of_every_form() -> None:
    plan = make_plan(count=8, seed=2, trigger="g_char", class_word="woman")
    forms = {
        "a.txt": "\n".join(PROMPTS),
        "b.txt": "\n\n".join(f"{i}. {p}" for i, p in enumerate(PROMPTS, 1)),
        "c.json": json.dumps(PROMPTS, indent=1),
        "d.json": json.dumps([exported(s) for s in plan.shots]),
        "e.json": json.dumps({"prompts": [{"text": p} for p in PROMPTS]}),
        "f.jsonl": "\n".join(json.dumps({"prompt": p}) for p in PROMPTS),
        "g.csv": table(plan.shots),
        "h.csv": "name;prompt\r\n" + "".join(f'x;"{p}"\r\n' for p in PROMPTS),
        "i.txt": by_domain(plan.shots),
        "prompt_mapping.txt": mapping(plan.shots),
    }
    kinds = {}
    for name, text in forms.items():
        for data in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
            found = parse(data, name)
            assert texts(found) == PROMPTS, name
        kinds[name] = found.kind
        if name in ("d.json", "g.csv"):
            assert [e.attributes["outfit"] for e in found.entries] == [
                s.attributes["outfit"] for s in plan.shots
            ]
        if name in ("i.txt", "prompt_mapping.txt"):
            assert [e.angle for e in found.entries] == [s.attributes["angle"] for s in plan.shots]
    assert kinds["f.jsonl"] == "jsonl" and kinds["i.txt"] == "domains"


def test_the_guides_tree_is_read_with_its_headings() -> None:
    found = parse(TREE.encode())
    assert texts(found) == [
        "Soft morning light, casual outfit, café",
        "Golden hour, athletic wear, park",
        "grace_char on a pier by the sea",
    ]
    assert [(e.angle, e.domain, e.line) for e in found.entries] == [
        ("front", 1, 3),
        ("front", 1, 4),
        ("back", 4, 8),
    ]
    assert found.entries[2].id == "shot_033"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b'["a",\n"b"\n,]', "x.json", "broken JSON.*line 3"),
        (b'{"prompt": "a"}\n{"prompt": \n', "x.jsonl", "broken JSON.*line 2"),
        (b'{"prompt": ' + b"9" * 5000 + b"}", "x.json", "too long"),
        (b"[" * 100_000, "x.json", "nested too deep|broken JSON"),
        ("fine\ncafé".encode("latin-1"), "x.txt", "not UTF-8.*line 2"),
        (b"\xff\xfea\0\xd8", "x.txt", "UTF-16"),
        (b"a\n\0\1\2", "x.png", "binary"),
        (b"   \n", "x.txt", "No prompt"),
        (b'{"seed": 4}', "x.json", "No prompt"),
        (b"word " * 3000, "x.txt", "more than 6000 characters"),
        (b"a prompt\n" * 5001, "x.txt", "more than 5000 prompts"),
        (b"x" * 8_000_001, "x.txt", "larger than 8 MB"),
    ],
)
def test_bad_files_get_a_clear_word(data: bytes, name: str, words: str) -> None:
    with pytest.raises(InputError) as told:
        parse(data, name)
    import re

    assert re.search(words, str(told.value)), str(told.value)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=300).map(lambda t: t.encode("utf-8", "ignore")),
        st.lists(
            st.sampled_from(
                ["DOMAIN 1: FRONT", "Prompt 1:", "prompt,angle", '"', "{", "[1]", "a;b", "x.jpg = "]
            ),
            max_size=12,
        ).map(lambda parts: "\n".join(parts).encode()),
    ),
    st.sampled_from(["", "a.txt", "a.csv", "a.json", "a.jsonl", "\0"]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_prompts_or_a_clear_error(data: bytes, name: str) -> None:
    try:
        found = parse(data, name)
    except LimnerError as told:
        assert told.exit_code == 2 and told.what
        return
    lines = data.count(b"\n") + data.count(b"\r") + 2
    assert found.entries and all(e.text.strip() and 0 < e.line <= lines for e in found.entries)
    of_entries(found.entries)
    assert len(found.entries) <= LIMITS["prompts"].value


def test_gaps_are_shown_and_filled_so_that_the_whole_set_is_exact(tmp_path: Path) -> None:
    plan = make_plan(count=40, seed=9, trigger="g_char", class_word="woman", moves=300)
    kept = [s for i, s in enumerate(plan.shots) if i % 4 == 0]
    file = tmp_path / "mine.txt"
    file.write_text(by_domain(kept))
    wanted = Wanted(count=40, class_word="woman")
    found = gather(file, wanted, fill=True)
    assert found["count"] == 10 and found["missing"] == 30
    assert found["gaps"]["angle"]["front"] == {"asked": 12, "got": 3, "missing": 9, "too_many": 0}
    fresh = found["planned"]
    assert len(fresh) == 30 and all(p["prompt"].count("g_char") == 1 for p in fresh)
    have = shares(of_entries(parse(by_domain(kept).encode()).entries))
    targets = wanted.targets(40)
    for axis in ("angle", "framing", "expression"):
        for value, number in targets[axis].items():
            both = have[axis].get(value, 0) + sum(p[axis] == value for p in fresh)
            assert both == number, (axis, value)


def test_a_file_becomes_a_projects_plan(tmp_path: Path) -> None:
    project = Project.create(
        tmp_path / "g", name="G", trigger="g_char", class_word="woman", likeness="synthetic"
    )
    project.change_character(shots__count=16)
    file = tmp_path / "mine.txt"
    odd = "g_char wearing a space cape, profile view, close-up, on the moon, serene, looking away"
    file.write_text(f"{PROMPTS[0]}\n{odd}\n")
    found = collect(take_in(project, file))
    assert (found["count"], found["imported"], found["planned"]) == (16, 2, 14)
    shots = project.store.shots()
    mine = next(s for s in shots if s.prompt == odd)
    assert mine.attributes["angle"] == "side" and "outfit" not in mine.attributes
    assert [lexicon.angles()[s.attributes["angle"]].domain for s in shots] == sorted(
        lexicon.angles()[s.attributes["angle"]].domain for s in shots
    )
    for kind in ("txt", "json", "csv", "mapping"):
        text = export(project, kind).read_text()
        assert odd in text
        assert [e.text for e in parse(text.encode()).entries] == [s.prompt for s in shots]
    assert len(list(csv.DictReader(export(project, "csv").open()))) == 16
    assert odd in export(project, "txt", dialect="comfyui").read_text(), "a person's words stay"
    full = next(s for s in shots if s.prompt == PROMPTS[0])
    assert PROMPTS[0] in export(project, "txt", dialect="comfyui").read_text()
    for own in (mine, full):
        with pytest.raises(UsageError, match="its own words would be lost"):
            collect(replan(project, [own.id]))
    planned = next(s for s in shots if s.id not in (mine.id, full.id))
    assert collect(replan(project, [planned.id]))["replanned"] == [planned.id]
    with pytest.raises(UsageError, match="would be another"):
        collect(take_in(project, file, fill=False))
    file.write_text("g_char at home, smiling")
    with pytest.raises(InputError, match="do not say their angle") as told:
        collect(take_in(project, file, replace=True))
    assert "line 1" in str(told.value)


def test_commas_without_quotes_lose_no_word_of_a_prompt() -> None:
    said = "golden hour light, grace_char in a red dress, close-up portrait"
    assert texts(parse(f"prompt\n{said}\n".encode(), "a.csv")) == [said]
    assert texts(parse(f"id,prompt\n1,{said}\n".encode(), "a.csv")) == [said]
    bare = parse(f"{said}\n{said}, in a park\n".encode(), "a.csv")  # neither head nor quotes
    assert texts(bare) == [said, f"{said}, in a park"] and bare.kind == "list"
    with pytest.raises(InputError, match="5 cells under 3 columns") as error:
        parse(f"id,prompt,seed\n1,{said},7\n".encode(), "a.csv")
    assert "line 2" in str(error.value.where) and "quotes" in str(error.value.fix)


def test_what_is_said_of_a_set_is_no_prompt_of_it() -> None:
    named = {"description": "My set for Grace", "prompts": ["front view of g_char", "in a park"]}
    assert texts(parse(json.dumps(named).encode(), "a.json")) == named["prompts"]
    entry = {"caption": "front view of g_char", "images": ["a.png", "b.png"]}
    assert texts(parse(json.dumps([entry]).encode(), "b.json")) == [entry["caption"]]
