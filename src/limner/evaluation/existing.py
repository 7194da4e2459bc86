"""A verdict on pictures that exist: a trainer's sample folder, judged without a new render.

In: the samples, pictures of the character that were not trained on, if there are any pictures of
strangers. Out: the verdict's data. Works outside a project and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner import vision
from limner.errors import InputError, NotReadyError
from limner.evaluation import choose as choosing
from limner.evaluation import ground, identity
from limner.evaluation import statistics as stats
from limner.evaluation.choose import BASE, Arm, Choice, Judged, arm_row
from limner.evaluation.claim import Claim, Count, Evidence, claim
from limner.evaluation.identity import Gate, Judge, Kind, Look, Strangers
from limner.evaluation.report import (
    OUTCOMES,
    gate_words,
    named,
    prompt_interval,
    rates,
    second_answer,
    side,
    threshold_words,
)
from limner.evaluation.rules import rules
from limner.evaluation.samples import SUFFIXES, Sample, SampleSet, read_folder
from limner.evaluation.table import Table
from limner.events import Event, Events, Notice, Result, Ticker
from limner.project import Project, files
from limner.vision.duplicates import Hashes, nearest
from limner.vision.duplicates import hashes as picture_hashes
from limner.vision.embedders import DlibEmbedder
from limner.vision.pictures import resize

RGB8 = NDArray[np.uint8]
SMALLEST_FACE: dict[Kind, float] = {"drawing": 24.0, "photo": 64.0}
"""Pixels; photographs at 1024 px and less in proportion (starting values of the protocol)."""
DRAWN_BY = "Limner atelier"
"""What the atelier writes into its PNG files as their software."""


@dataclass
class _Seen:
    """What was read off the three or four folders."""

    kind: Kind
    judge: Judge
    strangers: Strangers
    own_strangers: list[Look] = field(default_factory=list)
    looks: dict[Path, Look] = field(default_factory=dict)
    copies: dict[Path, bool] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    length: float | None = None
    """Mean length of dlib's raw descriptors of the references; only where no stranger is."""


def evaluate_samples(
    samples: Path,
    references: Path | Sequence[Path],
    *,
    strangers: Path | None = None,
    training: Path | None = None,
    kind: Kind | None = None,
    thresholds: Mapping[str, float] | None = None,
    target_far: float = 0.01,
) -> Events:
    """Judge a folder of samples; Result: a verdict's data (`chosen`, `tied`, `match_rate`, ...).

    references: folder or files of the character that were not trained on. strangers: pictures of
    other people of the same type, for the threshold (drawings bring their own). training: the
    pictures that were trained on, to see copies. kind: `photo` or `drawing`; None asks the files.
    Raises InputError for folders that hold nothing usable, MissingExtraError.
    """
    limits = rules(thresholds)
    found = read_folder(samples)
    own = picture_files(references, "references")
    kind = kind or kind_of(own)
    seen: _Seen | None = None
    for event in _look(found, own, strangers, training, kind, limits):
        if isinstance(event, _Seen):
            seen = event
        else:
            yield event
    assert seen is not None
    gates, vendor = _gates(seen, target_far)
    judged = _judge(found, seen, gates)
    yield Result(_data(samples, found, seen, gates, vendor, judged, limits, target_far))


