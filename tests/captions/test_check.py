"""The check: what it finds, what it rests on, how each finding is mended or waived."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakes.chat import ChatServer
from limner.captions import alike, edits, steps
from limner.captions.agreeing import against_attributes
from limner.captions.audit import Audit, examine, tokens
from limner.captions.comparing import compare
from limner.captions.findings import Finding, numbers
from limner.captions.folder import open_sheet
from limner.captions.mending import delete_phrase, delete_words, trigger_first
from limner.captions.page import render
from limner.captions.reading import read
from limner.captions.spelling import misspelt
from limner.cli import shell as cli
from limner.errors import InputError, UsageError
from limner.project import Project
from limner.project.records import Measure, Shot

PLACES = ("beach", "forest", "office", "kitchen", "park", "street", "gym", "library")
CLOTHES = ("red dress", "green coat", "blue jeans", "black suit", "grey hoodie", "pink skirt")
FRAMES = ("close-up portrait", "waist-up shot", "full body shot")


def caption(i: int, *more: str) -> str:
    """A caption without a fault, one of many."""
    said = (FRAMES[i % 3], f"wearing {CLOTHES[i % 6]}", f"{PLACES[i % 8]} background")
    return ", ".join(("grace_char", *said, *more, f"detail{i} thing{i}"))


def write(root: Path, texts: Mapping[str, str], color: Any = None) -> Path:
    """Pictures of one colour (by name, from `color`) with their captions."""
    root.mkdir(exist_ok=True)
    for name, text in texts.items():
        paint = color(name) if color else (120, 60, 200)
        Image.new("RGB", (48, 48), paint).save(root / f"{name}.png")
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
    return root


def found(audit: Audit, rule: str) -> list[Finding]:
    return [f for f in audit.active if f.rule == rule]


def mended(root: Path, text: str, **how: Any) -> str:
    """A lone caption after all its mends."""
    write(root, {"a": text})
    sheet = open_sheet(root)
    audit = examine(sheet, trigger="grace_char", **how)
    made = edits.mend(sheet, audit.active)
    return made[0].after or "" if made else text


def test_good_captions_have_no_finding(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{i:02}": caption(i) for i in range(20)})
    assert examine(root, trigger="grace_char").active == []


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("grace_chr, hat, beach", "grace_char, hat, beach"),
        ("Grace-Char, hat, beach", "grace_char, hat, beach"),
        ("grace char in a hat", "grace_char in a hat"),
        ("hat, beach, grace_char", "grace_char, hat, beach"),
        ("a photo of grace_char, hat", "grace_char, hat"),
        (
            "A photo of grace_char, a tall woman with long wavy brown hair and bright green eyes, "
            "wearing a coat, at home. The image is high quality.",
            "grace_char, wearing a coat, at home.",
        ),
        ("grace_char, slim body, tattoo on left arm, yoga", "grace_char, yoga"),
        ("grace_char, man in his mid-twenties wearing a hat", "grace_char, wearing a hat"),
        ("grace_char, grey sweater, her hair tied back", None),
        ("grace_char, hat, shot on Canon EOS R5, f/1.8", "grace_char, hat"),
        ("hat, beach", "grace_char, hat, beach"),
        ("grace_char, hat, grace_char smiling", "grace_char, hat, smiling"),
        ("[trigger], hat, beach", "grace_char, hat, beach"),
        ("grace_char, hat, 85mm, bokeh", "grace_char, hat"),
        ("grace_char, woman with long brown hair in a park", "grace_char, woman in a park"),
        ("grace_char, blue eyes and a hat", "grace_char, a hat"),
        (
            "grace_char, close-up portrait, hat, full body shot",
            "grace_char, close-up portrait, hat",
        ),
        ("grace_char, wet hair, eyes closed, in an old library", None),
        ("grace_char, my own words about her", None),
    ],
)
def test_one_caption_is_mended_in_one_step(tmp_path: Path, text: str, after: str | None) -> None:
    got = mended(tmp_path, text, class_word="woman", thresholds={"words_min": 1})
    assert got == (after or text)


def test_ordinary_words_are_no_misspelt_trigger() -> None:
    value = numbers(None)
    assert misspelt("maya, in may, many people", "maya", value) == []
    assert misspelt("mara, in may", "maya", value) == ["mara"]
    assert misspelt("grace_char, gracious character", "grace_char", value) == []
    assert misspelt("grace_char, portrait of grace_cher", "grace_char", value) == ["grace_cher"]


def test_the_user_says_which_traits_are_constant(tmp_path: Path) -> None:
    text = "grace_char, ponytail, round glasses, red scarf, brown eyes, freckles, in the park"
    root = write(tmp_path, {"a": text})

    def traits(**own: str) -> set[str]:
        audit = examine(root, trigger="grace_char", constants=own)
        return {str(f.evidence["trait"]) for f in found(audit, "constant")}

    assert traits() == {"eyes", "skin"}
    assert traits(glasses="fuse", eyes="vary", hair_state="fuse") == {
        *("glasses", "hair_state", "skin")
    }
    assert traits(**{"red scarf": "fuse"}) == {"red scarf", "eyes", "skin"}
    with pytest.raises(InputError, match="no trait 'hair_colour'"):
        traits(hair_colour="fuse")
    with pytest.raises(InputError, match="no policy 'never'"):
        traits(eyes="never")


def test_glasses_in_most_captions_are_a_constant_in_few_they_are_not(tmp_path: Path) -> None:
    for n, leaks in ((12, 12), (4, 0)):
        root = tmp_path / str(n)
        write(root, {f"{i:02}": caption(i, *["glasses"] * (i < n)) for i in range(12)})
        assert len(found(examine(root, trigger="grace_char"), "constant")) == leaks


def test_fused_phrases_say_whether_the_pictures_show_them(tmp_path: Path) -> None:
    """White ground in all captions: in all pictures, in half, in none; a gaze: not measured."""
    white, blue = (238, 236, 231), (44, 88, 176)
    wanted = {"both": 12, "partly": 6, "text only": 0}
    for verdict, n in wanted.items():
        texts = {
            f"{i:02}": caption(i).replace(f"{PLACES[i % 8]} background", "plain white background")
            + ", looking at camera"
            for i in range(12)
        }
        root = write(tmp_path / verdict.replace(" ", "_"), texts,
                     lambda name, n=n: white if int(name) < n else blue)  # fmt: skip
        sheet = open_sheet(root)
        audit = examine(sheet, trigger="grace_char")
        phrases = {p["phrase"]: p for p in audit.phrases}
        ground = phrases["plain white background"]
        assert (ground["pictures"], ground["pictures_show"]) == (verdict, n)
        assert phrases["looking at camera"]["pictures"] == "not measured"
        assert "white" not in phrases, "the longest phrase stands for those inside it"
        one = next(f for f in found(audit, "frequency") if "white" in f.subject)
        assert one.severity == "error" and len(one.mends) == 12 - n
        made = edits.mend(sheet, [one])
        assert {e.key for e in made} == {f"{i:02}.txt" for i in range(n, 12)}
        assert all("white" not in str(e.after) for e in made)


def test_a_model_is_asked_where_nothing_else_can_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three pictures asked about show the hat; the third caption loses it, no other."""
    answers = iter(["Yes.", "<think>a cap?</think>no", "yes, it does"])
    root = write(tmp_path / "f", {f"{i:02}": caption(i, "straw hat") for i in range(12)})
    with ChatServer(lambda body: next(answers)) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        code, told = run(capsys, "check", root, "--trigger", "grace_char", "--ask", "3")
    asked = [body for path, _, body in server.requests if path.endswith("chat/completions")]
    assert code == 1 and len(asked) == 3 and "straw hat" in str(asked[0]["messages"])
    phrase = next(p for p in told["phrases"] if p["phrase"] == "straw hat")
    assert (phrase["pictures"], phrase["pictures_show"]) == ("partly", 2)
    one = next(f for f in told["findings"] if f["subject"] == "straw hat")
    assert one["mendable"] == 1 and "a model was asked about 3 of 12" in one["text"]


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join), max_size=9),
    st.sampled_from([0.5, 0.75, 0.9]),
)
@settings(max_examples=80, deadline=None)
def test_alike_captions_are_those_a_comparison_of_all_pairs_finds(
    lines: list[str], likeness: float
) -> None:
    texts = {str(i): line for i, line in enumerate(lines)}
    words = {k: frozenset(t.split()) for k, t in texts.items()}
    want = set()
    for (a, x), (b, y) in combinations(words.items(), 2):
        if texts[a] != texts[b] and len(x & y) / len(x | y) >= likeness:
            want.add(b)
    got = {b for _, b, _ in alike.alike_pairs(texts, set(), likeness)}
    assert got <= want
    first = {k for k in texts if texts[k] not in [texts[str(i)] for i in range(int(k))]}
    assert got == want & first
    groups = alike.equal_groups(texts)
    assert sum(map(len, groups)) == sum(lines.count(t) for t in set(lines) if lines.count(t) > 1)


