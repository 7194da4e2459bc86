"""The `limner` command: the app, its global options, and how a command runs and fails.

In: argv. Out: an exit code (0 done, 1 findings, 2 wrong use, 3 the work failed).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from limner.cli.show import Answer, Screen

if TYPE_CHECKING:
    from limner.project import Project

INTERRUPTED = 130  # what shells expect after Ctrl-C

app = typer.Typer(
    name="limner",
    help="From a character description to a measured LoRA. Start with `limner new` or "
    "`limner demo`; inside a project `limner status` names the next step.",
    rich_markup_mode=None,  # plain help: rich would double the start-up time
    pretty_exceptions_enable=False,
    add_completion=False,
)

_root = Path()
_screen = Screen()


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
    return found


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
            answer = work(**values)
            _screen.answer(answer)
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
        where.command(name)(run)
        return work

    return register


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


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; every failure is shown here."""
    global _screen, _root
    load_commands()
    _root = Path()
    _screen = Screen(as_json="--json" in args)  # for errors before the command is known
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
        _screen.error(shown)
        return shown.exit_code


def _interrupted() -> int:
    from limner.errors import WorkFailedError

    stopped = WorkFailedError("stopped", fix="Run the same command again to go on.")
    stopped.exit_code = INTERRUPTED
    _screen.error(stopped)
    return INTERRUPTED
