"""Prompts as people write them: what is read off them is right or not said, hardly ever wrong."""

from __future__ import annotations

from pathlib import Path

from limner.shots.reading import read_prompt

LINES = (Path(__file__).parent / "by_others.txt").read_text(encoding="utf-8").splitlines()


def test_prompts_by_other_hands_are_read() -> None:
    """Each line: a prompt, and what a reader sees in it on some axes."""
    right = wrong = silent = 0
    missed = []
    for line in LINES:
        text, _, told = line.partition(" | ")
        read = read_prompt(text).attributes
        for axis, value in (pair.split("=") for pair in told.split()):
            got = read.get(axis)
            right += got == value
            silent += got is None
            wrong += got not in (None, value)
            if got != value:
                missed.append((axis, value, got, text))
    assert right + wrong + silent == 171
    assert wrong <= 2 and silent <= 5, missed


def test_clothes_begin_after_the_person_in_them() -> None:
    for text in (
        "Soft window light falls on a woman in a red wool sweater, half body shot",
        "grace_char wearing a red wool sweater, half body shot",
    ):
        assert read_prompt(text).words["outfit"] == "red wool sweater", text


def test_a_picture_shot_on_a_phone_is_no_call() -> None:
    for said in ("shot on a phone", "shot on a recent smartphone", "shot on a phone camera"):
        read = read_prompt(f"a woman in a park, {said}, snapshot colours").attributes
        assert "pose" not in read and read["camera"].startswith("phone"), said
    assert read_prompt("a woman on the phone in a park").attributes["pose"] == "phone_at_ear"