def picture_files(where: Path | Sequence[Path], what: str) -> list[Path]:
    """The pictures of a folder, or the files given. Raises InputError when there are none."""
    if not isinstance(where, Path):
        return list(where)
    if not where.is_dir():
        raise InputError(
            f"There is no such folder of {what}",
            where=str(where),
            fix="Check the path; it is read from where you stand, or from -C DIR.",
        )
    found = sorted(p for p in where.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(
            f"The folder of {what} holds no picture",
            where=str(where),
            fix=WANTED.get(what, "Give a folder of PNG, JPEG or WebP files."),
        )
    return found


WANTED = {
    "references": "Give pictures of the character that were not trained on, six or more.",
    "strangers": "Give 100 or more pictures of other people of the same type.",
    "training pictures": "Give the folder the trainer read, or leave --training out.",
}
"""What a folder should hold, for whom it holds nothing."""


def held_out_files(project: Project) -> list[Path]:
    """The newest dataset's references that no run of the project was trained on.

    Raises NotReadyError when there are none.
    """
    store = project.store
    dataset, newest = store.dataset(), store.run()
    runs = [store.run(version) for version in range(1, (newest.version if newest else 0) + 1)]
    sets = [store.dataset(run.dataset_version) for run in runs if run]
    trained = {take for one in sets if one for take in one.train}
    held_out = ground.find_takes(project, dataset)[0] if dataset else []
    held_out = [take for take in held_out if take.id not in trained]
    if not held_out:
        raise NotReadyError(
            "This project holds no reference pictures back",
            where=str(project.root),
            fix="Give them: limner evaluate --samples DIR --references DIR.",
        )
    return [project.path(take.path or "") for take in held_out]


def kind_of(paths: Sequence[Path]) -> Kind:
    """`drawing` when most of the files say that the atelier drew them, else `photo`."""
    from PIL import Image

    drawn = 0
    for path in paths:
        try:
            with Image.open(path) as picture:
                drawn += str(picture.info.get("Software", "")).startswith(DRAWN_BY)
        except (OSError, ValueError, SyntaxError):
            continue
    return "drawing" if 2 * drawn > len(paths) else "photo"


def _look(
    found: SampleSet,
    own: Sequence[Path],
    strangers: Path | None,
    training: Path | None,
    kind: Kind,
    limits: Mapping[str, float],
) -> Iterator[Event | _Seen]:
    """Every picture once. References and strangers are scaled to the samples' size."""
    tools, missing = identity.usable_embedders(kind)
    for name, reason in missing.items():
        yield Notice(f"The embedder {name} is left out: {reason}.", "warning")
    others = picture_files(strangers, "strangers") if strangers else []
    trained = picture_files(training, "training pictures") if training else []
    side = _shorter_side(found.samples)
    smallest = SMALLEST_FACE[kind]
    if kind == "photo":
        smallest = max(24.0, smallest * min(1.0, side / 1024))
    names = tuple(tools)
    damaged: list[str] = []

    def read(path: Path) -> RGB8 | None:
        try:
            picture = vision.open_picture(path)
        except InputError:
            damaged.append(str(path))
            return None
        return _scaled(picture, side)

    learnt = _among(own, trained)
    own = [path for path in own if path not in learnt]
    if learnt:
        yield _not_to_judge(learnt, len(own))
    ticker = Ticker("looking at the pictures", len(own) + len(others) + len(found.samples))
    looks: list[list[Look]] = [[], []]
    for into, paths in zip(looks, (own, others), strict=True):
        for path in paths:
            picture = read(path)
            if picture is not None:
                into.append(identity.look(picture, names, kind, smallest))
            yield ticker.tick()
    judge = Judge(names, kind, smallest, looks[0], [])
    seen = _Seen(kind, judge, ground.shipped_strangers(kind, tools), looks[1], damaged=damaged)
    if "dlib" in names and not seen.strangers.n and not looks[1]:
        seen.length = _raw_length([p for p in map(read, own) if p is not None], kind, smallest)
    hashed = _hashes(trained, side)
    for sample in found.samples:
        picture = read(sample.path)
        if picture is not None:
            seen.looks[sample.path] = identity.look(picture, names, kind, smallest)
            if hashed:
                close = nearest(picture_hashes(picture), hashed)
                seen.copies[sample.path] = close is not None and close.bits <= limits["copy_bits"]
        yield ticker.tick()
    if not seen.looks:
        raise InputError(
            "No sample could be opened", where=damaged[-1], fix="Copy the folder again."
        )
    yield seen


def _among(own: Sequence[Path], trained: Sequence[Path]) -> list[Path]:
    """References that are a training picture, pixel by pixel, whatever their files are called."""

    def pixels(path: Path) -> str | None:
        try:
            picture = vision.open_picture(path)
        except InputError:
            return None
        return files.sha256_bytes(repr(picture.shape).encode() + picture.tobytes())

    known = {pixels(path) for path in trained} - {None}
    return [path for path in own if known and pixels(path) in known]


def _not_to_judge(learnt: Sequence[Path], left: int) -> Notice:
    """References that were trained on are left out. Raises InputError when none is left."""
    names = ", ".join(path.name for path in learnt[:3]) + ", ..." * (len(learnt) > 3)
    if not left:
        raise InputError(
            "All references are training pictures, and what was trained on can not judge",
            where=names,
            fix="Give pictures of the character that are not in the --training folder.",
        )
    return Notice(
        f"{len(learnt)} of {len(learnt) + left} references are training pictures and do not judge: "
        f"{names}.",
        "warning",
    )


def _shorter_side(samples: Sequence[Sample]) -> int:
    from limner.vision.pictures import picture_size

    sides = []
    for sample in samples:
        try:
            sides.append(min(picture_size(sample.path)))
        except InputError:
            continue
    return int(np.median(sides)) if sides else 1024


def _scaled(picture: RGB8, side: int) -> RGB8:
    scale = min(1.0, side / min(picture.shape[:2]))
    height, width = (max(1, round(v * scale)) for v in picture.shape[:2])
    return resize(picture, width, height)


def _hashes(paths: Sequence[Path], side: int) -> dict[str, Hashes]:
    """pHash of each training picture. Raises MissingExtraError: copies were asked for."""
    found = {}
    for path in paths:
        try:
            found[str(path)] = picture_hashes(_scaled(vision.open_picture(path), side))
        except InputError:
            continue
    return found


def _gates(seen: _Seen, target_far: float) -> tuple[dict[str, Gate], bool]:
    """(gates, whether the threshold is the vendor's): strangers set it where there are any."""
    gates = {}
    for name in seen.judge.names:
        mine = [seen.judge.score(look, name) for look in seen.own_strangers]
        drawn = np.array([v for v in mine if v is not None], dtype=np.float64)
        shipped = seen.judge.stranger_scores(seen.strangers, name)
        gate = seen.judge.gate(name, [shipped, drawn], target_far)
        if gate is not None:
            gates[name] = gate
    if gates or not seen.judge.seen or not seen.length:
        return gates, False
    return {"dlib": _vendor_gate(seen, seen.length, target_far)}, True


def _raw_length(pictures: Sequence[RGB8], kind: Kind, smallest: float) -> float | None:
    embedder = vision.open_embedder("dlib", kind)
    if not isinstance(embedder, DlibEmbedder):
        return None
    found = [(p, vision.find_faces(p, kind=kind, smallest_face=smallest)) for p in pictures]
    lengths = [float(np.linalg.norm(embedder.raw(p, faces[0]))) for p, faces in found if faces]
    return float(np.mean(lengths)) if lengths else None


def _vendor_gate(seen: _Seen, length: float, target_far: float) -> Gate:
    """dlib's published line, a Euclidean distance of 0.6, as a cosine to the template.

    For descriptors of length r: cos = 1 - d^2 / (2 r^2). Random strangers set it, so look-alikes
    pass too often; the false-accept rate here is unknown.
    """
    threshold = 1.0 - DLIB_DISTANCE**2 / (2.0 * length**2)
    own = seen.judge.own_scores("dlib")
    lost = [seen.judge.score(look, "dlib") for look in seen.looks.values()]
    lowest = min((v for v in lost if v is not None), default=0.0)
    hits = int((own >= threshold).sum())
    return Gate("dlib", threshold, 0.0, 0, 0, target_far, hits, len(own), lowest)


DLIB_DISTANCE = 0.6
"""dlib.net: same person when the Euclidean distance of two descriptors is at most this."""


def _judge(found: SampleSet, seen: _Seen, gates: Mapping[str, Gate]) -> list[Judged]:
    first = identity.primary(gates)
    if first is None:
        return []
    gate = gates[first]
    second = next((g for name, g in gates.items() if name != first), None)
    paired = _pairing(found.samples)
    judged = []
    for sample in found.samples:
        look = seen.looks.get(sample.path)
        if look is None:
            continue
        value = seen.judge.score(look, first)
        other = seen.judge.score(look, second.embedder) if second else None
        judged.append(
            Judged(
                BASE if sample.step == 0 else Arm(sample.step, 1.0),
                sample.prompt_id,
                paired[sample.path],
                gate.stranger_median if value is None else value,
                value is not None and value >= gate.threshold,
                look.face,
                (other is not None and other >= second.threshold) if second else None,
                seen.copies.get(sample.path, False),
            )
        )
    return judged


def _pairing(samples: Sequence[Sample]) -> dict[Path, int]:
    """Path -> number of the picture among those of its step and prompt, by seed: what is paired
    between steps. Seeds drawn anew at every step pair by their order only."""
    groups: dict[tuple[int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.step, sample.prompt_id), []).append(sample)
    steps_of: dict[tuple[str, int], set[int]] = {}
    for sample in samples:
        if sample.seed is not None:
            steps_of.setdefault((sample.prompt_id, sample.seed), set()).add(sample.step)
    kept = {key for key, steps in steps_of.items() if len(steps) > 1}
    paired = {}
    for (_, prompt), group in groups.items():
        for place, sample in enumerate(group):
            known = sample.seed is not None and (prompt, sample.seed) in kept
            paired[sample.path] = sample.seed if known and sample.seed is not None else place
    return paired


def cross_fitted(judged: Sequence[Judged], limits: Mapping[str, float]) -> list[Judged]:
    """For every prompt the pictures of the step that the other prompts choose.

    So no picture has a part in the choice it is judged under, and the share is honest for the way
    of choosing (cross-validation), though not for one fixed checkpoint.
    """
    prompts = sorted({j.prompt_id for j in judged})
    found: list[Judged] = []
    if len(prompts) < 2:
        return found
    for prompt in prompts:
        others = [j for j in judged if j.prompt_id != prompt]
        table = Table.of(others)
        arm = table.arms[choosing.pick(table, limits)[1]]
        found += [j for j in judged if j.prompt_id == prompt and j.arm == arm]
    return found


def _choice(trained: Sequence[Judged], limits: Mapping[str, float]) -> Choice | None:
    return choosing.choose(trained, limits) if trained else None


def _data(
    folder: Path,
    found: SampleSet,
    seen: _Seen,
    gates: Mapping[str, Gate],
    vendor: bool,
    judged: Sequence[Judged],
    limits: Mapping[str, float],
    target_far: float,
) -> dict[str, Any]:
    """The same keys as a verdict on a grid, as far as samples can fill them."""
    first = identity.primary(gates)
    gate = gates[first] if first else None
    trained = [j for j in judged if j.arm.kind == "checkpoint"]
    choice = _choice(trained, limits)
    several = len({j.arm for j in trained}) > 1
    claimed = cross_fitted(trained, limits) if several else trained
    evidence = _evidence(found, seen, choice, claimed, judged, gate, several, limits)
    said = claim(evidence, limits)
    open_questions = not_answered(found, seen, evidence, vendor, several)
    chosen = choice.chosen if choice else None
    other = next((g for name, g in gates.items() if name != first), None)
    second = second_answer(claimed, other)
    far = None if gate is None or vendor else gate.far
    return {
        **_words(said, found, choice, several, vendor),
        "checkpoint": chosen.name if chosen else None,
        "step": chosen.step if chosen else None,
        "strength": chosen.strength if chosen else None,
        "chosen": {
            "checkpoint": chosen.name if chosen else None,
            "strength": chosen.strength if chosen else None,
            "step": chosen.step if chosen else None,
            "unit": found.unit,
        },
        "tied": choice.tied if choice else [],
        **side("", evidence.claimed),
        **side("base", evidence.base),
        **side("control", None),
        "prompt_interval": (evidence.claimed.whole.as_list() if evidence.claimed.whole else None),
        "second": second,
        "goal": limits["goal"],
        "goal_established": said.goal_established,
        "embedder": first,
        "threshold": gate.threshold if gate else None,
        "threshold_words": VENDOR_WORDS if vendor else threshold_words(gate),
        "far": far,
        "far_n": gate.strangers if gate else 0,
        "far_upper": None if far is None or gate is None else _far_upper(gate),
        "target_far": target_far,
        **side("ceiling", evidence.ceiling),
        "ceiling": evidence.ceiling.rate if evidence.ceiling else None,
        "references": len(seen.judge.seen),
        "not_measured": open_questions,
        "arms": [named(row) for row in _arm_rows(choice, judged)],
        "rates": rates(evidence, second, chosen) if chosen else [],
        "samples": {
            "folder": str(folder),
            "trainer": found.trainer,
            "unit": found.unit,
            "steps": found.steps,
            "prompts": len(found.prompts),
            "pictures": len(judged),
            "replaced": found.replaced,
            "unread": list(found.unread),
            "damaged": list(seen.damaged),
        },
        "kind": seen.kind,
    }


VENDOR_WORDS = (
    "No pictures of strangers were given, so the line is dlib's published one (Euclidean distance "
    "0.6), made for random strangers: look-alikes pass it too often, and how often is not measured."
)


def _far_upper(gate: Gate) -> float:
    return stats.exact_upper(gate.accepted, gate.strangers)


def _evidence(
    found: SampleSet,
    seen: _Seen,
    choice: Choice | None,
    claimed: Sequence[Judged],
    judged: Sequence[Judged],
    gate: Gate | None,
    several: bool,
    limits: Mapping[str, float],
) -> Evidence:
    base = [j for j in judged if j.arm == BASE]
    name = f"{found.unit} {choice.chosen.step:,}" if choice else "no checkpoint"
    per_prompt = Counter(j.prompt_id for j in claimed)
    return Evidence(
        winner=name,
        claimed=Count(sum(j.match for j in claimed), len(claimed), prompt_interval(claimed)),
        base=Count(sum(j.match for j in base), len(base), prompt_interval(base)),
        gate=gate_words(choice, limits) if choice else "",
        copies=Count(sum(j.copy for j in claimed), len(claimed)) if seen.copies else None,
        base_copies=Count(sum(j.copy for j in base), len(base)) if seen.copies else None,
        control=None,
        seeds=min(per_prompt.values(), default=0),
        prompts=len(per_prompt),
        references=len(seen.judge.seen),
        impostors=gate.strangers if gate else 0,
        ceiling=Count(gate.ceiling_hits, gate.ceiling_n) if gate else None,
        pictures="samples, each judged under a choice it had no part in" if several else "samples",
    )


def _words(
    said: Claim, found: SampleSet, choice: Choice | None, several: bool, vendor: bool
) -> dict[str, Any]:
    """Word and statement; the step that samples prefer is said even where no claim stands."""
    lines = [said.headline]
    if choice is not None and several:
        tied = [f"{t['step']:,}" for t in choice.tied]
        lines.append(
            f"Among these samples {found.unit} {choice.chosen.step:,} is taken"
            + (f"; {found.unit} {', '.join(tied)} cannot be told from it." if tied else ".")
        )
    but = [*lines[1:], *said.but, *([VENDOR_WORDS] if vendor else [])]
    return {
        "word": said.word,
        "outcome": OUTCOMES[said.word],
        "established": said.established,
        "statement": " ".join([said.headline, *but]),
        "sentence": said.headline,
        "detail": " ".join(but),
        "reservations": but,
        "not_established": [line for line in but if "not established" in line],
        "lacking": said.lacking,
        "more_pictures": said.more_pictures,
    }


def _arm_rows(choice: Choice | None, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    rows = list(choice.rows) if choice else []
    if any(j.arm == BASE for j in judged):
        rows.insert(0, arm_row(BASE, judged, "choose", "base"))
    return rows


def not_answered(
    found: SampleSet, seen: _Seen, evidence: Evidence, vendor: bool, several: bool
) -> list[dict[str, str]]:
    """What a folder of samples cannot tell, each with the way to get it."""
    grid = "`limner evaluate` in the project draws it"
    missing = [
        ("other strengths", f"trainers sample at strength 1; {grid}"),
        ("negative control", f"no LoRA of another character drew these prompts; {grid}"),
        ("trigger leakage", f"nothing was drawn without the trigger word; {grid}"),
        ("variety at one prompt", "needs 8 seeds or more of one prompt, from the base too"),
        (
            "fresh pictures",
            "the same pictures choose and are judged, by turns; new seeds are safer",
        ),
        ("unseen prompts", "whether the sample prompts were trained on is not known here"),
        ("prompt adherence", f"what was asked for is not in the names; {grid}"),
        ("skin texture", "no reference distribution at this size; use `limner review`"),
        ("hands", "no hand model was run"),
    ]
    if not evidence.base.n:
        reason = "there is no sample of step 0; let the trainer sample before its first step"
        missing.insert(0, ("base model", reason))
    if not several:
        reason = "all samples are of one step"
        missing.insert(0, ("which checkpoint", reason))
    if not seen.copies:
        missing.append(("copies of training pictures", "give the training folder: --training DIR"))
    if vendor:
        reason = "no strangers; give 100 pictures of other people: --strangers DIR"
        missing.append(("false-accept rate", reason))
    if len(seen.judge.names) < 2:
        missing.append(("second embedder", "none fits this kind of picture"))
    if seen.damaged:
        names = ", ".join(Path(p).name for p in seen.damaged[:3])
        missing.append((f"{len(seen.damaged)} pictures", f"damaged or cut off: {names}"))
    if found.unread:
        reason = f"no step in the name: {', '.join(found.unread[:3])}"
        missing.append((f"{len(found.unread)} pictures", reason))
    return [{"what": what, "reason": reason} for what, reason in missing]
