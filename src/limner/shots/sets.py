"""Sets of prompts at the door: checked, taken in and handed on, in a project or as plain files.

In: a `Project`, or a file and what is asked of it. Out: findings, gaps, shots in the store, files
for other tools. Works outside a project with options alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from limner import lexicon
from limner.errors import InputError, UsageError
from limner.events import Events, Notice, Result
from limner.project import Project
from limner.project.adults import UNDER_18
from limner.project.files import write_bytes, write_json, write_text
from limner.project.records import Shot
from limner.shots.checking import Asked, Finding, check_items, guess_trigger
from limner.shots.dialects import dialect_of
from limner.shots.filling import plan_missing, report_of
from limner.shots.heatmap import as_lines, as_png, holes
from limner.shots.importing import Imported, read_file
from limner.shots.items import Grid, Item, angle_by_expression, of_entries, of_shots
from limner.shots.listing import by_domain, exported, mapping, plain, table
from limner.shots.planner import PLANNED_COUNTS, ShotPlan, make_targets, shot_seed
from limner.shots.promptset import write_prompts
from limner.shots.quotas import REST
from limner.shots.replanning import OWN_WORDS
from limner.shots.rules import rules_for, wear_of
from limner.shots.signature import TAG, tags_of, with_signature
from limner.shots.stage import dialect_for, learn, planned, signature_of, store_plan

EXPORTS = {"txt": "prompts.txt", "json": "prompts.json", "csv": "prompts.csv"}
EXPORTS["mapping"] = "prompt_mapping.txt"
"""Kind of export -> its file."""


@dataclass(frozen=True)
class Wanted:
    """What a set is to be: the shares, who it is about, and whom the prompts speak to.

    count: prompts the whole set shall have; None = as many as there are. trigger: None = the word
    with an underscore that stands in most of them. source: who asks for these shares; the quotas
    that a file of a plan carries itself count where nobody else does (`nobody`).
    """

    count: int | None = None
    preset: str = "seed"
    quotas: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trigger: str | None = None
    class_word: str | None = None
    dialect: str = "inbox"
    seed: int = 1
    thresholds: Mapping[str, float] = field(default_factory=dict)
    genres: Sequence[str] = ()
    source: Literal["nobody", "options", "project"] = "nobody"

    def targets(self, total: int) -> dict[str, dict[str, int]]:
        """Exact numbers by axis for a set of `total` prompts."""
        rules = rules_for(wear_of(self.class_word or "person"), None, self.genres)
        return make_targets(total, self.preset, self.quotas, rules)


def wanted_by(project: Project) -> Wanted:
    """What a project's character.yaml asks for."""
    character = project.character
    shots = character.shots
    return Wanted(
        shots.count,
        shots.preset,
        shots.quotas,
        character.trigger,
        character.class_word,
        dialect_for(project),
        shots.seed,
        shots.thresholds,
        shots.genres,
        "project",
    )


@dataclass(frozen=True)
class Checked:
    """A check: its findings, the set's shares and gaps, and the grid of the heat map."""

    findings: list[Finding]
    report: dict[str, Any]
    grid: Grid

    def as_dict(self) -> dict[str, Any]:
        """Plain values for --json."""
        cells = [
            {"angle": a, "expression": e, "prompts": self.grid.counts.get((a, e), 0)}
            for a in self.grid.rows
            for e in self.grid.columns
        ]
        empty = [{"angle": a, "expression": e} for a, e in holes(self.grid)]
        return {"findings": self.findings, **self.report, "heat_map": cells, "holes": empty}

    def heat_map(self) -> list[str]:
        """The heat map for a terminal."""
        return as_lines(self.grid)

    def write_heat_map(self, path: Path) -> None:
        """The heat map as a PNG. Raises UsageError for a name that says another format."""
        if path.suffix.lower() != ".png":
            raise UsageError(
                "The heat map is a PNG",
                where=str(path),
                fix=f"Give {path.with_suffix('.png').name}.",
            )
        write_bytes(path, as_png(self.grid))


def check(project: Project) -> list[Finding]:
    """Findings on the plan: [{rule, severity, where, text, fix}]; nothing is changed.

    severity: error | warning. Raises NotReadyError when there is no plan.
    """
    return check_plan(project).findings


def check_plan(project: Project) -> Checked:
    """The check of a project's plan, with shares and heat map. Raises NotReadyError."""
    learn(project)
    shots = planned(project)
    targets = _targets_of(project)
    by = "the project's character.yaml"
    return _checked(of_shots(shots), wanted_by(project), targets, tolerance=0, by=by)


def _targets_of(project: Project) -> dict[str, dict[str, int]]:
    """Exact numbers by axis of a project's plan."""
    wanted, shots = wanted_by(project), project.store.shots()
    count = project.character.shots.count
    if any(OWN_WORDS in s.attributes for s in shots):  # a file may bring more than the settings ask
        count = max(count, len(shots))
    rules = rules_for(wear_of(project.character.class_word), None, project.character.shots.genres)
    targets = make_targets(count, wanted.preset, wanted.quotas, rules)
    targets = with_signature(targets, signature_of(project), count, rules)
    if "mix" not in wanted.quotas:
        targets.pop("mix", None)  # a preset's mix of places may give way
    return targets