@given(st.text("ab ,_gx，、。", max_size=30), st.sampled_from(["a", "a b", "gx"]))
@settings(max_examples=150, deadline=None)
def test_mends_do_what_they_say_once(text: str, words: str) -> None:
    once = trigger_first(text, "g_x")
    assert once.startswith("g_x") and len(re.findall(r"(?<!\w)g_x(?!\w)", once)) == 1
    assert trigger_first(once, "g_x") == once
    gone = delete_words(text, words)
    assert words == "a b" or not re.search(rf"(?<!\w){words}(?!\w)", gone)


def test_captions_in_chinese_are_counted_cut_and_mended_by_their_own_marks(tmp_path: Path) -> None:
    said = "mei_char，半身照，穿着红色连衣裙，咖啡馆背景，微笑，第{}张照片"
    root = write(tmp_path, {f"{i:02}": said.format(i) for i in range(12)})
    audit = examine(root, trigger="mei_char")
    assert {f.subject for f in found(audit, "frequency")} == {
        *("半身照", "穿着红色连衣裙", "咖啡馆背景", "微笑")
    }
    assert not found(audit, "length"), "signs are counted, not the blanks between them"
    made = edits.mend(open_sheet(root), found(audit, "frequency"))
    assert made[3].after == "mei_char，第3张照片"
    assert trigger_first("半身照，mei_char，微笑", "mei_char") == "mei_char, 半身照，微笑"
    assert delete_words("mei_char，半身照。微笑", "半身照") == "mei_char。微笑"


