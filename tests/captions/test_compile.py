"""The compiler for free text: the guide's example, its ten rules, and no constant ever through."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import lexicon
from limner.captions import (
    PROFILES,
    Compiled,
    compile_caption,
    compile_text,
    compile_texts,
)
from limner.captions.freetext import BODY_TAG, TEMPLATES
from limner.captions.words import words
from limner.cli import shell as cli
from limner.errors import InputError, UsageError
from limner.lexicon import drawable
from limner.lexicon.constants import find_constants

DATA = Path(__file__).parent / "data"
PARAPHRASES = (DATA / "paraphrases.txt").read_text("utf-8").splitlines()
PROMPT = (
    "Golden hour sunlight creating warm backlight, grace_char wearing soft beige cashmere sweater "
    "and high-waisted jeans, waist-up shot in modern minimalist café, warm wooden furniture and "
    "plants softly blurred in background, looking at camera with genuine warm smile, eyes bright "
    "and engaged, joyful content mood, shot on Canon EOS R5, 85mm f/1.8, natural bokeh, "
    "professional lifestyle photography"
)
CAPTION = (
    "grace_char, waist-up shot, wearing beige sweater and jeans, modern café background, looking "
    "at camera with genuine smile, joyful mood, natural lighting"
)
ANGLES = (  # the guide's captions by angle: captions already, so they come out as they are
    "grace_char, close-up portrait, black turtleneck, indoor setting, serene expression, looking "
    "at camera",
    "grace_char, half-body shot, wearing casual jeans and white shirt, outdoor park, playful "
    "smile, glancing over shoulder",
    "grace_char, profile view, athletic wear, gym environment, focused expression, side lighting",
    "grace_char, over-shoulder shot, flowing dress, beach background, looking back at camera, "
    "windswept hair",
)


def test_the_guides_prompt_becomes_its_caption_with_each_of_the_ten_edits_told() -> None:
    made = compile_text(PROMPT, "grace_char", profile="seed")
    assert made.text == CAPTION
    dropped = {d["text"]: d["rule"] for d in made.dropped}
    assert dropped == {
        "Golden hour sunlight creating warm backlight": "light",
        **{"soft": "material", "cashmere": "material", "high-waisted": "cut"},
        "minimalist": "place_style",
        "warm wooden furniture and plants softly blurred in background": "background",
        **{"warm": "temperature", "eyes bright and engaged": "identity", "content": "mood"},
        **{"shot on Canon EOS R5": "camera", "85mm f/1.8": "camera", "natural bokeh": "camera"},
        "professional lifestyle photography": "quality",
    }
    assert all(d["reason"] for d in made.dropped)
    assert {"trigger_first", "place", "light"} <= {e["rule"] for e in made.edits}


@cache
def compiled() -> list[Compiled]:
    return [compile_text(p, "grace_char", profile="seed") for p in PARAPHRASES]


RULES = {
    1: lambda c: c.startswith("grace_char, ") and c.count("grace_char") == 1,
    2: lambda c: (
        c.endswith(", natural lighting") and not re.search("golden|sun|backli|hour|glow", c)
    ),
    3: lambda c: (
        re.search(r"beige (sweater|jumper|pullover)", c)
        and not re.search("soft|cashmere|plush|fine-knit|chunky", c)
    ),
    4: lambda c: "jeans" in c and not re.search("waisted|rise|straight|vintage|slim|denim", c),
    5: lambda c: (
        re.search(r", waist-up shot, .*, (modern|sleek|stylish) caf[ée] background, ", c)
        and "minimalist" not in c
    ),
    6: lambda c: not re.search("wood|furniture|plant|green|table|chair|blur|decor", c),
    7: lambda c: "genuine smile" in c and "warm" not in c,
    8: lambda c: "eye" not in c and "hair" not in c,
    9: lambda c: ", joyful mood, " in c and "content" not in c,
    10: lambda c: (
        not re.search(
            r"canon|\bmm\b|f/|bokeh|photo|lens|nikon|sony|focus|8k|film|eos|lifestyle|resolution", c
        )
    ),
}
"""The guide's ten edits (its worked example), as what must hold of the caption."""


@pytest.mark.parametrize("number", RULES)
def test_fifty_paraphrases_obey_each_of_the_ten_rules(number: int) -> None:
    assert len(set(PARAPHRASES)) == 50
    assert [made.text for made in compiled() if not RULES[number](made.text)] == []


def test_prose_lists_and_json_are_read_like_prompts() -> None:
    """Prompts written freely (sentences, pipes, JSON, shorthand) obey the rules too."""
    for prompt in (DATA / "prose.txt").read_text("utf-8").splitlines():
        caption = compile_text(prompt, "grace_char", profile="seed").text
        assert all(RULES[n](caption) for n in (1, 2, 3, 4, 6, 8, 9, 10)), caption
        assert re.search(
            r"shot, wearing (beige sweater and jeans|jeans and beige sweater),", caption
        )
        assert re.search(r"(caf[ée]|coffee shop) background", caption) and "smil" in caption