def check_file(path: Path, wanted: Wanted) -> Checked:
    """The check of a file of prompts, in no project. Raises InputError for an unreadable file."""
    found = read_file(path)
    items = of_entries(found.entries)
    targets, by = _held_against(found, items, wanted, len(items))
    if "mix" not in wanted.quotas and by != FILE:
        targets.pop("mix", None)  # a preset's mix of places may give way
    return _checked(items, wanted, targets, tolerance=0 if by == FILE else 1, by=by)


FILE = "the file's own quotas"


def _held_against(
    found: Imported, items: Sequence[Item], wanted: Wanted, total: int
) -> tuple[dict[str, dict[str, int]], str]:
    """Numbers by axis for `total` prompts, and whose they are.

    A plan's JSON says what it was planned for; that holds for as many prompts as were planned,
    unless a person or a project asks for something else.
    """
    if total > PLANNED_COUNTS[1]:
        return {}, "nothing: it is no set that is planned"
    if wanted.source == "nobody" and sum(found.quotas.get("angle", {}).values()) == total:
        faces = sum(i.face_visible for i in items)
        own = {a: dict(counts) for a, counts in found.quotas.items()}
        for axis, counts in own.items():
            rest = (faces if axis == "expression" else total) - sum(counts.values())
            if rest > 0:
                counts[REST] = rest
        return own, FILE
    names = {"nobody": f"preset {wanted.preset}", "options": "the options given"}
    return wanted.targets(total), names.get(wanted.source, "the project's character.yaml")


def _checked(
    items: Sequence[Item],
    wanted: Wanted,
    targets: Mapping[str, Mapping[str, int]],
    *,
    tolerance: int,
    by: str,
) -> Checked:
    trigger = wanted.trigger or guess_trigger([i.text for i in items])
    asked = Asked(targets, trigger, wanted.class_word, wanted.dialect, wanted.thresholds, tolerance)
    report = {**report_of(items, targets), "trigger": trigger, "dialect": wanted.dialect}
    report["held_against"] = by
    return Checked(check_items(items, asked), report, angle_by_expression(items, targets))


def gather(path: Path, wanted: Wanted, *, fill: bool = False) -> dict[str, Any]:
    """Read a file of prompts: {kind, shots, gaps, missing, planned, ...}; nothing is written.

    fill: plan the missing shots too, under `planned`. Raises InputError.
    """
    found = read_file(path)
    items = of_entries(found.entries)
    total = max(wanted.count or len(items), len(items))
    targets, by = _held_against(found, items, wanted, total)
    missing = _missing(items, wanted, targets, total) if fill else None
    return {
        "kind": found.kind,
        "held_against": by,
        "shots": [i.as_dict() for i in items],
        **report_of(items, targets),
        "asked": total,
        "missing": total - len(items),
        "planned": [plain(s) for s in missing.shots] if missing else [],
        "notes": missing.report["notes"] if missing else [],
        "heat_map": as_lines(angle_by_expression(items, targets)),
    }


def _missing(
    items: Sequence[Item],
    wanted: Wanted,
    targets: Mapping[str, Mapping[str, int]],
    total: int,
    abilities: Mapping[str, Sequence[str]] | None = None,
) -> ShotPlan | None:
    return plan_missing(
        items,
        targets,
        count=total,
        seed=wanted.seed,
        preset=wanted.preset,
        trigger=wanted.trigger or guess_trigger([i.text for i in items]) or "my_char",
        class_word=wanted.class_word or "person",
        dialect=wanted.dialect,
        abilities=abilities,
        genres=wanted.genres,
        thresholds=wanted.thresholds,
    )


@lexicon.confined
def take_in(
    project: Project,
    path: Path,
    *,
    fill: bool = True,
    replace: bool = False,
    abilities: Mapping[str, Sequence[str]] | None = None,
) -> Events:
    """Make a file's prompts the project's shots; with `fill` the missing ones are planned.

    A prompt must say its angle and framing (or its heading or a column does). A plan that is there
    stays, unless replace=True and no take exists. Raises InputError, UsageError.
    Result: {count, imported, planned, changed, prompts, gaps}.
    """
    learn(project)
    wanted = wanted_by(project)
    with project.exclusive("shots"):
        found = read_file(path)
        items = of_entries(found.entries)
        _must_be_usable(items, found, path)
        total = max(project.character.shots.count if fill else 0, len(items))
        rules = rules_for(wear_of(project.character.class_word), None, wanted.genres)
        signature = signature_of(project)
        targets = with_signature(wanted.targets(total), signature, total, rules)
        made = _missing(items, wanted, targets, total, abilities) if fill else None
        shots = _as_shots(items, made, wanted.seed, tags_of(signature))
        changed = store_plan(project, shots, replace=replace)
        report = {"before": report_of(items, targets), **report_of(of_shots(shots), targets)}
        write_text(project.folder("shots") / "prompts.txt", by_domain(project.store.shots()))
        write_json(project.folder("shots") / "import.json", {"file": path.name, **report})
        project.store.log("shots", "imported", file=path.name, count=len(items), changed=changed)
    new = len(made.shots) if made else 0
    yield Notice(f"{len(items)} prompts taken in as {found.kind}, {new} planned beside them.")
    for note in made.report["notes"] if made else []:
        yield Notice(note, "warning")
    value = {"count": len(shots), "imported": len(items), "planned": new, "changed": changed}
    yield Result({**value, "prompts": "shots/prompts.txt", "gaps": report["gaps"]})


