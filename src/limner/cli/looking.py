"""Commands that begin and look: new, status, doctor, demo, atelier sheet."""

from __future__ import annotations

import datetime
import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, root, screen
from limner.cli.show import Answer, duration, sentences
from limner.errors import UsageError


@command(app, "new")
def new(
    name: Annotated[str, typer.Argument(help="The character's name, e.g. grace")],
    trigger: Annotated[str, typer.Option(help="Word that calls the character: grace_char")],
    class_word: Annotated[str, typer.Option(help="What the character is: woman, man, person")],
    likeness: Annotated[
        str,
        typer.Option(
            help="synthetic (no living person) or consented_person (with the two --consent options)"
        ),
    ],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Folder to make  [default: ./NAME]")
    ] = None,
    description: Annotated[str, typer.Option(help="What never changes, in your words")] = "",
    consent_evidence: Annotated[
        str, typer.Option(help="File, link or id of the written consent")
    ] = "",
    consent_date: Annotated[str, typer.Option(help="Day of the consent, YYYY-MM-DD")] = "",
    source: Annotated[
        str | None,
        typer.Option(
            help="Pictures from: atelier (drawn), inbox (made elsewhere), higgsfield, comfyui or "
            "diffusers  [default: atelier; of a consented_person: inbox]"
        ),
    ] = None,
) -> Answer:
    """Make a project folder: character.yaml, limner.db and a folder a stage."""
    from limner.project import Project

    person = likeness == "consented_person"
    _refuse_consent(consent_evidence, consent_date, needed=person)
    consent = {"evidence": consent_evidence, "date": consent_date} if consent_evidence else None
    folder = directory or root() / _folder_name(name)
    project = Project.create(
        folder,
        name=name,
        trigger=trigger,
        class_word=class_word,
        likeness=likeness,
        consent=consent,
        description=description,
        source=source or ("inbox" if person else "atelier"),
    )
    place = shlex.quote(str(project.root))
    lines = [f"made {project.root}"]
    data = {"name": name, "root": str(project.root.resolve()), "trigger": trigger}
    if consent:
        from limner.release.likeness import missing_evidence

        if (absent := missing_evidence(project)) is not None:
            data["evidence_missing"] = str(absent)
            lines.append(f"the consent is not there yet: put it at {absent}, a release needs it")
    return Answer(data, [*lines, f"next: limner -C {place} status"])


def _refuse_consent(evidence: str, day: str, *, needed: bool) -> None:
    """Raises UsageError for half a consent, one that lacks, or one given on a day to come."""
    if bool(evidence) != bool(day) or (needed and not evidence):
        raise UsageError(
            "A consent needs its evidence and its date",
            where="limner new",
            fix="Give both: --consent-evidence contracts/ada.pdf --consent-date 2026-03-01.",
        )
    try:
        to_come = bool(day) and datetime.date.fromisoformat(day) > datetime.date.today()
    except ValueError:  # no day at all: said with the other fields
        return
    if to_come:
        raise UsageError(
            f"The consent's day {day} is still to come",
            where="--consent-date",
            fix="Give the day on which it was signed.",
        )


def _folder_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not plain:
        raise UsageError("That name makes no folder name", where=name, fix="Give one with --dir.")
    return plain


@command(app, "status")
def status() -> Answer:
    """Show every stage, its counts and the one next action."""
    from limner.pipeline.stages import checked_name
    from limner.pipeline.stages import status as read
    from limner.project import Project

    project = Project.open(root())
    name = checked_name(project)
    given = None if root() == Path() else str(root())
    found = {"name": name, **read(project, directory=given)}
    lines = [f"{name}  ({found['root']})", ""]
    for row in found["stages"]:
        counts = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in row["counts"].items())
        lines.append(f"  {row['name']:<11} {row['state']:<8} {counts}")
    lines += ["", f"next: {found['next'] or 'nothing to do'}", f"      {found['why']}"]
    return Answer(found, lines)


@command(app, "doctor")
def doctor(
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the models the project's plan needs")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Fetch this model: a Hugging Face id")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fetch: say the sizes, fetch nothing")
    ] = False,
) -> Answer:
    """Look at this machine: GPU, memory, disk, torch, extras, keys (set or not), models."""
    if fetch or model:
        return _fetch(list(model or []), dry_run=dry_run)
    if dry_run:
        raise UsageError("--dry-run goes with --fetch or --model", fix="Add one of them.")
    from limner.pipeline import doctor as look

    if not root().is_dir():
        raise UsageError("There is no such folder", where=str(root()), fix="Go without -C.")
    found = look(root())
    lines = []
    width = max(len(row["name"]) for row in found["checks"])
    for row in found["checks"]:
        mark = "ok  " if row["ok"] else "--  " if row["optional"] else "LACK"
        lines.append(f"{mark} {row['name']:<{width}} {row['value']}")
        if row["fix"] and not row["ok"]:
            lines.append(f"     {'':<{width}} {row['fix']}")
    for row in found["can"]:
        needs = f"{row['gb']:g} of {row['there_gb']:g} GB [{row['tag']}]"
        with_ = f" with {row['precision']} weights" if row["ok"] else ": does not fit"
        lines.append(f"{'can ' if row['ok'] else '--  '} {row['what']}{with_}, {needs}")
    return Answer(found, lines, findings=bool(found["findings"]))


def _fetch(names: list[str], *, dry_run: bool) -> Answer:
    """Fetch models by name, else those of the project here."""
    from limner.pipeline import fetching

    if not names:
        needed = fetching.models_of(root())
        names = [m["name"] for m in needed if fetching.is_hub_id(m["name"])]
        if needed and not names:
            return Answer({"models": [], "dry_run": dry_run}, [f"{needed[0]['name']} is here"])
    found = screen().run(fetching.fetch(names, dry_run=dry_run))
    lines = [
        f"{m['name']}: {m['missing'] / 1e9:.2f} of {m['bytes'] / 1e9:.2f} GB to fetch"
        if dry_run
        else f"{m['name']}: {m['path']}"
        for m in found["models"]
    ]
    return Answer(found, lines)


@command(app, "demo")
def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Make the demo's project in this folder, and keep it")
    ] = None,
) -> Answer:
    """Draw a character, train its LoRA, judge it and write the report (minutes, no GPU)."""
    from limner.pipeline import demo as walk

    found: dict[str, Any] = screen().run(walk(keep))
    verdict = found["verdict"]
    lines = [
        "",
        *sentences(verdict),
        "",
        *(f"  {stage:<12} {duration(s):>12}" for stage, s in found["seconds"].items()),
        "",
        f"report:  {found['report']}",
        f"project: {found['project']}",
    ]
    return Answer(found, lines)


atelier = typer.Typer(help="The built-in drawn characters.", rich_markup_mode=None)
app.add_typer(atelier, name="atelier")


@command(atelier, "sheet")
def sheet(
    out: Annotated[Path, typer.Option(help="PNG file to write")] = Path("sheet.png"),
    characters: Annotated[int, typer.Option(min=1, max=40, help="Rows")] = 4,
    images: Annotated[int, typer.Option(min=1, max=60, help="Drawings a character")] = 10,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Side of a drawing, px")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same sheet")] = 1,
) -> Answer:
    """Draw several characters in many scenes as one contact sheet."""
    from limner.pipeline.wiring import atelier_sheet

    found = screen().run(
        atelier_sheet(out, characters=characters, images=images, size=size, seed=seed)
    )
    return Answer(found, [f"drawings: {found['out']}"])
