"""The manual's rule table says what the code does."""

from __future__ import annotations

from pathlib import Path

from limner.review.rules import RULES, rules
from limner.vision.fusion import shipped_fusion

PAGE = Path(__file__).parent.parent.parent / "docs" / "review_measures.md"


def test_every_rule_stands_in_the_manual_with_its_value_source_and_tag() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for rule in RULES:
        row = next(
            (line for line in text.splitlines() if line.startswith(f"| `{rule.name}` |")), ""
        )
        photo = "same" if rule.photo is None else f"{rule.photo:g}"
        for said in (f" {rule.value:g}", photo, rule.says, rule.source, f"({rule.tag})"):
            assert said in row, (rule.name, said)
    rows = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert len(rows) == len(RULES)


def test_the_lines_of_identity_are_those_of_the_regression_that_ships() -> None:
    fusion, table = shipped_fusion("drawing"), rules({})
    assert fusion is not None
    for rule, line in (
        ("identity_odds_reject", "reject_below"), ("identity_odds_doubt", "doubt_below"),
    ):  # fmt: skip
        assert table[rule].value == round(fusion.card[line], 2), rule
