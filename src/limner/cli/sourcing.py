"""Commands that bring pictures in: generate, soul-id, inbox."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.project import Project

soul_id_app = typer.Typer(help="A trained reference at a service.", rich_markup_mode=None)
app.add_typer(soul_id_app, name="soul-id")

BaseUrl = Annotated[
    str | None, typer.Option("--base-url", help="Another address of the service; keys go there")
]


@command(app, "generate")
def generate(
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes at once")] = 2,
    source: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="atelier, higgsfield, comfyui or diffusers  [default: character.yaml's source]",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", "--url", help="Address of service or ComfyUI; keys go there"),
    ] = None,
    workflow: Annotated[
        Path | None,
        typer.Option(help="comfyui: your own workflow, Export (API); docs/sources.md"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="diffusers: model folder or Hugging Face id")
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="comfyui, diffusers: a picture of the character; can be repeated"),
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Dollars this command may cost at most")
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="Only one angle domain: front, 2, ... or `next`, after its review"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and paid, and stop")
    ] = False,
) -> Answer:
    """Make a picture for every shot that needs one; run again after a stop, nothing is lost."""
    from limner.pipeline import generate as make

    found = screen().run(
        make(
            project(),
            limit=limit,
            workers=workers,
            name=source,
            base_url=base_url,
            workflow=workflow,
            model=model,
            references=reference or [],
            max_cost=max_cost,
            domain=domain,
            dry_run=dry_run,
        )
    )
    lines = [f"{_pictures(found['made'])} made, {found['failed']} failed"]
    if found["later"]:
        lines.append(f"{found['later']} are still under way: run this again to fetch them")
    if "cost" in found:
        cost = found["cost"]
        lines.append(f"paid now ${cost['spent_now_usd']}, by this project ${cost['spent_usd']}")
    if dry_run:
        lines = [f"{found['open']} shots want a picture; nothing was made"]
    return Answer(found, lines)


@command(soul_id_app, "create")
def soul_id_create(
    folder: Annotated[Path, typer.Argument(help="20 or more sharp pictures of the one person")],
    base_url: BaseUrl = None,
) -> Answer:
    """Train a Higgsfield Soul ID and write it into character.yaml; run again after a stop."""
    from limner.sources import create_soul_id

    found = screen().run(create_soul_id(project(), folder, base_url=base_url))
    lines = [
        f"Soul ID {found['id']} ({found['model_version']}) from {found['pictures']} pictures",
        f"written into {found['file']}",
    ]
    return Answer(found, lines)


@command(app, "inbox")
def inbox(
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder or zip of pictures made elsewhere  [default: PROJECT/inbox]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the match, take nothing")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Take what matched without asking")] = False,
    by: Annotated[
        str | None,
        typer.Option(help="Ways to match, in order  [default: prompt,name,measured,order]"),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="shots, or realism: real bodies for the second folder")
    ] = "shots",
    licence: Annotated[str, typer.Option(help="realism: under which licence, from where")] = "",
    consent: Annotated[
        str, typer.Option(help="realism: proof that the people shown agreed, or why none is needed")
    ] = "",
) -> Answer:
    """Bring in pictures made elsewhere: match them to shots, look at the match, take them."""
    from limner import sources

    here = project()
    if kind != "shots":
        return _realism(path, kind, licence, consent, dry_run)
    given, path = path, path or _own_inbox(here)
    if licence or consent:
        raise UsageError(
            "A licence and a consent are recorded with real bodies only",
            where="--licence" if licence else "--consent",
            fix="Add --kind realism, or leave them away.",
        )
    ways = sources.WAYS if by is None else tuple(w.strip() for w in by.split(","))
    looks: dict[str, Any] = {}
    if not yes or dry_run:
        found: dict[str, Any] = screen().run(
            sources.inbox(here, path, ways=ways, dry_run=True, looks=looks)
        )
        lines = _match_lines(found)
        if dry_run or not found["pairs"] or not _agreed(lines):
            again = None if not found["pairs"] else _taking(given, by)
            return Answer(found, [*lines, *_not_taken(found, again)], findings=not dry_run)
    found = screen().run(sources.inbox(here, path, ways=ways, looks=looks))
    lines = [*(_match_lines(found) if yes else []), f"{_pictures(found['taken'])} taken"]
    return Answer(found, lines, findings=not found["pairs"] and not _all_known(found))


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def _own_inbox(here: Project) -> Path:
    """The project's own inbox folder. Raises UsageError while there is none, or nothing in it."""
    from limner.project.folder import INBOX

    folder = here.root / INBOX
    if not folder.is_dir() or not any(folder.iterdir()):
        raise UsageError(
            "There are no pictures in the project's inbox",
            where=str(folder),
            fix=f"Put them into {folder}, or name their folder or zip: `limner inbox FOLDER`.",
        )
    return folder


