"""Captions: compiled exactly, edited by hand, checked."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import lexicon
from limner.captions import check, compile, compile_caption, edit, read_back
from limner.captions.audit import on_text
from limner.captions.counting import phrases
from limner.captions.findings import numbers
from limner.captions.leaks import constant_findings, policy
from limner.captions.spelling import edit_distance
from limner.errors import InputError, NotReadyError
from limner.events import Notice, collect
from limner.lexicon.constants import find_constants
from limner.project import Project
from limner.project.files import sha256_bytes
from limner.project.records import Shot
from limner.shots import plan, replan, take_in

CAFE = {
    **{"angle": "front", "framing": "half_body", "expression": "happy", "gaze": "camera"},
    **{"outfit": "beige_sweater_jeans", "setting": "modern_cafe", "lighting": "golden_hour"},
    **{"pose": "relaxed", "camera": "canon_85", "expression_variant": "0"},
}

attributes = st.fixed_dictionaries(
    {
        **{axis: st.sampled_from(sorted(lexicon.axis(axis))) for axis in lexicon.AXES},
        "gaze": st.sampled_from(["camera", "away", "down"]),
        "expression_variant": st.sampled_from(["0", "1", "2"]),
    }
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of 12 kept takes (the pictures' bytes do not matter here)."""
    made = Project.create(
        tmp_path / "grace",
        name="Grace",
        trigger="grace_char",
        class_word="woman",
        likeness="synthetic",
    )
    made.change_character(shots__count=12)
    collect(plan(made))
    for shot in made.store.shots():
        take = made.store.journal_take(shot.id, "atelier", shot.seed, {})
        path = made.folder("takes") / f"{shot.id}_a1.png"
        path.write_bytes(shot.id.encode())
        made.store.update_take(
            take.id,
            state="done",
            path=made.relative(path),
            sha256=sha256_bytes(shot.id.encode()),
        )
        made.store.decide(take.id, "keep", [], "rule")
    return made


def test_the_guides_own_example_comes_out_byte_for_byte() -> None:
    made = compile_caption(CAFE, "grace_char", profile="seed")
    assert made.text == (
        "grace_char, waist-up shot, wearing beige sweater and jeans, modern café background, "
        "looking at camera with genuine smile, joyful mood, natural lighting"
    )
    assert {d["rule"] for d in made.dropped} == {"light", "material", "background", "camera"}
    assert {"text": "soft cashmere high-waisted"}.items() <= made.dropped[1].items()


@given(attributes, st.integers(0, 2**40), st.sampled_from(["default", "seed"]))
@settings(max_examples=100, deadline=None)
def test_a_caption_has_its_slots_and_no_constant(
    values: dict[str, str], variant: int, profile: str
) -> None:
    text = compile_caption(values, "grace_char", profile=profile, variant=variant).text
    assert text == compile_caption(values, "grace_char", profile=profile, variant=variant).text
    parts = text.split(", ")
    assert parts[0] == "grace_char" and text.count("grace_char") == 1
    outfit, place = lexicon.outfits()[values["outfit"]], lexicon.settings()[values["setting"]]
    assert outfit.phrase in parts[2] and place.phrase in parts[3]
    mood = lexicon.moods()[values["expression"]]
    wording = mood.caption[int(values["expression_variant"])]
    assert (wording in text) == lexicon.angles()[values["angle"]].face
    value = numbers(None)
    assert on_text(text, "x", "grace_char", value) == []
    assert constant_findings({"x": text}, "woman", policy(None), value) == []
    if profile == "default":
        lights = [light.phrase for light in lexicon.lightings().values()]
        assert not any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in lights)
        assert any(p in parts for p in lexicon.angles()[values["angle"]].phrase)


