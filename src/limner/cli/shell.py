"""The `limner` command: the app, its global options, and how a command runs and fails.

In: argv. Out: an exit code (0 done, 1 findings, 2 wrong use, 3 the work failed).
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from limner.cli.help import Branch, Leaf
from limner.cli.show import Answer, Screen

if TYPE_CHECKING:
    from limner.project import Project

INTERRUPTED = 130  # what shells expect after Ctrl-C
MOVES = frozenset(
    (
        *("plan", "import", "replan", "rewrite", "create", "generate", "inbox", "review", "keep"),
        *("reject", "undo", "compile", "describe", "fix", "edit", "waive", "build", "train"),
        *("evaluate", "verdict", "release"),
    )
)
"""Commands after which a project may stand elsewhere: they end with the one next action."""
_OF_PROJECT = re.compile(
    r"(?<![\w./-])limner (?=(?:status|shots|generate|inbox|review|keep|reject|undo|captions|"
    r"dataset|plan|train|evaluate|verdict|advise|report|release|archive|soul-id)\b)"
)

app = typer.Typer(
    name="limner",
    cls=Branch,
    help="From a character description to a measured LoRA. Start with `limner new` or "
    "`limner demo`; inside a project `limner status` names the next step, `limner help COMMAND` "
    "explains one.",
    rich_markup_mode=None,  # plain help: rich would double the start-up time
    pretty_exceptions_enable=False,
    add_completion=False,
)

_root = Path()
_screen = Screen()
_opened: list[Project] = []  # the project of the running command, once it asked for it


def _show_version(wanted: bool) -> None:
    if wanted:
        from limner import __version__

        print(f"limner {__version__}")
        raise typer.Exit(0)


@app.callback()
def _globals(
    directory: Annotated[
        Path, typer.Option("-C", "--directory", help="Project folder to work in", metavar="DIR")
    ] = Path(),
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and stop", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    global _root
    _root = directory


def root() -> Path:
    """The project folder given by -C, else the current one."""
    return _root


def project() -> Project:
    """The project to work in. Raises NotAProjectError, InputError (wrong character.yaml)."""
    from limner import lexicon
    from limner.project import Project

    found = Project.open(_root)
    _ = found.character  # a wrong file is said before any work
    lexicon.learn(found.root / lexicon.OWN_FOLDER)
    _opened.append(found)
    return found


def placed(path: Path) -> Path:
    """A path that a user gave: as it is from here, else from the project that -C names."""
    return path if path.is_absolute() or path.exists() else _root / path


def screen() -> Screen:
    """The screen of the running command."""
    return _screen


JsonOption = Annotated[
    bool, typer.Option("--json", help="Last line of stdout is one JSON object", show_default=False)
]
EventsOption = Annotated[
    bool, typer.Option("--events", help="Progress as NDJSON on stderr", show_default=False)
]


def command(
    where: typer.Typer, name: str
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function returning an `Answer` as a command; adds `--json` and `--events`."""

    def register(work: Callable[..., Answer]) -> Callable[..., Answer]:
        own = inspect.signature(work, eval_str=True)

        @functools.wraps(work)
        def run(**values: Any) -> None:
            global _screen
            _screen = Screen(as_json=values.pop("as_json"), events=values.pop("events"))
            _opened.clear()
            answer = work(**values)
            _screen.answer(replace(answer, lines=[here(line) for line in answer.lines]))
            if name in MOVES and not any(line.startswith("next:") for line in answer.lines):
                _say_next()
            raise typer.Exit(1 if answer.findings else 0)

        both = {"as_json": JsonOption, "events": EventsOption}
        extra = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for key, kind in both.items()
        ]
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values()]
        run.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*parameters, *extra], return_annotation=None
        )
        run.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
        where.command(name, cls=Leaf)(run)
        return work

    return register


def here(text: str) -> str:
    """`text` with the project's folder in the commands it names, so that they can be pasted."""
    if _root == Path():
        return text
    return _OF_PROJECT.sub(lambda _: f"limner -C {shlex.quote(str(_root))} ", text)


def _say_next() -> None:
    """After a person's command: the one next action of the project it worked in."""
    if _screen.as_json or _screen.events or not _opened:
        return
    from limner.pipeline.stages import status

    given = None if _root == Path() else str(_root)
    found = status(_opened[-1], directory=given)
    if found["next"]:
        print(f"\nnext: {found['next']}\n      {found['why']}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    load_commands()
    sys.exit(run(args))


def load_commands() -> None:
    """Register every command on `app` (once)."""
    from limner.cli import (  # noqa: F401  (they register)
        captioning,
        checking,
        editing,
        exporting,
        judging,
        looking,
        making,
        planning,
        prompts,
        releasing,
        reviewing,
        shooting,
        sourcing,
        training,
        watching,
    )

    for group in app.registered_groups:
        group.cls = Branch


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; every failure is shown here."""
    global _screen, _root
    load_commands()
    _root = Path()
    _screen = Screen(as_json="--json" in args)  # for errors before the command is known
    if args[:1] == ["help"]:  # what people type
        args = [*args[1:], "--help"]
    try:
        code = app(args=args or ["--help"], prog_name="limner", standalone_mode=False)
        sys.stdout.flush()
        return _interrupted() if code == INTERRUPTED else int(code or 0)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from limner.cli.failure import explain

        shown = explain(error, _root)
        if shown.what == "interrupted":
            return _interrupted()
        if not _screen.as_json and shown.fix:
            shown.fix = here(shown.fix)
        _screen.error(shown)
        return shown.exit_code


def _interrupted() -> int:
    from limner.errors import WorkFailedError

    stopped = WorkFailedError("stopped", fix="Run the same command again to go on.")
    stopped.exit_code = INTERRUPTED
    if _screen.as_json:
        _screen.error(stopped)
    else:
        _screen.close()
        print("\nStopped; what is done is kept. Run the same command to go on.", file=sys.stderr)
    return INTERRUPTED
