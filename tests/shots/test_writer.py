"""Prompts, one by one and as a set: fluent, without constants, and no long run of words twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import lexicon
from limner.errors import InputError
from limner.lexicon import drawable
from limner.lexicon.constants import find_constants
from limner.shots.dialects import ARTEFACTS, DIALECTS
from limner.shots.promptset import write_prompts
from limner.shots.reading import read_prompt
from limner.shots.report import runs
from limner.shots.writer import write_prompt

GOLDEN = "c3b84274acc2d2391b071a6a7df3fb8e260aab8a38ccb5e8b7a8a5b01d01212d"
GUIDE = (
    "Golden hour sunlight creating warm backlight, grace_char wearing soft beige cashmere sweater "
    "and high-waisted jeans, waist-up shot in modern minimalist café, warm wooden furniture and "
    "plants softly blurred in background, looking at camera with genuine warm smile, eyes bright "
    "and engaged, joyful content mood, shot on Canon EOS R5, 85mm f/1.8, natural bokeh, "
    "professional lifestyle photography"
)


def some_row(random: Random, vocabulary: object = lexicon) -> dict[str, str]:
    """Any attributes at all, whether or not they make sense together."""
    row = {a: random.choice([*vocabulary.axis(a)]) for a in lexicon.AXES}  # type: ignore[attr-defined]
    row["gaze"] = random.choice(["camera", "away", "down"])
    row["expression_variant"] = str(random.randrange(3))
    return row


def sensible_rows(count: int, seed: int, vocabulary: object = lexicon) -> list[dict[str, str]]:
    """Rows as a plan has them: every outfit, place and light about equally often."""
    random = Random(seed)
    turns = {}
    for a in ("outfit", "setting", "lighting"):
        values = [*vocabulary.axis(a)]  # type: ignore[attr-defined]
        turns[a] = [values[i % len(values)] for i in range(count)]
        random.shuffle(turns[a])
    rows: list[dict[str, str]] = []
    while len(rows) < count:
        row = some_row(random, vocabulary)
        if row["angle"] == "pure_back":
            continue
        shows = (lexicon.poses()[row["pose"]], lexicon.cameras()[row["camera"]])
        if all(row["framing"] in value.framings for value in shows):
            rows.append({**row, **{a: t[len(rows)] for a, t in turns.items()}})
    return rows


def test_the_words_of_drawings_are_those_the_base_was_trained_on() -> None:
    """A hash over 600 prompts: who changes a word here must train the miniature anew."""
    random = Random(7)
    digest = hashlib.sha256()
    ids = {a: [*drawable.axis(a)] for a in lexicon.AXES}
    for i in range(600):
        row = {a: random.choice(values) for a, values in ids.items()}
        row["gaze"] = random.choice(["camera", "away", "down"])
        row["expression_variant"] = str(random.randrange(3))
        class_word = None if i % 3 else "woman"
        text = write_prompt(row, "grace_char", random.randrange(1 << 30), class_word)
        digest.update((text + "\n").encode())
    assert digest.hexdigest() == GOLDEN


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([*DIALECTS]), st.sampled_from(["woman", "man"]))
def test_no_prompt_names_a_constant_and_each_says_what_it_shows(
    seed: int, dialect: str, class_word: str
) -> None:
    row = some_row(Random(seed))
    (text,) = write_prompts([row], "grace_char", [seed], class_word=class_word, dialect=dialect)
    assert find_constants(text, class_word) == []
    speech = DIALECTS[dialect]
    assert text.count("grace_char") == (1 if speech.trigger else 0)
    assert speech.trigger or class_word in text
    read = read_prompt(text).attributes
    face = lexicon.angles()[row["angle"]].face
    said = [a for a in lexicon.AXES if a != "camera" or "camera" not in speech.drop]
    for axis in said:
        if face or axis not in ("expression", "gaze"):
            assert read.get(axis) == row[axis], (axis, text)


@pytest.mark.parametrize("vocabulary", [lexicon, drawable])
@pytest.mark.parametrize("count", [8, 60, 61, 400])
def test_sets_share_no_long_run_of_words(count: int, vocabulary: object) -> None:
    rows = sensible_rows(count, count, vocabulary)
    seeds = list(range(count))
    for dialect in ("atelier", "comfyui"):
        prompts = write_prompts(rows, "grace_char", seeds, dialect=dialect)
        if count < 100:
            assert prompts == write_prompts(rows, "grace_char", seeds, dialect=dialect)
        often = Counter(run for text in prompts for run in runs(text, 6))
        assert max(often.values()) <= (1 if count <= 60 else 3), often.most_common(2)
        low, high = DIALECTS[dialect].words
        inside = sum(low <= len(text.split()) <= high for text in prompts)
        assert inside >= 0.98 * count
    taken = write_prompts(rows[:8], "grace_char", seeds[:8])
    fresh = write_prompts(rows[:8], "grace_char", seeds[:8], taken=taken)
    both = {r for t in taken for r in runs(t, 6)} & {r for t in fresh for r in runs(t, 6)}
    assert not both


def test_sources_are_spoken_to_in_their_own_way() -> None:
    row = sensible_rows(1, 5)[0]
    said = {
        d: write_prompts([row], "g_char", [5], class_word="woman", dialect=d)[0] for d in DIALECTS
    }
    assert "g_char woman" in said["higgsfield"] and "g_char" not in said["comfyui"]
    camera = read_prompt(said["inbox"]).words["camera"]
    assert camera and "camera" not in read_prompt(said["diffusers"]).words
    assert len(said["comfyui"]) < 0.75 * len(said["inbox"])
    assert DIALECTS["higgsfield"].negative is None and DIALECTS["comfyui"].negative == ARTEFACTS
    assert find_constants(ARTEFACTS) == []
    with pytest.raises(InputError, match="no dialect"):
        write_prompts([row], "g_char", [5], dialect="midjourney")


def test_the_guides_example_is_read_as_it_is_meant() -> None:
    read = read_prompt(GUIDE)
    assert read.attributes == {
        "outfit": "beige_sweater_jeans",
        "framing": "half_body",
        "setting": "modern_cafe",
        "lighting": "golden_hour",
        "camera": "canon_85",
        "expression": "happy",
        "expression_variant": "0",
        "gaze": "camera",
    }
    assert read.missing == ("angle", "pose") and not read.rivals
    assert read.words["outfit"] == "soft beige cashmere sweater, high-waisted jeans"


OTHERS = {
    "3/4 view headshot, teasing smile, she looks off camera": "three_quarter close_up playful",
    "full-length photo from behind at the lake, hands in pockets": "pure_back full_body None",
    "rear view, looking back at the camera, laughing, cowboy shot": "back cowboy happy",
    "upper body, profile portrait, lost in thought, dusk": "side half_body contemplative",
    "head-on, three-quarter length, calm, arms folded, overcast": "front cowboy peaceful",
    "medium shot, facing camera, confident smile, studio light": "front half_body confident",
}


@pytest.mark.parametrize("text", [*OTHERS])
def test_other_peoples_words_are_read_too(text: str) -> None:
    read = read_prompt(text).attributes
    assert [str(read.get(a)) for a in ("angle", "framing", "expression")] == OTHERS[text].split()


def test_words_outside_the_vocabulary_are_kept_as_they_stand() -> None:
    read = read_prompt(
        "x_char wearing a sequined space cape, close-up, in an abandoned submarine room, moonlight"
    )
    assert "outfit" not in read.attributes and read.words["outfit"] == "sequined space cape"
    assert read.words["setting"] == "abandoned submarine room" and read.words["lighting"]


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    read = read_prompt(text)
    for axis, value in read.attributes.items():
        if axis in lexicon.AXES:
            assert value in lexicon.axis(axis)
