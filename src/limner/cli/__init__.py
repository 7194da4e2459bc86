"""The command line: a thin face that parses, calls a stage and shows what it gives back.

1. `main` is the `limner` command; `app` holds the commands, one module a part of the way.
2. A command is a function that returns an `Answer`: data for `--json`, lines for people.
3. `show.Screen` draws a stage's events: bars on a terminal, plain lines elsewhere, NDJSON on wish.
4. Exit codes: 0 done, 1 findings, 2 wrong use, 3 the work failed; errors never show a traceback.
5. Nothing heavy is imported here: stages and pydantic are loaded inside the commands.
"""

from limner.cli.shell import app, main

__all__ = ["app", "main"]
