"""The verifier on any set: what it finds, what it says it cannot tell, and the heat map."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.shell import run
from limner.project.adults import AS_CLASS_WORD, UNDER_18
from limner.shots import Wanted, check_file, make_plan
from limner.shots.heatmap import as_lines, as_png, holes
from limner.shots.importing import parse
from limner.shots.items import angle_by_expression, of_entries

PLAN = make_plan(count=40, seed=4, trigger="g_char", class_word="woman", dialect="inbox")
GOOD = [s.prompt for s in PLAN.shots]


def rules_of(tmp_path: Path, prompts: list[str], **wanted: object) -> dict[str, list[str]]:
    """Rule -> places, for a plain list."""
    file = tmp_path / "set.txt"
    file.write_text("\n".join(prompts))
    found: dict[str, list[str]] = {}
    for entry in check_file(file, Wanted(class_word="woman", **wanted)).findings:  # type: ignore[arg-type]
        assert set(entry) == {"rule", "severity", "where", "text", "fix"} and all(entry.values())
        found.setdefault(entry["rule"], []).append(entry["where"])
    return found


def test_a_planned_set_is_clean_and_every_fault_put_into_it_is_found(tmp_path: Path) -> None:
    assert rules_of(tmp_path, GOOD) == {}
    faults = {
        1: ("constant", GOOD[0].replace("g_char", "g_char with long auburn hair", 1)),
        2: ("trigger", GOOD[1].replace("g_char", "she")),
        3: ("negation", GOOD[2] + ", no hat"),
        4: ("vague", GOOD[3] + ", beautiful"),
        5: ("minor", GOOD[4].replace("g_char", "g_char, a teenager,", 1)),
        6: ("duplicate", GOOD[0].replace("g_char", "g_char with long auburn hair", 1).upper()),
        7: ("length", "g_char, close-up, front view"),
        8: ("missing", "g_char, close-up, front view"),
        9: ("contradiction", GOOD[8] + ", close-up portrait, full body shot"),
        10: ("near_duplicate", GOOD[10].replace(" in ", " inside ", 1) + ", today"),
        11: ("negation", GOOD[10] + ", without hat"),
        12: ("minor", GOOD[11].replace("g_char", "g_char, a young girl,", 1)),
    }
    prompts = [faults[i][1] if i in faults else p for i, p in enumerate(GOOD, 1)]
    found = rules_of(tmp_path, prompts)
    for line, (rule, _) in faults.items():
        if rule != "near_duplicate":
            assert f"line {line}" in found[rule], (line, rule, found)
    assert found["near_duplicate"] == ["line 11"]


def test_one_list_of_words_refuses_minors_and_lets_the_rest_pass() -> None:
    """The same in a prompt and in a description; a class word says what the person is."""
    for said in ("little girls", "a pre-teen", "17-year-old", "two kids", "a kid", "minors"):
        assert UNDER_18.search(said) and AS_CLASS_WORD.search(said), said
    for said in ("kid gloves", "a minor scar", "baby blue", "18 years old", "girl friends"):
        assert not UNDER_18.search(said), said
    assert AS_CLASS_WORD.search("girl") and not AS_CLASS_WORD.search("woman")


def test_sets_are_held_against_shares_and_against_sameness(tmp_path: Path) -> None:
    found = rules_of(tmp_path, GOOD[:12])  # front views alone
    assert "quota" in found and found["quota"] == ["set"] * len(found["quota"])
    tail = [f"{p}, warm film look" for p in GOOD]
    assert "in_most" in rules_of(tmp_path, tail)
    silent = [p.replace("front view", "").replace("facing the camera", "") for p in GOOD]
    gone = rules_of(tmp_path, silent)
    assert "not_measured" in gone and "quota" not in gone  # not told is not zero
    asked = {"angle": {"front": 100.0}}
    assert "quota" in rules_of(tmp_path, GOOD, quotas=asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x, back view, facing away, smiling, looking at the floor, full body", "shows no face"),
        ("x, front view, side profile view, close-up", "more than one angle"),
        ("x, soft window light, waist-up shot on a wide sandy beach", "cannot happen"),
        ("x in a navy one-piece swimsuit, waist-up shot in a lecture hall", "not worn"),
        ("x, close-up portrait, walking, in a park", "cannot be seen"),
    ],
)
def test_contradictions_are_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "set.txt"
    file.write_text(text)
    said = [f["text"] for f in check_file(file, Wanted()).findings if f["rule"] == "contradiction"]
    assert any(words in s for s in said), said


def test_the_heat_map_shows_counts_and_holes() -> None:
    items = of_entries(parse("\n".join(GOOD).encode()).entries)
    grid = angle_by_expression(items, Wanted().targets(40))
    assert sum(grid.counts.values()) == 40 and holes(grid) == []
    assert sum(n for (a, _), n in grid.counts.items() if a == "front") == 12
    some = [i for i in items if i.attributes["angle"] != "side"]
    empty = angle_by_expression(some, Wanted().targets(40))
    assert {a for a, _ in holes(empty)} == {"side"}
    lines = as_lines(empty)
    assert any("side" in line and "0 of" in line for line in lines) and "hole" in lines[-1]
    full, bare = (Image.open(io.BytesIO(as_png(g))) for g in (grid, empty))
    assert full.size == bare.size and full.width >= 800
    assert full.tobytes() != bare.tobytes()


def test_the_commands_work_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.txt").write_text("\n".join(GOOD))
    assert run(["shots", "check", "good.txt", "--class-word", "woman", "--heatmap", "h.png"]) == 0
    assert "40 prompts, held against preset seed: nothing found" in capsys.readouterr().out
    assert Image.open("h.png").format == "PNG"
    Path("bad.txt").write_text("\n".join([*GOOD, GOOD[3]]))
    assert run(["shots", "check", "bad.txt", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert any(f["rule"] == "duplicate" and f["where"] == "line 41" for f in told["findings"])
    assert len(told["heat_map"]) == 20 and told["trigger"] == "g_char"
    assert run(["shots", "import", "good.txt", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [p["prompt"] for p in told["shots"]] == GOOD
    assert [p["outfit"] for p in told["shots"]] == [s.attributes["outfit"] for s in PLAN.shots]
    assert run(["shots", "import", "none.txt", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "none.txt"


def test_a_plans_own_json_is_held_against_what_it_was_planned_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quotas = ["--quota", "angle:front=60,side=40", "--quota", "outfit:denim_jacket=25"]
    assert run(["shots", "plan", "-n", "24", "--seed", "3", *quotas, "--json"]) == 0
    text = capsys.readouterr().out
    Path("plan.json").write_text(text)

    def checked(*more: str) -> tuple[int, list[str], str]:
        code = run(["shots", "check", "plan.json", *more, "--json"])
        found = json.loads(capsys.readouterr().out)
        return code, [f["text"] for f in found["findings"]], found["held_against"]

    assert checked() == (0, [], "the file's own quotas")
    assert run(["shots", "import", "plan.json", "--json"]) == 0
    gaps = json.loads(capsys.readouterr().out)["gaps"]
    assert gaps["angle"]["front"] == {"asked": 14, "got": 14, "missing": 0, "too_many": 0}
    code, found, by = checked("--preset", "seed")  # whoever asks for something else gets it
    assert code == 1 and by == "the options given" and any("angle front: 14" in f for f in found)

    plan = json.loads(text)
    odd = next(s for s in plan["shots"] if s["angle"] == "side")
    odd["angle"] = "front"
    Path("plan.json").write_text(json.dumps(plan))
    code, found, by = checked()  # its own numbers are exact: one off is told
    assert code == 1 and any("angle side: 9, asked for 10" in f for f in found)
    plan["report"]["quotas"]["angle"] = {"upside_down": {"asked": 24, "got": 0}}
    Path("plan.json").write_text(json.dumps(plan))
    assert checked()[2] == "preset seed"
    Path("plan.json").write_text(json.dumps({**plan, "shots": plan["shots"][:20]}))
    assert checked()[2] == "preset seed"  # another number of prompts than it was planned for
