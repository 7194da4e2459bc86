"""The stage: a take for every open shot, priced and journaled before it is made.

In: a `Project` with shots. Out: takes in the store, files in `takes/`. A killed run resumes: its
pending takes are made into the same rows, with the same seeds and the same orders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.errors import InputError, NotReadyError, UsageError, WorkFailedError
from limner.events import Event, Events, Notice, Result
from limner.project import Project
from limner.project.records import Shot, Take
from limner.sources import budget
from limner.sources.atelier import AtelierSource, identity_of
from limner.sources.run import Job, Run
from limner.sources.source import Price, Request, Source

NAMES = ("atelier", "higgsfield", "comfyui", "diffusers")
"""Sources that `open_source` knows."""

INBOX = "inbox"
"""`source.name` of a project whose pictures are made elsewhere; also the source of such takes."""


HEARD = {
    "--base-url": ("higgsfield", "comfyui"),
    "--workflow": ("comfyui",),
    "--model": ("diffusers",),
    "--reference": ("comfyui", "diffusers"),
}
"""Option -> the sources that it means something to."""


def open_source(
    project: Project,
    *,
    name: str | None = None,
    base_url: str | None = None,
    workers: int = 1,
    workflow: Path | None = None,
    model: str | None = None,
    references: Sequence[Path] = (),
) -> Source:
    """The source called `name`, else the one that character.yaml names; nothing is sent or loaded.

    The others win over character.yaml. base_url: address of a service (higgsfield) or server
    (comfyui). workflow: the user's own (comfyui). model: folder or hub id (diffusers). references:
    pictures of the character (comfyui, diffusers). Raises InputError for traits it cannot draw,
    UsageError for an unknown name and for what this source would not hear.
    """
    found = name or project.character.source.name
    if found == INBOX:
        raise UsageError(
            "Pictures of the inbox are made elsewhere; there is nothing to generate",
            where="--with" if name else "character.yaml: source.name",
            fix="Bring them in with `limner inbox`, or say who shall make them: --with "
            f"{', '.join(NAMES[:-1])} or {NAMES[-1]}.",
        )
    if found not in NAMES:
        raise UsageError(
            f"There is no source {found!r}",
            where="--with",
            fix=f"Use one of: {', '.join(NAMES)}.",
        )
    given = zip(HEARD, (base_url, workflow, model, references), strict=True)
    for option, value in given:
        if value and found not in HEARD[option]:
            raise UsageError(
                f"{option} means nothing to the source {found}",
                where=option,
                fix=f"It belongs to: {', '.join(f'--with {n}' for n in HEARD[option])}.",
            )
    if found == "higgsfield":
        from limner.sources.higgsfield import HiggsfieldSource

        return HiggsfieldSource(project.character, base_url=base_url)
    if found == "comfyui":
        from limner.sources.comfyui import ComfySource

        return ComfySource(
            project.character,
            root=project.root,
            url=base_url,
            workflow=workflow,
            references=references,
        )
    if found == "diffusers":
        from limner.sources.diffusers import DiffusersSource

        return DiffusersSource(
            project.character, root=project.root, model=model, references=references
        )
    processes = workers if workers > 1 else 0
    return AtelierSource(identity_of(project.character), processes=processes)


def abilities(project: Project) -> Mapping[str, tuple[str, ...]]:
    """What the project's source can make, axis -> ids; {} where nothing is known to be out of
    reach. Raises as `open_source`."""
    if project.character.source.name == INBOX:
        return {}
    return open_source(project).abilities()


@lexicon.confined
def generate(
    project: Project,
    *,
    source: Source | None = None,
    name: str | None = None,
    base_url: str | None = None,
    workflow: Path | None = None,
    model: str | None = None,
    references: Sequence[Path] = (),
    limit: int | None = None,
    workers: int = 2,
    domain: str | None = None,
    max_cost: float | None = None,
    dry_run: bool = False,
) -> Events:
    """Make a take for each open shot: unfinished ones, first attempts, retries after a rejection.

    name: a source other than character.yaml's. base_url, workflow, model, references:
    as `open_source` takes them. limit: most pictures in this call. workers: pictures
    made at the same time, where the source has no limit of its own. domain: only shots of this
    angle (`front`), this domain (`1`), or `next`: the first domain with open shots, once the
    domains before it are reviewed. max_cost: dollars this call may cost. dry_run: say what would
    be made and paid, and stop. Raises NotReadyError without a plan, UsageError when a cap would be
    passed, WorkFailedError when the source fails again and again or the disk is full, LaterError
    when the service must be asked later.
    Result: {made, failed, resumed, later, open, takes}, with `cost` and
    `remarks` for a source that is paid.
    """
    shots = project.store.shots()
    if not shots:
        raise NotReadyError(
            "There is no plan yet", where="shots/prompts.txt", fix="Run `limner shots plan`."
        )
    lexicon.learn(project.root / lexicon.OWN_FOLDER)
    with project.exclusive("sources"):
        _sweep(project)
        own = source.name if source else name or project.character.source.name
        chosen = _of_domain(project, shots, own, domain) if domain else shots
        todo = _todo(project, chosen, own)[: limit if limit is not None else len(shots)]
        used = source or open_source(
            project,
            name=name,
            base_url=base_url,
            workers=min(workers, max(len(todo), 1)),
            workflow=workflow,
            model=model,
            references=references,
        )
        run = Run(project, used)
        try:
            jobs, told = _jobs(project, used, todo)
            yield from told
            if jobs:
                yield from (Notice(text) for text in used.remarks())
            if jobs and own == "atelier" and project.character.likeness == "consented_person":
                yield Notice("The atelier draws somebody invented, not this person.", "warning")
            cost = _price(project, used, jobs)
            if cost is not None:
                if cost.orders:
                    yield Notice(cost.sentence())
                if not dry_run:
                    limit_of_project = project.character.source.max_cost
                    budget.hold(cost, command=max_cost, project=limit_of_project)
            if not dry_run:
                yield from run.go(jobs, max(1, used.at_once or workers))
        finally:
            if source is None:
                used.close()
            if run.made or run.failed:
                made = len(run.made)
                project.store.log("sources", "generated", made=made, failed=run.failed)
        found = _result(project, own, run, cost)
        yield Result(found if cost is None else {**found, "remarks": used.remarks()})


def _result(project: Project, source: str, run: Run, cost: budget.Quote | None) -> dict[str, Any]:
    left = len(_todo(project, project.store.shots(), source))
    found: dict[str, Any] = {
        **{"made": len(run.made), "failed": run.failed, "resumed": run.resumed},
        **{"later": run.later, "open": left, "takes": run.made},
    }
    if cost is not None:
        now = budget.spent(project, source)
        paid = {"spent_usd": str(now), "spent_now_usd": str(now - cost.spent)}
        found["cost"] = {**cost.as_dict(), **paid}
    return found


def _sweep(project: Project) -> None:
    """Remove half-written files of a killed run; nobody else works here now."""
    for part in project.folder("takes").glob(".*.part"):
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Todo:
    """A shot to photograph, with the pending take of a killed run if there is one."""

    shot: Shot
    pending: Take | None


def _todo(project: Project, shots: list[Shot], source: str) -> list[_Todo]:
    """Unfinished takes, then shots without a take that stands (done and not rejected), in order.

    What was ordered for money is fetched even where the shot has another picture by now.
    """
    standing = project.store.standing_decisions()
    takes: dict[str, list[Take]] = {}
    for take in project.store.takes():
        takes.setdefault(take.shot_id, []).append(take)
    found = []
    for shot in shots:
        own = takes.get(shot.id, [])
        pending = next((t for t in own if t.state == "pending" and t.source == source), None)
        stands = any(
            t.state == "done" and (t.id not in standing or standing[t.id].verdict != "reject")
            for t in own
        )
        ordered = pending is not None and pending.request.get("order", {}).get("price")
        if ordered or (shot.state != "kept" and not stands):
            found.append(_Todo(shot, pending))
    return sorted(found, key=lambda one: one.pending is None)


def _of_domain(project: Project, shots: list[Shot], source: str, domain: str) -> list[Shot]:
    """The shots of one angle domain. Raises UsageError for an unknown one, and for `next` while
    an earlier domain waits for its review."""
    angles = lexicon.angles()
    if domain == "next":
        number = _next_domain(project, shots, source)
    elif domain in angles:
        number = angles[domain].domain
    elif domain in {str(a.domain) for a in angles.values()}:
        number = int(domain)
    else:
        known = ", ".join(f"{a.domain} {a.id}" for a in angles.values())
        raise UsageError(
            f"There is no domain {domain!r}",
            where="--domain",
            fix=f"Use `next` or one of: {known}.",
        )
    return [s for s in shots if angles[s.attributes["angle"]].domain == number]


def _next_domain(project: Project, shots: list[Shot], source: str) -> int:
    """The first domain with open shots, if no domain before it has pictures nobody judged."""
    angles = lexicon.angles()
    open_ids = {one.shot.id for one in _todo(project, shots, source)}
    numbers = {s.id: angles[s.attributes["angle"]].domain for s in shots}
    wanted = min((numbers[i] for i in open_ids), default=max(numbers.values()))
    judged = project.store.standing_decisions()
    waiting = [
        t
        for t in project.store.takes(state="done")
        if numbers[t.shot_id] < wanted and t.id not in judged
    ]
    if waiting:
        raise UsageError(
            f"{len(waiting)} pictures of earlier domains are not reviewed yet",
            where=f"domain {numbers[waiting[0].shot_id]}",
            fix="Run `limner review` and look at the contact sheet, then go on; or name a domain "
            "to go on without.",
        )
    return wanted


def _jobs(project: Project, source: Source, todo: list[_Todo]) -> tuple[list[Job], list[Event]]:
    """What is asked of the source, and a notice for each value it lacks (once)."""
    able = source.abilities()
    told: dict[tuple[str, str], Event] = {}
    jobs = []
    for one in todo:
        attributes, swapped = substitute(one.shot.attributes, able)
        for axis, change in swapped.items():
            text = (
                f"{source.name} has no {axis} {change['asked']!r}; "
                f"{change['made']!r} is the nearest and is made instead."
            )
            told.setdefault((axis, change["asked"]), Notice(text, "warning"))
        if one.pending is None:
            request = _request(project, source, one, attributes)
            jobs.append(Job(request, source.order(request), None, swapped))
            continue
        ordered = one.pending.request.get("attributes", attributes)
        if ordered != attributes:  # planned anew since: what was ordered is what comes
            swapped = {}
        request = _request(project, source, one, ordered)
        jobs.append(Job(request, one.pending.request.get("order", {}), one.pending, swapped))
    return jobs, list(told.values())


def _request(project: Project, source: Source, one: _Todo, attributes: dict[str, str]) -> Request:
    shot, size = one.shot, project.character.source.size
    if one.pending is not None:
        size = int(one.pending.request.get("size", size))
        prompt = str(one.pending.request.get("prompt", shot.prompt))
        return Request(shot.id, prompt, attributes, one.pending.seed, size)
    takes = project.store.takes(shot_id=shot.id)
    attempt = 1 + sum(t.source == source.name for t in takes)
    return Request(shot.id, shot.prompt, attributes, take_seed(shot.seed, attempt), size)


def _price(project: Project, source: Source, jobs: list[Job]) -> budget.Quote | None:
    """Ask what the new orders cost and write it into them; None for a source that is free."""
    new = [job for job in jobs if job.pending is None]
    prices: list[Price] | None = source.prices([job.order for job in new])
    if prices is None:
        return None
    for job, price in zip(new, prices, strict=True):
        job.order = {**job.order, "price": price.as_dict()}
    return budget.quote(project, source.name, prices)


def take_seed(shot_seed: int, attempt: int) -> int:
    """The seed of an attempt: the shot's own first, then fresh ones (31 bits)."""
    if attempt == 1:
        return shot_seed
    digest = hashlib.blake2b(f"{shot_seed}|{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def substitute(
    attributes: Mapping[str, str], able: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Attributes a source can make, and what was swapped: axis -> {asked, made}."""
    found = dict(attributes)
    swapped = {}
    for axis, options in able.items():
        asked = attributes.get(axis)
        if asked is not None and asked not in options:
            found[axis] = nearest(axis, asked, options)
            swapped[axis] = {"asked": asked, "made": found[axis]}
    return found, swapped


def nearest(axis: str, asked: str, options: tuple[str, ...]) -> str:
    """The option most like `asked`: by degrees and sizes where there are any, else by shared facts.

    Raises LimnerError when there is no option at all, or `asked` is no word (any more).
    """
    values = lexicon.axis(axis)
    if not options:
        raise WorkFailedError(f"The source can make no {axis} at all", where=axis)
    if asked not in values:
        raise InputError(
            f"A shot is planned with the {axis} {asked!r}, which is no word any more",
            where=lexicon.OWN_FOLDER,
            fix=f"Put {asked} back into {lexicon.OWN_FOLDER}/, or plan anew: "
            "`limner shots plan --replace`.",
        )
    wanted = values[asked]

    def distance(option: str) -> float:
        return _difference(wanted, values[option])

    return min(options, key=distance)


def _difference(first: Any, second: Any) -> float:
    """Sum over fields: relative gap of number ranges, share of unlike entries, unequal facts."""
    total = 0.0
    for entry in fields(first):
        a, b = getattr(first, entry.name), getattr(second, entry.name)
        if entry.name in ("id", "phrase", "detail", "title", "props"):
            continue
        if isinstance(a, tuple) and a and isinstance(a[0], float | int):
            total += sum(abs(x - y) for x, y in zip(a, b, strict=True)) / (
                sum(map(abs, (*a, *b))) or 1.0
            )
        elif isinstance(a, tuple):
            total += 1 - len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)
        else:
            total += float(a != b)
    return total