def test_no_tail_or_frame_stands_in_every_caption() -> None:
    texts = {
        str(v): compile_caption(
            {**CAFE, "expression_variant": str(v % 3)}, "g_char", variant=v
        ).text
        for v in range(60)
    }
    often = numbers(None)["frequency_warning"]
    shares = {p.words for p in phrases(texts, "g_char", "woman", least=often)}
    same_everywhere = {"beige", "sweater", "jeans", "modern", "café", "smile"}
    assert shares.isdisjoint({"looking at camera", "front view", "joyful mood", "wearing"})
    assert same_everywhere <= {word for phrase in shares for word in phrase.split()}


def test_unknown_values_are_named() -> None:
    with pytest.raises(InputError, match="no outfit 'toga'"):
        compile_caption({**CAFE, "outfit": "toga"}, "grace_char")
    with pytest.raises(InputError, match="no caption profile"):
        compile_caption(CAFE, "grace_char", profile="poem")


def test_every_kept_take_gets_its_own_caption(project: Project) -> None:
    found = collect(compile(project))
    assert {n: found[n] for n in ("total", "compiled", "unchanged", "by_hand", "read_back")} == {
        **{"total": 12, "compiled": 12, "unchanged": 0},
        **{"by_hand": 0, "read_back": 0},
    }
    captions = project.store.captions()
    assert len({c.text for c in captions.values()}) == 12
    for take in project.store.kept():
        assert (project.root / f"takes/{take.shot_id}_a1.txt").read_text() == captions[take.id].text
        assert captions[take.id].author == "rule" and captions[take.id].dropped
    assert check(project) == []
    assert collect(compile(project))["unchanged"] == 12
    assert all(len(project.store.caption_history(t)) == 1 for t in captions)


def test_what_a_person_wrote_wins_and_stays(project: Project) -> None:
    collect(compile(project))
    first, second = project.store.kept()[:2]
    file = project.root / "takes" / f"{first.shot_id}_a1.txt"
    file.write_text("grace_char, my own words about her in the garden, laughing\n")
    assert {f["rule"] for f in check(project)} == {"file"}
    found = collect(compile(project))
    assert found["read_back"] == found["by_hand"] == 1
    edit(project, second.id, "grace_char, another caption written by hand, half-body shot")
    project.change_character(captions__profile="seed")
    found = collect(compile(project))
    assert found["by_hand"] == 2 and found["compiled"] == 10
    captions = project.store.captions()
    assert captions[first.id].text == "grace_char, my own words about her in the garden, laughing"
    assert [c.author for c in project.store.caption_history(first.id)] == ["rule", "person"]
    assert captions[second.id].author == "person"


def test_a_caption_says_what_was_drawn_though_the_shot_was_planned_anew(project: Project) -> None:
    """Rejected, planned anew, and kept after all: the picture shows the first plan."""
    take = project.store.kept()[0]
    shot = project.store.shot(take.shot_id)
    assert shot is not None
    request = {"prompt": shot.prompt, "attributes": shot.attributes}
    project.store.update_take(take.id, request=request)
    collect(compile(project))
    before = project.store.captions()[take.id].text
    project.store.decide(take.id, "reject", ["not her"], "person")
    collect(replan(project, [shot.id]))
    fresh = project.store.shot(shot.id)
    assert fresh is not None and fresh.attributes["setting"] != shot.attributes["setting"]
    project.store.decide(take.id, "keep", [], "person")
    assert collect(compile(project))["unchanged"] == 12
    assert project.store.captions()[take.id].text == before
    other = fresh.attributes["setting"]
    swapped = {"setting": {"asked": shot.attributes["setting"], "made": other}}
    request["attributes"] = {**shot.attributes, "setting": other}
    project.store.update_take(take.id, request=request, labels={"substituted": swapped})
    assert project.store.take(take.id).asked(fresh) == replace(
        fresh, prompt=shot.prompt, attributes=shot.attributes
    )


def test_a_file_older_than_its_caption_is_no_edit(project: Project) -> None:
    """A kill between record and file leaves the old text in the file: not a person's words."""
    collect(compile(project))
    take = project.store.kept()[0]
    project.store.put_caption(take.id, "grace_char, a newer caption, of the rules", "rule")
    file = project.root / "takes" / f"{take.shot_id}_a1.txt"
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert read_back(project) == []
    collect(compile(project))
    assert file.read_text() == project.store.captions()[take.id].text