def test_two_contradictions_of_one_caption_are_each_mended_at_their_own_words() -> None:
    text = "g_char, close-up portrait, front view, red dress"
    found = against_attributes(text, "a.txt", {"framing": "full_body", "angle": "side"})
    for finding in found:
        text = finding.mends[0].how(text)
    assert text == "g_char, full body shot, side profile view, red dress"


def test_nobody_else_is_not_nobody() -> None:
    plan = read("g_char, close-up portrait", "g_char")
    for words, people in (
        ("a woman in a park, no one else is around", False),
        ("A woman in a café. There are no people in the background.", False),
        ("a woman at a desk; no people are visible behind her", False),
        ("an empty room, no people", True),
        ("no person is visible", True),
    ):
        answer = compare(plan, read(words, "g_char"), words)
        assert ("people" in {d.slot for d in answer.disagreements}) == people, words


def test_a_check_without_a_trigger_does_not_call_the_trigger_fused(tmp_path: Path) -> None:
    root = write(tmp_path, {f"{i:02}": caption(i) for i in range(20)})
    audit = examine(root)
    assert audit.active == [] and audit.trigger == ""
    assert any("Most captions begin with grace_char" in u["way"] for u in audit.unmeasured)


def test_a_fused_phrase_takes_its_adjectives_along() -> None:
    text = "g_x, genuine warm smile, on a beach, she has a smile, modern café background"
    assert delete_phrase(text, "smile") == "g_x, on a beach, modern café background"
    assert delete_phrase("g_x, wearing a red dress in a park, hat", "red dress") == (
        "g_x, in a park, hat"
    )
    assert delete_phrase("g_x, looking at camera with a grin", "camera") == "g_x, a grin"


def test_tokens_are_estimated_and_too_many_are_an_error(tmp_path: Path) -> None:
    assert tokens("grace_char, café") == 6 and tokens("unbelievably") == 2
    root = write(tmp_path, {"a": "grace_char, " + "word " * 600, "b": "grace_char, hat"})
    audit = examine(root, trigger="grace_char")
    assert {f.file for f in found(audit, "length")} == {"a.txt", "b.txt"}
    assert f"limner captions edit {root} --file" in found(audit, "length")[0].fix
    assert "estimated" in found(audit, "tokens")[0].text


