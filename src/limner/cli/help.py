"""Help as an artist reads it: commands by the stage of the work, an example, plain value names.

In: the commands of the app. Out: two classes that print help, and wrong use said in words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer.core

from limner.cli.examples import EXAMPLES
from limner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS = (
    ("Begin", ("new", "status", "demo", "doctor")),
    ("Pictures", ("shots", "generate", "inbox", "soul-id", "atelier")),
    ("Choose", ("review", "keep", "reject", "undo")),
    ("Words and dataset", ("captions", "dataset")),
    ("Train", ("plan", "train", "watch", "check", "lora")),
    ("Prove", ("evaluate", "verdict", "report", "advise")),
    ("Give away", ("release", "archive", "verify")),
)
"""The way of the data; a command that is named nowhere here fails a test."""
ORDER = ("plan", "compile", "build", "create", "sheet", "info", "check", "fix", "edit", "describe")
"""In a group of commands these come first, in this order."""
_KINDS = (
    ("<int range>", "N"),
    ("<float range>", "NUMBER"),
    ("<int>", "N"),
    ("<float>", "NUMBER"),
    ("<path>", "PATH"),
    ("<str>", "TEXT"),
)
_NO_NUMBER = re.compile(r"is not a valid (int|float|integer)( range)?")


class Branch(typer.core.TyperGroup):
    """The app, or a group of commands: names in sections, each with its whole first phrase."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands."""
        shown = {name: _phrase(c) for name, c in self.commands.items() if not c.hidden}
        sections = [("Commands", sorted(shown, key=_place))]
        if ctx.parent is None:
            sections = [(title, [n for n in names if n in shown]) for title, names in SECTIONS]
        for title, names in sections:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(9), shown[name]) for name in names])

    def get_help(self, ctx: Any) -> str:
        """The help as text."""
        return plain(super().get_help(ctx))


class Leaf(typer.core.TyperCommand):
    """One command: its help ends with what a person would type."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        lines = examples(ctx.command_path)
        if not lines:
            return
        with formatter.section("Example" if len(lines) == 1 else "Examples"):
            for line in lines:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")

    def get_help(self, ctx: Any) -> str:
        """The help as text."""
        return plain(super().get_help(ctx))


def examples(path: str) -> Sequence[str]:
    """The examples of a command by its path, `limner shots plan`."""
    return EXAMPLES.get(path.partition(" ")[2], ())


def plain(text: str) -> str:
    """Help with plain names for the kinds of values, columns as they were."""
    for kind, name in _KINDS:
        text = text.replace(kind, name.ljust(len(kind)))
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _phrase(command: Any) -> str:
    """What a command does, up to the first stop."""
    first: str = (command.help or "").strip().partition("\n\n")[0].replace("\n", " ")
    return re.split(r"[:;.](?:\s|$)", first, maxsplit=1)[0]


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def usage(error: Exception) -> UsageError:
    """Wrong use in words: everything that is missing at once, and what it should look like."""
    context: Any = getattr(error, "ctx", None)
    path = str(getattr(context, "command_path", "limner"))
    text = str(getattr(error, "format_message", lambda: error)())
    shown = examples(path)
    like = f"For example `{shown[0]}`; all of it: " if shown else "See "
    fix = f"{like}`{path} --help`."
    if context is not None and text.startswith("Missing"):
        text = _missing(context, text)
        if hasattr(context.command, "commands"):
            names = sorted(context.command.commands, key=_place)
            fix = f"Go on with {', '.join(names)}. For example `{_first(path, names)}`."
    text = _NO_NUMBER.sub(
        lambda m: "is no number" if m[1] == "float" else "is no whole number", text
    )
    text = re.sub(r" \(Possible options: (.*)\)$", r". Did you mean \1?", text)
    return UsageError(text.replace("Invalid value for", "Wrong value for"), where=path, fix=fix)


def _first(path: str, names: Sequence[str]) -> str:
    found = [line for name in names for line in examples(f"{path} {name}")]
    return found[0] if found else f"{path} {names[0]}"


def _missing(context: Any, text: str) -> str:
    """Every required parameter that was not given, with its meaning; not one a try."""
    lack = [p for p in context.command.params if p.required and p.name not in context.params]
    if not lack:
        return text
    words = []
    for param in lack:
        name = param.opts[0] if param.param_type_name == "option" else param.name.upper()
        words.append(f"{name} ({param.help})" if getattr(param, "help", None) else name)
    return f"Missing: {'; '.join(words)}"