def _taking(given: Path | None, by: str | None) -> str:
    """The command that takes what was shown."""
    words = ["limner inbox", *([shlex.quote(str(given))] if given else [])]
    return " ".join([*words, *(["--by", shlex.quote(by)] if by else []), "--yes"])


def _not_taken(found: dict[str, Any], again: str | None) -> list[str]:
    """How a look at the match ends: with the command that takes it, or with nothing to take."""
    if again is None:
        return ["nothing matched, so there is nothing to take"]
    number = len(found["pairs"])
    what = "the one that matched" if number == 1 else f"the {number} that matched"
    return ["nothing was taken yet", "", f"next: {again}", f"      It takes {what}."]


def _all_known(found: dict[str, Any]) -> bool:
    """Whether nothing was new: a command run again is no finding."""
    known = [one["reason"].startswith("taken already") for one in found["leftovers"]]
    return bool(known) and all(known) and not found["unsure"]


def _agreed(lines: list[str]) -> bool:
    """Ask a person at a terminal; a program is never asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or screen().as_json:
        return False
    for line in lines:
        print(line)
    return typer.confirm("Take these pictures?")


BY = {
    **{"prompt": "the prompt in it", "name": "its name"},
    **{"measured": "what it shows", "order": "its place in the order"},
}
"""How a picture was matched, in words."""


def _match_lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for pair in found["pairs"]:
        notes = f"  ({'; '.join(pair['notes'])})" if pair["notes"] else ""
        lines.append(f"{pair['shot']}  <-  {pair['file']}  by {BY[pair['by']]}{notes}")
    for one in found["unsure"]:
        guesses = ", ".join(one["guesses"])
        lines.append(f"not sure: {one['file']}  perhaps {guesses}  ({one['why']})")
    if found["small"]:
        lines.append(
            f"too small: {found['small']}; review will reject what is smaller than "
            "source.short_side in character.yaml: lower it, or bring larger files"
        )
    if found["unsure"]:
        first = found["unsure"][0]["guesses"][0]
        lines.append(f"what is not sure is not taken: name each after its shot, e.g. {first}.png")
    known = [one for one in found["leftovers"] if one["reason"].startswith("taken already")]
    if known:
        lines.append(f"taken already: {len(known)}")
    others = [one for one in found["leftovers"] if one not in known]
    lines += [f"left over: {one['file']}  {one['reason']}" for one in others]
    if found["gaps"]:
        lines.append(f"without a picture: {', '.join(found['gaps'])}")
    return lines


def _realism(path: Path | None, kind: str, licence: str, consent: str, dry_run: bool) -> Answer:
    from limner import sources

    if kind != "realism":
        raise UsageError(f"There is no kind {kind!r}", where="--kind", fix="Use shots or realism.")
    if path is None:  # the project's inbox holds the character's own pictures
        raise UsageError(
            "Real bodies come from a folder or zip of their own",
            where="limner inbox --kind realism",
            fix="Name it: `limner inbox FOLDER --kind realism --licence ... --consent ...`.",
        )
    found = screen().run(
        sources.realism(project(), path, licence=licence, consent=consent, dry_run=dry_run)
    )
    lines = [f"{one['file']}: {one['reason']}" for one in found["leftovers"]]
    verb = "would be taken" if dry_run else "taken"
    return Answer(found, [*lines, f"{_pictures(found['taken'])} {verb} into {found['folder']}"])