def test_a_persons_text_counts_however_old_its_file_is(project: Project) -> None:
    """`cp -p`, unzip and rsync bring files back with the times they had elsewhere."""
    collect(compile(project))
    take = project.store.kept()[0]
    file = project.root / "takes" / f"{take.shot_id}_a1.txt"
    file.write_text("grace_char, words of my own, from another machine")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert read_back(project) == [take.id]
    collect(compile(project))
    assert file.read_text() == "grace_char, words of my own, from another machine"


def test_captions_tell_what_was_made_instead(project: Project) -> None:
    take = next(t for t in project.store.kept())
    shot = project.store.shot(take.shot_id)
    assert shot is not None
    asked, made = shot.attributes["outfit"], "black_tuxedo"
    project.store.update_take(
        take.id, labels={"substituted": {"outfit": {"asked": asked, "made": made}}}
    )
    collect(compile(project))
    assert lexicon.outfits()[made].phrase in project.store.captions()[take.id].text


def keep_all(project: Project) -> None:
    """A kept take for every shot that has none."""
    for shot in project.store.shots():
        take = project.store.journal_take(shot.id, "inbox", shot.seed, {})
        path = project.folder("takes") / f"{shot.id}_a1.png"
        path.write_bytes(shot.id.encode())
        digest = sha256_bytes(shot.id.encode())
        project.store.update_take(take.id, state="done", path=project.relative(path), sha256=digest)
        project.store.decide(take.id, "keep", [], "rule")


def test_a_signature_outfit_has_its_tag_in_captions_and_in_the_evaluation(
    tmp_path: Path,
) -> None:
    from limner.pipeline.wiring import evaluation_prompts

    project = Project.create(
        tmp_path / "two", name="Two", trigger="two_char", class_word="woman", likeness="synthetic"
    )
    project.change_character(
        shots={
            "count": 16,
            "signature": {
                "red_dress": {"outfit": "red_cocktail_dress", "shots": 5},
                "work_look": {"outfit": "denim_jacket", "shots": 5},
            },
        }
    )
    collect(plan(project))
    keep_all(project)
    tags = {s.id: s.attributes.get("outfit_tag") for s in project.store.shots()}
    assert sorted(t for t in tags.values() if t) == ["red_dress"] * 5 + ["work_look"] * 5
    for profile in ("default", "seed", "strict"):
        collect(compile(project, profile=profile))
        for take in project.store.kept():
            second = project.store.captions()[take.id].text.split(", ")[1]
            assert (second if second in ("red_dress", "work_look") else None) == tags[take.shot_id]

    prompts = evaluation_prompts(project)
    for name, outfit in (("red_dress", "red_cocktail_dress"), ("work_look", "denim_jacket")):
        tagged = [p for p in prompts if p.text.startswith(f"two_char, {name}, ")]
        assert len(tagged) == 4 and {p.attributes["outfit"] for p in tagged} == {outfit}
    assert sum("red_dress" in p.text for p in prompts) == 4

    take = next(t for t in project.store.kept() if tags[t.shot_id] == "red_dress")
    other = {"asked": "red_cocktail_dress", "made": "black_tuxedo"}
    project.store.update_take(take.id, labels={"substituted": {"outfit": other}})
    collect(compile(project))  # the source made other clothes: the tag would be a lie
    assert "red_dress" not in project.store.captions()[take.id].text