def test_a_waiver_has_a_reason_shows_and_can_be_taken_back(tmp_path: Path) -> None:
    root = write(tmp_path, {"a": "hat", "b": caption(1)})
    audit = examine(root, trigger="grace_char")
    one = found(audit, "trigger_missing")[0]
    entry = {"id": one.id, "rule": one.rule, "file": one.file, "subject": one.subject}
    with pytest.raises(UsageError, match="reason"):
        steps.waive(open_sheet(root), [entry], " ")
    step = steps.waive(open_sheet(root), [entry], "a regularisation picture")
    again = examine(root, trigger="grace_char")
    assert one.id not in {f.id for f in again.active}
    assert [f.waived for f in again.waived] == ["a regularisation picture"]
    assert "a regularisation picture" in render(open_sheet(root), again)
    steps.undo(open_sheet(root), [step.number])
    assert one.id in {f.id for f in examine(root, trigger="grace_char").active}


SHOWN = {
    **{"angle": "front", "framing": "half_body", "expression": "happy", "gaze": "camera"},
    **{"outfit": "beige_sweater_jeans", "setting": "modern_cafe", "lighting": "golden_hour"},
    **{"pose": "relaxed", "camera": "canon_85", "expression_variant": "0"},
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Twelve kept drawings that all show a café; captions by rule, no measure yet."""
    made = Project.create(
        tmp_path / "p", name="G", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    made.store.replace_shots([Shot(f"shot_{n:03}", n, SHOWN, "", n) for n in range(1, 13)])
    for shot in made.store.shots():
        take = made.store.journal_take(shot.id, "atelier", 1, {})
        path = made.folder("takes") / f"{shot.id}_a1.png"
        Image.new("RGB", (64, 64), (90, 90, 90)).save(path)
        made.store.update_take(
            take.id, state="done", path=made.relative(path), height=256, labels={"drawing": True}
        )
        made.store.decide(take.id, "keep", [], "rule")
        say(made, take.id, f"grace_char, waist-up shot, tag{shot.id} word{shot.position}, calm one")
    return made


def say(project: Project, take_id: int, text: str) -> None:
    project.store.put_caption(take_id, text, "rule")
    path = project.store.take(take_id).path
    assert path is not None
    project.path(path).with_suffix(".txt").write_text(text, encoding="utf-8")


def test_captions_are_held_against_the_measures(project: Project) -> None:
    """Framing, angle and face count of review; where they are absent that is said, not passed."""
    ids = [t.id for t in project.store.kept()]
    assert {u["why"] for u in examine(project).unmeasured} == {"not reviewed yet"}
    says = (
        ("waist-up shot, smiling, here we are", (1.0, 20.0, 0.0), "close-up|the face is 0.08"),
        ("waist-up shot, two women, in the hall", (1.0, 60.0, 0.0), "one face was found"),
        ("waist-up shot, calm, in the hall", (2.0, 60.0, 0.0), "2 faces were found"),
        ("waist-up shot, front view, in the hall", (1.0, 60.0, 70.0), "turned 70 degrees"),
        ("waist-up shot, genuine smile, in the hall", (0.0, None, None), "no face was found"),
        ("waist-up shot, front view, in the hall", (1.0, 60.0, 5.0), ""),
        ("full body shot, calm, in the hall", (1.0, 60.0, 5.0), "the shot is a waist-up shot"),
        ("waist-up shot, living room background, calm", (1.0, 60.0, 5.0), "shows modern café"),
    )
    for take_id, (text, values, _) in zip(ids, says, strict=False):
        say(project, take_id, f"grace_char, {text}, number {take_id}")
        names = ("face_count", "face_width", "yaw")
        for name, value in zip(names, values, strict=True):
            reason = "no face" if value is None else None
            project.store.put_measures(take_id, [Measure(name, value, "", reason)])
    audit = examine(project)
    told = {f.file: f.text for f in found(audit, "contradiction")}
    for take_id, (_, _, words) in zip(ids, says, strict=False):
        text = told.get(f"takes/shot_{take_id:03}_a1.txt", "")
        assert re.search(words, text) if words else not text, (take_id, text)
    sheet = open_sheet(project)
    made = {e.key: e.after for e in edits.mend(sheet, found(audit, "contradiction"))}
    assert "modern café background" in str(made["takes/shot_008_a1.txt"])
    assert "full body shot, smiling" in str(made["takes/shot_001_a1.txt"])


def test_a_drawings_own_labels_stand_above_what_a_detector_measured(project: Project) -> None:
    """The atelier knows what it drew; a face found too small or turned is the detector's fault."""
    take, other = project.store.kept()[:2]
    labels = {"drawing": True, "framing": "half_body", "angle": "front"}
    project.store.update_take(take.id, labels=labels)
    for one in (take, other):
        say(project, one.id, f"grace_char, waist-up shot, front view, in the hall, number {one.id}")
        names = {"face_count": 2.0, "face_width": 8.0, "yaw": 70.0}
        project.store.put_measures(one.id, [Measure(n, v, "") for n, v in names.items()])
    told = {f.file for f in found(examine(project), "contradiction")}
    assert told == {f"takes/{other.shot_id}_a1.txt"}
    say(project, take.id, f"grace_char, full body shot, in the hall, number {take.id}")
    texts = [f.text for f in found(examine(project), "contradiction") if take.shot_id in f.file]
    assert len(texts) == 1 and "the shot is a waist-up shot" in texts[0]  # of the record, not eyes


def test_what_the_drawings_show_decides_whose_fault_a_fused_phrase_is(project: Project) -> None:
    for take in project.store.kept():
        text = f"grace_char, waist-up shot, café, gym background, by{take.id} {take.shot_id} zebra"
        say(project, take.id, text)
    audit = examine(project)
    phrases = {p["phrase"]: (p["pictures"], p["pictures_show"]) for p in audit.phrases}
    assert phrases["café"] == ("both", 12) and phrases["gym background"] == ("text only", 0)
    assert phrases["zebra"][0] == "not measured"


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.run(["captions", *map(str, args), "--json"])
    answer = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert isinstance(answer, dict)
    return code, answer


def test_the_commands_tell_one_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check, fix, undo, edit, history and waive on a folder of someone else's."""
    root = write(tmp_path / "f", {"a": "hat on, brown eyes, at the beach, calm", "b": caption(1)})
    before = (root / "a.txt").read_bytes()
    code, told = run(
        capsys, "check", root, "--trigger", "grace_char", "--page", tmp_path / "c.html"
    )
    assert code == 1 and {"rule", "severity", "file", "text", "fix"} <= told["findings"][0].keys()
    assert {f["rule"] for f in told["findings"]} == {"trigger_missing", "constant"}
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:|#)', page)
    code, told = run(capsys, "fix", root, "--trigger", "grace_char", "--rule", "camra")
    assert code == 2 and "Did you mean camera? The rules are: " in told["error"]["fix"]
    code, told = run(capsys, "fix", root, "--trigger", "grace_char")
    assert code == 0 and not told["applied"] and (root / "a.txt").read_bytes() == before
    code, told = run(capsys, "fix", root, "--trigger", "grace_char", "--apply")
    assert (root / "a.txt").read_text() == "grace_char, hat on, at the beach, calm"
    assert run(capsys, "check", root, "--trigger", "grace_char")[0] == 0
    code, _ = run(capsys, "undo", str(told["step"]), "--in", root)
    assert code == 0 and (root / "a.txt").read_bytes() == before
    one = ("--rule", "trigger_missing", "--trigger", "grace_char")
    code, _ = run(capsys, "waive", root, *one, "--reason", "on purpose")
    code, told = run(capsys, "check", root, "--trigger", "grace_char", "--constant", "eyes=vary")
    assert code == 0 and told["waived"][0]["waived"] == "on purpose"
    code, told = run(
        capsys, "edit", root, "--find", r"(\w+) eyes", "--replace", r"\1 hat", "--apply"
    )
    code, told = run(capsys, "history", "a.png", "--in", root)
    assert [t["author"] for t in told["texts"]] == ["found", "person", "person", "person"]
    assert run(capsys, "edit", root, "--find", "(")[0] == 2
    assert run(capsys, "check", tmp_path / "none")[0] == 2
