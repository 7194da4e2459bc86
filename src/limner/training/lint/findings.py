"""Findings of a check, collected by rule.

In: rule id, line, what would really happen, what to write instead. Out: rows for `--json`.
"""

from __future__ import annotations

from typing import Any

from limner.training.lint.rules import RULES


class Findings:
    """Collects findings and notes of one file. A rule at one place is told once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self._seen: set[tuple[str, str, int | None, str]] = set()

    def add(
        self, rule: str, line: int | None, what: str, instead: str, *, file: str | None = None
    ) -> None:
        """Tell a fault. what: what would really happen; instead: what to write or do."""
        known = RULES[rule]
        key = (rule, file or self.file, line, what)
        if key in self._seen:
            return
        self._seen.add(key)
        row = {
            "rule": rule,
            "severity": known.severity,
            "file": file or self.file,
            "line": line,
            "what": what,
            "instead": instead,
            "tag": known.tag,
            "source": known.source,
        }
        (self.notes if known.severity == "note" else self.rows).append(row)