def test_prompts_with_words_of_their_own_are_captioned_from_their_text(tmp_path: Path) -> None:
    project = Project.create(
        tmp_path / "own", name="Own", trigger="own_char", class_word="woman", likeness="synthetic"
    )
    prompts = project.root / "mine.csv"
    prompts.write_text(
        "prompt,angle,framing\n"
        '"Neon glow, own_char in a sequined space cape, full body shot in an abandoned submarine, '
        'long auburn hair, big grin, shot on Canon EOS R5",front,full_body\n'
        '"Soft window light, own_char wearing a navy wool suit, waist-up shot in a library, calm '
        'smile, looking at camera, 85mm",three_quarter,half_body\n'
    )
    collect(take_in(project, prompts, fill=False))
    keep_all(project)
    assert collect(compile(project))["compiled"] == 2
    first, second = (project.store.captions()[t.id] for t in project.store.kept())
    assert first.text.startswith("own_char, full body shot, wearing sequined cape, ")
    assert "submarine" in first.text and "grin" in first.text and first.author == "rule"
    assert not re.search("auburn|neon|canon", first.text, re.IGNORECASE)
    assert {"identity", "light", "camera"} <= {d["rule"] for d in first.dropped}
    assert "navy suit" in second.text and "library" in second.text and "85mm" not in second.text
    assert [f["rule"] for f in check(project) if f["severity"] == "error"] == []


def test_check_finds_each_fault(project: Project) -> None:
    with pytest.raises(NotReadyError):
        check(_empty(project))
    collect(compile(project))
    takes = project.store.kept()
    bad = [
        "grace_chr, waist-up shot, wearing red dress, park background, smiling",
        "waist-up shot, grace_char, wearing red dress, park background, smile",
        "grace_char, close-up portrait of grace_char, wearing a blue suit, office",
        "grace_char, close-up portrait, long brown hair and blue eyes, green hoodie, library",
        "grace_char, cowboy shot, white shirt, beach, 85mm, bokeh, masterpiece",
        "grace_char, smile",
    ]
    for take, text in zip(takes, bad, strict=False):
        edit(project, take.id, text)
    edit(project, takes[7].id, project.store.captions()[takes[8].id].text)
    rules = [f["rule"] for f in check(project)]
    expected = {"trigger_misspelt", "trigger_not_first", "trigger_repeated", "camera", "length"}
    assert expected | {"constant", "duplicate", "contradiction"} <= set(rules)
    assert rules.count("constant") == 2
    assert any("misspelt" in f["text"] for f in check(project))


def _empty(project: Project) -> Project:
    root = project.root.parent / "empty"
    return Project.create(root, name="a", trigger="a_b", class_word="man", likeness="synthetic")


def test_constants_belong_to_their_noun() -> None:
    found = find_constants("A woman with long brown hair and blue eyes, brown trousers, wet hair")
    assert [(c.trait, c.words) for c in found] == [
        ("sex", "woman"),
        ("hair_style", "long brown hair"),
        ("eyes", "blue eyes"),
    ]
    assert not find_constants("a woman in an old library, tall trees, eyes closed", "woman")
    words = "young man, fair skin, freckles, sharp jawline, 25 years old, slim build, a tattoo"
    assert {c.trait for c in find_constants(words)} == {"age", "skin", "face", "build", "marks"}


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edit_distance_is_a_distance(a: str, b: str) -> None:
    d = edit_distance(a, b)
    assert d == edit_distance(b, a) and (d == 0) == (a == b)
    assert abs(len(a) - len(b)) <= d <= max(len(a), len(b))


def test_a_prompt_that_is_not_understood_is_said_to_be(tmp_path: Path) -> None:
    project = Project.create(
        tmp_path / "mei", name="Mei", trigger="mei_char", class_word="woman", likeness="synthetic"
    )
    told = {"半身照，微笑": True, "close-up portrait of mei_char, genuine smile": False}
    shots = [Shot(f"shot_{n:03d}", n, {}, text, n) for n, text in enumerate(told, 1)]
    project.store.replace_shots(shots)
    for shot in shots:
        take = project.store.journal_take(shot.id, "inbox", 0, {})
        (project.root / "takes" / f"{shot.id}.png").write_bytes(b"")
        project.store.update_take(take.id, state="done", path=f"takes/{shot.id}.png")
        project.store.decide(take.id, "keep", [], "person")
    said = [e.text for e in compile(project) if isinstance(e, Notice)]
    assert [t for t in said if "nothing but the trigger (shot_001)" in t] == said
