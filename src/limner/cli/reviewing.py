"""Commands that judge pictures: review (a project's takes, or any folder), keep, reject, undo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.project import Project
    from limner.review import FolderReview


@command(app, "review")
def review(
    folder: Annotated[
        Path | None, typer.Argument(help="Any folder of pictures  [default: the project's takes]")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="With FOLDER: pictures of the person; identity is held against them"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure judged takes anew")] = False,
    kind: Annotated[
        str, typer.Option(help="With FOLDER: photo or drawing  [default: what the files say]")
    ] = "",
    embedder: Annotated[
        list[Path] | None,
        typer.Option(help="With FOLDER: card (JSON) of an ONNX face embedder of your own"),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Look for writing and watermarks too (needs rapidocr)")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask your vision endpoint about artefacts and prompts")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With FOLDER: where page and sheet go  [default: ./review-FOLDER]"),
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="With FOLDER: a rule of your own, NAME=VALUE")
    ] = None,
) -> Answer:
    """Measure the takes and keep or reject them by rule; a reject reopens its shot.

    With FOLDER, any pictures are reviewed outside a project, and nothing is written into FOLDER.
    """
    if folder is None:
        foreign = {"--reference": reference, "--kind": kind, "--out": out, "--threshold": threshold}
        if used := [name for name, value in foreign.items() if value]:
            raise UsageError(
                f"{', '.join(used)} needs a FOLDER",
                where="limner review",
                fix="Give a folder of pictures, or leave it out.",
            )
        return _takes(again=again, text=text, ask=ask)
    if kind not in ("", "photo", "drawing"):
        raise UsageError(f"there is no kind {kind!r}", where="--kind", fix="photo or drawing")
    from limner.review import review_folder, write_folder_sheets

    found: FolderReview = screen().run(
        review_folder(
            folder,
            reference=reference,
            kind=kind or None,  # type: ignore[arg-type]
            thresholds=_thresholds(threshold or []),
            embedders=tuple(embedder or ()),
            text=text,
            ask=ask,
            again=again,
        )
    )
    where = write_folder_sheets(found, out or Path(f"review-{folder.resolve().name}"))
    return _folder_answer({**found.answer, **where})


def _folder_answer(found: dict[str, Any]) -> Answer:
    lines = [
        f"{found['keep']} can be kept, {found['reject']} rejected, {found['undecided']} undecided"
    ]
    for one in found["pictures"]:
        if one["decision"] != "keep":
            lines.append(f"  {one['decision']:<9} {one['file']}: {'; '.join(one['reasons'])}")
    if any(SMALL in reason for one in found["pictures"] for reason in one["reasons"]):
        lines.append("smaller ones stay with a line of your own: --threshold short_side_min=256")
    lines += [f"page:  {found['page']}", f"sheet: {found['contact_sheet']}"]
    return Answer(found, lines, findings=found["keep"] < len(found["pictures"]))


SMALL = "the short side is"
"""How the reason of a picture that is too small begins."""


def _thresholds(given: list[str]) -> dict[str, float]:
    found = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"{one!r} is not NAME=VALUE", where="--threshold", fix="VALUE is a number."
            ) from None
    return found


def _takes(*, again: bool, text: bool, ask: bool) -> Answer:
    from limner import review as stage

    here = project()
    found = screen().run(stage.review(here, again=again, text=text, ask=ask))
    sheet = stage.contact_sheet(here)
    found["contact_sheet"] = here.relative(sheet)
    found["page"] = here.relative(sheet.with_suffix(".html"))
    lines = [
        f"{found['keep']} kept, {found['reject']} rejected, {found['undecided']} undecided",
        *(f"  {number} x {reason}" for reason, number in found["reasons"].items()),
        *(
            [f"  ({_small_key(here)} in character.yaml says how small one may be)"]
            if any(SMALL in reason for reason in found["reasons"])
            else []
        ),
        *_identity_lines(found["identity"]),
        found["budget"]["said"],
    ]
    if found["look_at"]:
        lines.append(f"picked at random to look at: {', '.join(found['look_at'])}")
    lines += [f"contact sheet: {found['contact_sheet']}", f"page: {found['page']}"]
    return Answer(found, lines)


def _small_key(here: Project) -> str:
    """The setting that decides how small those pictures may be that were found too small."""
    standing = here.store.standing_decisions()
    small = {
        take.source
        for take in here.store.takes(state="done")
        if take.id in standing and any(SMALL in why for why in standing[take.id].reasons)
    }
    if "short_side_min" in here.character.review.thresholds or small == {"atelier"}:
        return "review.thresholds.short_side_min"
    return "source.short_side"


def _identity_lines(found: dict[str, Any]) -> list[str]:
    """Where fewer than half of the pictures could be compared, a person must look: say so."""
    if 2 * found["compared"] >= found["of"]:
        return []
    reasons = sorted(found["reasons"].items(), key=lambda row: -row[1])
    return [
        f"identity was compared in {found['compared']} of {found['of']} pictures only: look "
        "yourself whether the others show the same person",
        *(f"  {number} x {reason}" for reason, number in reasons),
    ]


Takes = Annotated[list[str], typer.Argument(help="Take numbers, or shots (their newest take)")]
Reason = Annotated[str, typer.Option(help="Why, for the record")]


def _decide(verb: str, takes: list[str], reason: str) -> Answer:
    from limner import review as stage
    from limner.pipeline.wiring import find_takes

    here = project()
    done = find_takes(here, takes)
    for take in done:
        if verb == "undo":
            stage.undo(here, take.id)
        elif verb == "keep":
            stage.keep(here, take.id, reason)
        else:
            stage.reject(here, take.id, reason)
    said = {"keep": "kept", "reject": "rejected", "undo": "taken back"}[verb]
    lines = [f"take {take.id} of {take.shot_id}: {said}" for take in done]
    return Answer({"takes": [t.id for t in done], "decision": verb}, lines)


@command(app, "keep")
def keep(takes: Takes, reason: Reason = "") -> Answer:
    """Keep takes by hand; a person's word beats the rules."""
    return _decide("keep", takes, reason)


@command(app, "reject")
def reject(takes: Takes, reason: Reason = "") -> Answer:
    """Reject takes by hand; their shots open again."""
    return _decide("reject", takes, reason)


@command(app, "undo")
def undo(takes: Takes) -> Answer:
    """Take back the newest decision on takes."""
    return _decide("undo", takes, "")