def _must_be_usable(items: Sequence[Item], found: Imported, path: Path) -> None:
    if len(items) > PLANNED_COUNTS[1]:
        raise InputError(
            f"{len(items)} prompts are more than a project has ({PLANNED_COUNTS[1]})",
            where=str(path),
        )
    for item in items:
        if match := UNDER_18.search(item.text):
            raise InputError(
                f'"{match.group(0)}": Limner makes pictures of adults only',
                where=f"{path}, {item.where}",
                fix="Delete this prompt.",
            )
    for axis in ("angle", "framing"):
        silent = [i.where for i in items if axis not in i.attributes]
        if silent:
            some = ", ".join(silent[:6]) + (", ..." if len(silent) > 6 else "")
            raise InputError(
                f"{len(silent)} of {len(items)} prompts do not say their {axis}",
                where=f"{path}, {some}",
                fix=f"Name it in the prompt (`limner shots check {shlex.quote(str(path))}` lists "
                f"them all), or add a column `{axis}`"
                + (", or put them under DOMAIN headings." if axis == "angle" else "."),
            )


def _as_shots(
    items: Sequence[Item], made: ShotPlan | None, seed: int, tags: Mapping[str, str]
) -> list[Shot]:
    """Imported prompts and planned shots in domain order, numbered through; outfits tagged."""
    rough = [
        Shot("", 0, {**i.attributes, OWN_WORDS: "yes"}, i.text, 0, face_visible=i.face_visible)
        for i in items
    ]
    rough += made.shots if made else []
    order = sorted(rough, key=lambda s: lexicon.angles()[s.attributes["angle"]].domain)
    shots = []
    for number, shot in enumerate(order, 1):
        name = f"shot_{number:03d}"
        tag = tags.get(shot.attributes.get("outfit", ""))
        attributes = {**shot.attributes, **({TAG: tag} if tag else {})}
        own = shot_seed(seed, name)
        shots.append(replace(shot, id=name, position=number, seed=own, attributes=attributes))
    return shots


def export(
    project: Project, kind: str = "txt", *, dialect: str | None = None, out: Path | None = None
) -> Path:
    """Write the shots for other tools; returns the file (shots/prompts.txt and the like).

    kind: txt (for the clipboard, by domain), json, csv, mapping (prompt_mapping.txt: which picture
    is which prompt). dialect: prompts as another source likes them, written from the attributes.
    """
    if kind not in EXPORTS:
        raise UsageError(f"no export {kind!r}", fix=f"Use one of: {', '.join(EXPORTS)}")
    learn(project)
    shots = planned(project)
    if dialect is not None and dialect != dialect_for(project):
        shots = spoken(shots, project.character.trigger, project.character.class_word, dialect)
    file = out or project.folder("shots") / EXPORTS[kind]
    if kind == "json":
        write_json(file, {"quotas": _asked_of(project), "shots": [exported(s) for s in shots]})
    else:
        makers = {"txt": by_domain, "csv": table, "mapping": mapping}
        text = makers[kind](shots)
        negative = dialect_of(dialect).negative if dialect and kind == "txt" else None
        write_text(file, text + (f"\nNegative prompt:\n{negative}\n" if negative else ""))
    return file


def _asked_of(project: Project) -> dict[str, dict[str, int]]:
    """The numbers a project asks for, so that its prompts can be checked anywhere."""
    targets = _targets_of(project)
    return {a: {v: n for v, n in counts.items() if v != REST} for a, counts in targets.items()}


def spoken(shots: Sequence[Shot], trigger: str, class_word: str | None, dialect: str) -> list[Shot]:
    """The same shots with prompts in another source's dialect; imported prompts stay as they are,
    since they may say more than their attributes do."""
    speech = dialect_of(dialect)
    known = [
        s
        for s in shots
        if OWN_WORDS not in s.attributes and all(a in s.attributes for a in lexicon.AXES)
    ]
    prompts = write_prompts(
        [s.attributes for s in known],
        trigger,
        [s.seed for s in known],
        class_word=speech.word_of(class_word),
        dialect=dialect,
    )
    anew = {s.id: text for s, text in zip(known, prompts, strict=True)}
    return [replace(s, prompt=anew.get(s.id, s.prompt)) for s in shots]
