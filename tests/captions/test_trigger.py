"""Advice on a trigger word: counted by the base's own tokenizer, or not measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.captions.trigger import advise
from limner.captions.vocabularies import BASE, Tokenizer, find_tokenizer
from limner.cli import shell as cli
from limner.errors import InputError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model of this machine takes part."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def rules(word: str, **more: str) -> dict[str, str]:
    return {f["rule"]: f["severity"] for f in advise(word, "miniature", **more).findings}


def test_words_are_judged_by_form_language_and_use() -> None:
    assert "error" not in rules("grace_char").values() and rules("grace_char")["name"] == "info"
    assert rules("Grace Char")["form"] == "error"
    assert rules("sks")["worn_out"] == rules("tok")["worn_out"] == "error"
    assert rules("ohwx")["worn_out"] == "warning" and "worn_out" not in rules("ohwx_woman")
    assert rules("grace")["common"] == "warning" and rules("river")["common"] == "error"
    assert rules("smile")["in_captions"] == "error"
    assert rules("woman", class_word="woman")["class_word"] == "error"
    assert advise("rose", "miniature").verdict == "poor"
    told = advise("kavelo_char", "miniature")
    assert "guide" in told.conflict and "Replicate" in told.conflict and told.findings == []


def test_without_the_tokenizers_files_nothing_is_counted() -> None:
    told = advise("grace_char", BASE)
    assert told.tokens_at_start is None and told.tokens_inside is None and told.pieces == []
    assert told.tokens_reason is not None and f"hf download {BASE}" in told.tokens_reason
    assert isinstance(find_tokenizer("no/such"), str) and isinstance(find_tokenizer("."), str)


def test_the_miniatures_count_is_said_to_say_nothing_about_the_real_base() -> None:
    told = advise("grace_char", "miniature")
    assert told.tokens_at_start == len(told.pieces) and "".join(told.pieces) == "grace_char"
    assert told.tokens_reason is not None and "says nothing about" in told.tokens_reason


def test_both_file_layouts_of_a_tokenizer_give_the_same_tokens(tmp_path: Path) -> None:
    own = find_tokenizer("miniature")
    assert isinstance(own, Tokenizer)
    folder = tmp_path / "base" / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(own.ids), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in sorted(own.ranks, key=lambda p: own.ranks[p]))
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    other = find_tokenizer(str(tmp_path / "base"))
    assert isinstance(other, Tokenizer) and other.ranks == own.ranks
    assert other.pieces(" waist-up") == own.pieces(" waist-up")
    (folder / "vocab.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        find_tokenizer(str(tmp_path / "base"))


WORDS = st.one_of(
    st.from_regex(r"[a-z0-9]{1,8}(_[a-z0-9]{1,6}){0,3}", fullmatch=True),
    st.from_regex(r"[A-Za-z_\-']{1,14}", fullmatch=True),
    st.sampled_from(["waist-up", "café", "don't", "grace_char", "ohwx_woman", "a1b2_c3"]),
)


@given(WORDS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_words_are_cut_exactly_as_the_tokenizer_library_cuts_them(word: str, inside: bool) -> None:
    from tokenizers import Tokenizer as Library

    own = find_tokenizer("miniature")
    assert isinstance(own, Tokenizer)
    library = Library.from_file(own.path)
    text = f" {word}" if inside else word
    ids = library.encode(text, add_special_tokens=False).ids
    assert own.pieces(text) == [library.decode([i]) for i in ids]


def test_the_command_tells_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["captions", "trigger", "kavelo_char", "--base", "miniature", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "good" and found["tokens_at_start"] >= 2
    assert cli.run(["captions", "trigger", "sks"]) == 1
    out = capsys.readouterr().out
    assert "not measured" in out and "sks: poor" in out
