"""Errors a user can meet: what happened, where, what to do. A traceback is a bug.

Exit codes: 0 done, 1 findings, 2 wrong use, 3 the work failed.
"""

from __future__ import annotations


class LimnerError(Exception):
    """Base of every error shown to a user.

    what: one sentence; where: file, line and field, if there is a place; fix: what to do next.
    """

    exit_code = 3

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"at {self.where}")
        if self.fix:
            parts.append(self.fix)
        return " | ".join(parts)

    def as_json(self) -> dict[str, str | int | None]:
        """The error as the `error` object of `--json` output."""
        return {
            "what": self.what,
            "where": self.where,
            "fix": self.fix,
            "exit_code": self.exit_code,
        }


class UsageError(LimnerError):
    """Wrong arguments, or a command that makes no sense now (exit 2)."""

    exit_code = 2


class InputError(LimnerError):
    """A file a person wrote is wrong: YAML, picture, prompt list (exit 2)."""

    exit_code = 2


class NotAProjectError(UsageError):
    """The folder is no Limner project."""


class StoreError(LimnerError):
    """The project's database cannot be read or written: newer version, damage, read-only folder."""


class NotReadyError(UsageError):
    """A stage was asked for before the stage it needs is done."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; `fix` names the extra."""


class WorkFailedError(LimnerError):
    """The work started and failed (exit 3)."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