REWRITTEN = {"wears", "looks", "smiles", "stands", "behind", "around", "trigger", "grace"}
LABELS = {"subject", "outfit", "framing", "location", "expression"}


def test_no_word_of_a_prompt_vanishes_untold() -> None:
    """Every content word of every paraphrase is in the caption or in what was dropped."""
    for prompt, made in zip(PARAPHRASES, compiled(), strict=True):
        told = " ".join([made.text, *(d["text"] for d in made.dropped)]).lower()
        told += " ".join(e["before"] for e in made.edits).lower()
        lost = {w for w in re.findall(r"[^\W\d_]{5,}", prompt.lower()) if w not in told}
        assert not lost - words("ignored") - REWRITTEN - LABELS, prompt


def test_a_caption_goes_through_the_seed_profile_unchanged() -> None:
    for caption in (CAPTION, *ANGLES):
        assert compile_text(caption, "grace_char", profile="seed").text == caption


def test_profiles_differ_in_light_and_in_the_tail_that_would_fuse() -> None:
    made = {p: compile_text(PROMPT, "grace_char", profile=p).text for p in PROFILES}
    assert made["default"] == (
        "grace_char, waist-up shot, wearing beige sweater and jeans, modern café background, "
        "genuine smile, joyful mood, looking at camera"
    )
    assert made["strict"] == made["default"].removesuffix(", looking at camera")


def test_strict_drops_what_every_caption_of_a_set_would_say() -> None:
    places = ("library", "park", "kitchen", "beach", "gym")
    prompts = [
        f"grace_char wearing red dress, waist-up shot in the {place}, {mood} smile, joyful mood"
        for place, mood in zip(places, ("bright", "shy", "genuine", "sly", "playful"), strict=True)
    ]
    made = compile_texts(prompts, "grace_char", profile="strict")
    assert made[0].text == "grace_char, joyful mood, library background, bright smile" or (
        "red dress" not in " ".join(m.text for m in made)
    )
    assert all("wearing red dress" in {d["text"] for d in m.dropped} for m in made)
    assert all(f"{p} background" in m.text for p, m in zip(places, made, strict=True))
    kept = compile_texts(prompts, "grace_char", profile="default")
    assert all("wearing red dress" in m.text for m in kept)
    tagged = compile_texts(prompts, "grace_char", profile="strict", outfit_tag="red_dress")
    assert all(m.text.startswith("grace_char, red_dress, ") for m in tagged)


def test_class_word_outfit_tag_and_body_template() -> None:
    text = "grace_char woman in a red dress, full body shot on a city street"
    assert compile_text(text, "grace_char", "woman").text == (
        "grace_char woman, full body shot, wearing red dress, city street background"
    )
    tagged = compile_text(text, "grace_char", outfit_tag="red_dress").text
    assert tagged.startswith("grace_char, red_dress, full body shot, ")
    shot = {
        **{"angle": "front", "framing": "half_body", "expression": "happy", "gaze": "camera"},
        **{"outfit": "beige_sweater_jeans", "setting": "modern_cafe", "pose": "relaxed"},
    }
    plain = compile_caption(shot, "grace_char", variant=3).text
    assert compile_caption({**shot, "outfit_tag": "cosy_look"}, "grace_char", variant=3).text == (
        plain.replace("grace_char, ", "grace_char, cosy_look, ")
    )
    body = "maya_char, legs, standing with one hand on hip, detailed skin texture, natural lighting"
    made = compile_text(body, "maya_char", template="body")
    assert made.text == f"maya_char, {BODY_TAG}, legs, standing, one hand on hip"
    assert "skin" in " ".join(d["text"] for d in made.dropped)


def test_a_models_sentences_become_a_caption_without_the_person() -> None:
    text = (
        "A woman with long brown hair and blue eyes wearing a red dress. She is a slim young woman "
        "in her twenties with freckles; she stands on an urban street, holding a paper cup."
    )
    made = compile_text(text, "grace_char")
    assert made.text == (
        "grace_char, wearing red dress, urban street background, standing, holding a paper cup"
    )
    assert sum(d["rule"] == "identity" for d in made.dropped) >= 3


def test_what_models_write_is_edited_by_the_same_rules() -> None:
    """Twelve answers as captioning models write them: sentences, tags, lists under labels."""
    for entry in json.loads((DATA / "descriptions.json").read_text("utf-8")):
        assert compile_text(entry["said"], "grace_char").text == entry["caption"]


def test_a_trait_that_changes_may_be_said_when_the_user_says_so() -> None:
    text = "grace_char with long brown hair and red lipstick, wearing a red dress, blue eyes"
    plain = "grace_char, wearing red dress"
    assert compile_text(text, "grace_char").text == plain
    made = compile_text(text, "grace_char", allow=["hair_style", "hair_color", "makeup"])
    assert made.text == f"{plain}, long brown hair, red lipstick"
    assert any(d["text"] == "blue eyes" for d in made.dropped)


# ---- whatever is written: constants in any place, any punctuation, any script

TRAITS = [w for values in lexicon.traits().values() for ws in values.values() for w in ws]
NOUNS = ("hair", "eyes", "skin", "face", "woman", "man", "jawline", "build", "lips", "cheekbones")
LEADS = (
    "with",
    "her",
    "a",
    "",
    "and",
    "beautiful",
    "young, slim",
    "holding her",
    "wearing",
    "in a",
)
LEADS += ("smiling with", "looking at her", "at the", "sitting with", "joyful", "touching his")
TAILS = (
    "",
    "",
    " smile",
    " mood",
    " background",
    " sweater",
    " pose",
    " salon",
    " light",
    " street",
)
CONSTANTS = st.builds(
    "{} {}{}{}".format,
    st.sampled_from(LEADS),
    st.sampled_from(sorted({w for w in TRAITS if w})),
    st.sampled_from([f" {n}" for n in NOUNS] + [""]),
    st.sampled_from(TAILS),
)
PIECES = st.one_of(
    CONSTANTS,
    st.sampled_from([p.strip() for text in PARAPHRASES[:12] for p in text.split(",")]),
    st.sampled_from([d for o in lexicon.outfits().values() for d in (o.phrase, o.detail)]),
    st.sampled_from([s.props for s in lexicon.settings().values()]),
    st.sampled_from(["grace_char", "Grace_Char's", "grace_char woman", "25 years old", "|", "((("]),
    st.text(max_size=12),
)
PROMPTS = st.lists(
    st.tuples(PIECES, st.sampled_from([", ", " ", ". ", " and ", " with ", "; ", " in "])),
    max_size=14,
).map(lambda parts: "".join(a + b for a, b in parts))
ALLOWED = {"windswept hair", "wet hair", "damp hair", "tousled hair", "eyes closed", "closed eyes"}


@given(PROMPTS, st.sampled_from(PROFILES), st.sampled_from(TEMPLATES), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_constant_leaks_and_the_trigger_is_first_and_once(
    prompt: str, profile: str, template: str, named: bool
) -> None:
    class_word = "woman" if named else None
    made = compile_text(prompt, "grace_char", class_word, profile, template=template)  # type: ignore[arg-type]
    head = "grace_char woman" if named else "grace_char"
    assert made.text == head or made.text.startswith(f"{head}, ")
    assert len(re.findall(r"grace_char", made.text, re.IGNORECASE)) == 1
    assert find_constants(made.text, class_word) == []
    regions = set(re.findall(r"[\w-]+", made.text.removeprefix(head))) & words("region")
    assert not regions or any(state in made.text for state in ALLOWED) or "cheek" in regions
    assert "\n" not in made.text and "  " not in made.text and ", ," not in made.text
    assert made == compile_text(prompt, "grace_char", class_word, profile, template=template)  # type: ignore[arg-type]
    assert all(set(d) == {"text", "rule", "reason"} and d["text"].strip() for d in made.dropped)


@given(st.text(max_size=300), st.sampled_from(["smile", "a", "grace", "ohwx_woman", "x1"]))
@settings(max_examples=60, deadline=None)
def test_any_text_and_any_word_as_trigger(text: str, trigger: str) -> None:
    made = compile_text(text, trigger, profile="seed").text
    assert re.match(rf"{trigger}(?:,|$)", made)
    assert len(re.findall(rf"(?<!\w){trigger}(?!\w)", made, re.IGNORECASE)) == 1


def test_a_trigger_that_cannot_stand_first_is_refused() -> None:
    for word in ("", "two words", "a,b", "grace\n", "_x", "-"):
        with pytest.raises(UsageError):
            compile_text("a red dress", word)
    with pytest.raises(InputError, match="no caption profile"):
        compile_text("a red dress", "grace_char", profile="poem")


# ---- the command


def test_compile_works_outside_a_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["captions", "compile", "--trigger", "grace_char", "--profile", "seed", PROMPT]
    assert cli.run(args) == 0
    assert capsys.readouterr().out == CAPTION + "\n"
    assert cli.run([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["caption"] == CAPTION
    assert {"text", "reason"} <= set(found["dropped"][0])
    assert cli.run(["captions", "compile", PROMPT]) == 2  # whose trigger?
    assert cli.run(["captions", "compile", "--outfit-tag", "red_dress"]) == 2  # of what?
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PARAPHRASES[:3]), encoding="utf-8")
    assert cli.run(["captions", "compile", "--trigger", "g_x", "--file", str(prompts)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


DRAWN = "0449021799df620d761a40637de3a1d5dadbd3d8f86e5b00faaa0cbd84bcf884"


def test_the_captions_of_drawings_are_those_the_base_was_trained_on() -> None:
    """A hash over 600 captions: who changes a word here must train the miniature anew."""
    random = Random(11)
    digest = hashlib.sha256()
    ids = {a: [*drawable.axis(a)] for a in lexicon.AXES}
    for i in range(600):
        row = {a: random.choice(values) for a, values in ids.items()}
        row["gaze"] = random.choice(["camera", "away", "down"])
        row["expression_variant"] = str(random.randrange(3))
        variant = random.randrange(1 << 30)
        made = compile_caption(row, "grace_char", None if i % 3 else "woman", variant=variant)
        digest.update((made.text + "\n").encode())
    assert digest.hexdigest() == DRAWN
