"""The story of a project as plain data, in the order the report tells it.

In: a project at any stage. Out: a dict of sections for templates/report.html.j2; a section whose
stage is not done yet is None, and the page says so in words.
"""

from __future__ import annotations

import json
from typing import Any

from limner.errors import InputError
from limner.project import Project, files
from limner.project.records import Checkpoint, Render, Run, Shot
from limner.release import curve, reading
from limner.release.sheets import Album, album, angle, identity_of, matrix, shots

NEVER_MEASURED = (
    {
        "what": "Hands, teeth, jewellery",
        "why": "No measure in this version.",
        "how": "Look at the pictures.",
    },
    {
        "what": "Other LoRAs stacked on top",
        "why": "Not tried.",
        "how": "limner evaluate --style OTHER.safetensors:0.6 && limner verdict.",
    },
)
SAMPLERS = {"diffusers": "flow-match Euler"}
"""Renderer -> sampler: diffusers' Qwen-Image pipelines carry FlowMatchEulerDiscreteScheduler."""
WAYS = {
    "negative control": "Name a LoRA of another character in evaluation.control.",
    "trigger leakage": "Set evaluation.untriggered, then limner evaluate && limner verdict.",
    "copies of training pictures": "Hold the renders beside the contact sheet.",
    "prompt adherence": "Set LIMNER_LLM_URL to a vision endpoint, then limner evaluate --ask && "
    "limner verdict; or read the prompts beside the pictures.",
    "skin texture": "Look at the pictures at full size.",
    "hands": "Look at the pictures.",
    "second embedder": "Look at the pictures; one embedder alone can err.",
    "some references": "Keep more front and three-quarter pictures, then build the dataset again.",
}
"""What a verdict did not measure -> how to get it."""
ANSWERS: dict[bool | None, tuple[str, str]] = {
    True: ("ok", "yes"),
    False: ("attention", "no"),
    None: ("open", "not decided"),
}
"""Whether a quality passed -> colour role and word."""
ADVICE_FILE = "logs/advice.json"
ADVICE_PICTURES = 6
DECIDED = ("found", "not found")
NEXT_COMMANDS = (
    ("shots", "plan the shots", "limner shots plan"),
    ("takes", "make the pictures", "limner generate"),
    ("captions", "write the captions", "limner captions compile"),
    ("datasets", "build the dataset", "limner dataset build"),
    ("runs", "train", "limner train"),
    ("renders", "draw the checkpoints", "limner evaluate"),
    ("verdicts", "compare and choose", "limner verdict"),
)
"""Table of the store -> what fills it; the first empty one is the next step."""


def tell(project: Project, read: reading.Reading | None = None) -> dict[str, Any]:
    """All sections. read: a verdict as it shall be told; default the newest. Raises InputError when
    character.yaml is wrong, StoreError for the database."""
    read = read or newest_reading(project)
    run = judged_run(project, read)
    pictures = album(project)
    about = subject(project, run, read)
    return {
        "subject": about,
        "about_pictures": about_pictures(about),
        "verdict": read,
        "next": next_step(project),
        "pair": pair(project, pictures, read),
        "matrix": matrix(project, pictures, read),
        "shots": shots(project, pictures),
        "training": training(project, run),
        "use": use(project, run, read),
        "benchmarks": benchmarks(read),
        "advice": advice(project, read, pictures),
        "unmeasured": unmeasured(project, run, read),
        "receipt": receipt(project, run, read),
    }


def newest_reading(project: Project) -> reading.Reading | None:
    """The newest verdict as the texts need it; None when there is none."""
    record = project.store.verdict()
    return reading.read(record) if record else None


def judged_run(project: Project, read: reading.Reading | None) -> Run | None:
    """The run the verdict is about, or the newest run."""
    grid = project.store.grid(read.grid_version) if read else None
    return project.store.run(grid.run_version) if grid else project.store.run()


def run_config(run: Run | None) -> dict[str, Any]:
    """The settings a run was trained with; empty while nothing is trained."""
    config = run.config if run else {}
    inner = config.get("run")
    return inner if isinstance(inner, dict) else config


def judged_checkpoint(project: Project, read: reading.Reading | None) -> Checkpoint | None:
    """The checkpoint the verdict chose; None without a choice."""
    run = judged_run(project, read)
    if run is None or read is None or read.step is None:
        return None
    found = [c for c in project.store.checkpoints(run.version) if c.step == read.step]
    return found[0] if found else None


def updates(project: Project, read: reading.Reading | None) -> int | None:
    """Optimizer updates of the chosen checkpoint, without a choice of the run; None where its
    number is an epoch or a place, as of a LoRA that was trained elsewhere."""
    chosen = judged_checkpoint(project, read)
    if chosen is None:
        steps = run_config(judged_run(project, read)).get("steps")
        return steps if isinstance(steps, int) else None
    return chosen.step if chosen.in_updates else None


def kept_checkpoints(project: Project) -> list[Checkpoint]:
    """What an archive must hold: the verdict's choice, and the one a person released instead."""
    read = newest_reading(project)
    judged = judged_checkpoint(project, read)
    kept = [judged] if judged else []
    run, release = judged_run(project, read), project.store.release()
    if run is None or read is None or release is None or release.verdict_version != read.version:
        return kept
    name = (release.data.get("chosen") or {}).get("checkpoint")
    points = project.store.checkpoints(run.version)
    return kept + [c for c in points if f"step_{c.step:06d}" == name and c not in kept]


def subject(project: Project, run: Run | None, read: reading.Reading | None) -> dict[str, Any]:
    """Head of the page: who, on which base, which run and day."""
    character = project.character
    config = run_config(run)
    base = str(config.get("base") or character.training.base)
    takes = project.store.takes(state="done")
    drawings = sum(bool(t.labels.get("drawing")) or t.source == "atelier" for t in takes)
    return {
        "name": character.name,
        "trigger": character.trigger,
        "class_word": character.class_word,
        "likeness": character.likeness,
        "base": base.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1],  # never a local path
        "small": base == "miniature",
        "run": run.version if run else None,
        "drawn": bool(takes) and drawings == len(takes),
        "drawings": drawings,
        "date": (read.created_at if read else (run.created_at if run else ""))[:10],
    }


def about_pictures(about: dict[str, Any]) -> str:
    """What kind of pictures these are: drawings are called drawings."""
    words = []
    if about["drawn"]:
        words.append("Drawings made by Limner itself, not photographs.")
    elif about["drawings"]:
        words.append("Some pictures are drawings made by Limner itself, not photographs.")
    if about["small"]:
        words.append("The base is the miniature, a small model made for trying things out.")
    if about["likeness"] == "synthetic":
        words.append("No real person is shown.")
    else:
        words.append("A real person is shown, with recorded consent.")
    return " ".join(words)


def next_step(project: Project) -> tuple[str, str]:
    """What has to be done before there can be a verdict: words and command."""
    counts = project.store.counts()
    grid = project.store.grid()
    claimed = [r for r in project.store.renders(grid.version) if r.phase == "claim"] if grid else []
    if not claimed or any(r.state != "done" for r in claimed):
        counts["renders"] = 0  # an evaluation that was stopped goes on with the same command
    for table, what, command in NEXT_COMMANDS:
        if not counts[table]:
            return f"Next: {what}.", command
    return "Next: write this report again.", "limner report"


def pair(project: Project, pictures: Album, read: reading.Reading | None) -> list[dict[str, str]]:
    """A dataset picture beside a fresh render of the chosen checkpoint; what there is of both."""
    store = project.store
    found = []
    front = sorted(store.kept(), key=lambda t: _unlike_a_portrait(store.shot(t.shot_id)))
    if front and (uri := pictures.get(front[0].path)):
        found.append({"uri": uri, "alt": "A dataset picture", "cap": "from the dataset"})
    shown, cap = _in_the_middle(project, read)
    if shown is not None and (uri := pictures.get(shown.path)):
        found.append({"uri": uri, "alt": "A fresh render", "cap": cap})
    return found


def _in_the_middle(project: Project, read: reading.Reading | None) -> tuple[Render | None, str]:
    """The fresh render of median identity, neither the best nor the first by chance, and its
    caption; the first one where none has an identity."""
    renders = [r for r in chosen_renders(project, read) if r.arm != "untriggered"]
    fresh = [r for r in renders if r.phase == "claim"] or renders
    embedder = read.embedder if read else None
    scored = []
    for render in fresh:
        score = identity_of(project.store.scores(render.id), embedder)
        if score is not None and score.value is not None:
            scored.append((score.value, render.id, render))
    if not scored:
        return (fresh[0] if fresh else None), "drawn by the LoRA"
    middle = sorted(scored)[len(scored) // 2][2]
    return middle, f"drawn by the LoRA: median of {len(scored)}"


def _unlike_a_portrait(shot: Shot | None) -> tuple[bool, int]:
    """Sorts front views first, and the closest of them: a face can be compared with a face."""
    framing = shot.attributes.get("framing", "") if shot else ""
    order = ("close_up", "half_body", "cowboy")
    return angle(shot) != "front", order.index(framing) if framing in order else len(order)


def chosen_renders(project: Project, read: reading.Reading | None) -> list[Render]:
    """Finished renders of the chosen checkpoint and strength, fresh ones (claim) first."""
    if read is None or read.step is None:
        return []
    done = [
        r
        for r in project.store.renders(read.grid_version, state="done")
        if r.step == read.step and r.strength == read.strength and r.path and r.arm != "control"
    ]
    return sorted(done, key=lambda r: r.phase != "claim")


def training(project: Project, run: Run | None) -> dict[str, Any] | None:
    """The loss curve with its words; None while nothing was trained."""
    if run is None:
        return None
    chart = curve.curve(project.root / "logs" / f"run_{run.version}" / "metrics.jsonl")
    checkpoints = project.store.checkpoints(run.version)
    config = run_config(run)
    steps = chart.steps if chart else max((c.step for c in checkpoints), default=0)
    counted = config.get("counted_in", "updates") == "updates"  # else numbers are no steps
    words = [
        f"run {run.version} {config.get('origin') or run.state}",
        f"{steps:,} steps" if counted else "steps not known",
        f"{len(checkpoints)} checkpoints",
    ]
    if (seconds := training_seconds(project, run)) is not None:
        words.append(f"{seconds // 60} min {seconds % 60} s on {config.get('device')}")
    return {
        "run": run,
        "chart": chart,
        "checkpoints": [(c.step / steps, c.step) for c in checkpoints if steps],
        "summary": ", ".join(words),
    }


def training_seconds(project: Project, run: Run) -> int | None:
    """Seconds the run took, all its parts together, from the diary; None while it is not done."""
    said = [e.data for e in project.store.diary("training") if e.kind == "run"]
    mine = [d["seconds"] for d in said if d.get("run") == run.version and d.get("seconds")]
    return int(sum(mine)) if mine and run.state == "done" else None


def use(project: Project, run: Run | None, read: reading.Reading | None) -> dict[str, Any] | None:
    """How to use the chosen checkpoint, from what was measured; None without a choice."""
    if read is None or read.step is None:
        return None
    strengths = sorted({a.strength for a in read.arms if a.step is not None})
    return {
        "trigger": project.character.trigger,
        "strength": read.strength,
        "measured_at": strengths,
        "sweep": sweep(read),
        "measured_words": _and([f"{s:g}" for s in strengths]) or f"{read.strength:g} only",
        "sampling": sampling_words(read.settings),
        "prompts": list(dict.fromkeys(r.prompt for r in chosen_renders(project, read))),
        "template": run_config(run).get("template"),
    }


def sweep(read: reading.Reading) -> list[str]:
    """The chosen checkpoint at each strength that was tried, `0.6: 20 of 24, 95 % interval ...`."""
    lines = []
    for row in read.strengths:
        low, high = row["interval"]
        counts = f"{row['hits']} of {row['n']}"
        span = f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"
        lines.append(f"{row['strength']:g}: {counts}, {span}")
    return lines


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def sampling_words(settings: dict[str, Any]) -> str:
    """`flow-match Euler, 20 steps, true CFG 4` from the grid's settings; empty when unknown."""
    words = []
    if sampler := sampler_words(settings):
        words.append(sampler)
    if settings.get("steps"):
        words.append(f"{settings['steps']} steps")
    if settings.get("true_cfg_scale") is not None:
        words.append(f"true CFG {settings['true_cfg_scale']:g}")
    return ", ".join(words)


def sampler_words(settings: dict[str, Any]) -> str:
    """The sampler behind a renderer's name; empty when unknown."""
    name = str(settings.get("renderer") or "")
    return next((words for known, words in SAMPLERS.items() if name.startswith(known)), "")


def benchmarks(read: reading.Reading | None) -> list[dict[str, Any]]:
    """The guide's qualities with their answers: {name, state, passed, answer, how}."""
    rows = []
    for row in read.benchmarks if read else []:
        passed, words = row.get("passed"), str(row.get("words") or "")
        if row.get("state") != "measured":
            state, word = "quiet", "" if words.startswith("not measured") else "not measured"
        else:
            state, word = ANSWERS[passed]
        rows.append(
            {
                "name": str(row.get("name") or row.get("key") or ""),
                "state": state,
                "answer": ": ".join(filter(None, [word, words])),
                "how": str(row.get("how") or "") if state == "quiet" else "",
            }
        )
    return rows


def advice(
    project: Project, read: reading.Reading | None, pictures: Album
) -> dict[str, Any] | None:
    """What `limner advise` found on this verdict, with pictures; None when it was not asked since.

    The advice stage leaves its result in logs/advice.json; advice on another verdict says nothing
    about this one.
    """
    try:
        data = json.loads((project.root / ADVICE_FILE).read_text(encoding="utf-8"))
        rows = [s for s in data["symptoms"] if s["state"] == "found"]
        fits = data["verdict"] == (read.version if read else None)
        unknown = [str(s["name"]) for s in data["symptoms"] if s["state"] not in DECIDED]
        absent = [str(s["name"]) for s in data["symptoms"] if s["state"] == "not found"]
        for symptom in rows:
            paths = [p for f in symptom["evidence"] if f["holds"] for p in f["pictures"]]
            uris = [pictures.get(str(p)) for p in dict.fromkeys(paths)]
            symptom["thumbs"] = [u for u in uris if u][:ADVICE_PICTURES]
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
    return {"found": rows, "unknown": unknown, "absent": absent} if fits else None


def unmeasured(
    project: Project, run: Run | None, read: reading.Reading | None
) -> list[dict[str, str]]:
    """What nobody measured here, each with the way to get it: {what, why, how}."""
    planned = project.store.shots()
    rows = []
    for row in read.not_measured if read else []:
        what = row["what"]
        way = row.get("how") or WAYS.get(what.lower(), "")
        why = row.get("reason") or row.get("why") or ""
        rows.append({"what": _sentence(what), "why": _sentence(why) + ".", "how": way})
    hidden = [s for s in planned if not s.face_visible]
    if hidden:
        why = f"{len(hidden)} of {len(planned)} shots hide the face: no identity number."
        rows.append({"what": "Pure back views", "why": why, "how": "Look at the pictures."})
    named = {r["what"].lower().split()[0].strip(",") for r in rows}
    named |= {"other"} if read is not None and read.styles else set()
    rows += [r for r in NEVER_MEASURED if r["what"].lower().split()[0].strip(",") not in named]
    if run_config(run).get("base") == "miniature":
        rows.append(
            {
                "what": "Photographs, the full model",
                "why": "This run used drawings and the miniature model. It shows that the method "
                "works, not how the full model will look.",
                "how": "Set training.base in character.yaml to the full model and train again.",
            }
        )
    return rows


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def receipt(
    project: Project, run: Run | None, read: reading.Reading | None
) -> dict[str, list[dict[str, str]]]:
    """Hashes and facts the result hangs on, as far as the project has come."""
    store = project.store
    dataset = store.dataset(run.dataset_version) if run else store.dataset()
    plan = store.plan(run.plan_version) if run else store.plan()
    checkpoint = judged_checkpoint(project, read)
    config = run_config(run)
    pictures = f"{len(dataset.train)} trained, {len(dataset.held_out)} held out" if dataset else ""
    hashes = [
        _hash(
            f"LoRA, {checkpoint.called}" if checkpoint else "LoRA",
            checkpoint.sha256 if checkpoint else "",
        ),
        _hash(
            f"Dataset lock {dataset.version}" if dataset else "Dataset lock",
            dataset.lock_sha256 if dataset else "",
            pictures,
        ),
        _hash(
            "Training plan",
            files.sha256_bytes(files.canonical_json(plan.data).encode()) if plan else "",
        ),
        _hash("Base model", str(config.get("base_fingerprint") or "")),
    ]
    seeds = sorted({r.seed for r in store.renders(read.grid_version)}) if read else []
    facts = [
        {"what": "Training", "value": training_words(config)},
        {"what": "Pictures", "value": sampling_words(read.settings) if read else ""},
        {"what": "Render seeds", "value": _seeds(seeds)},
        {"what": "Likeness", "value": likeness_words(project)},
        {"what": "Made with", "value": versions()},
    ]
    return {"hashes": hashes, "facts": facts}


def _hash(what: str, value: str, note: str = "") -> dict[str, str]:
    return {"what": what, "hash": value, "note": note}


def _seeds(seeds: list[int]) -> str:
    if len(seeds) <= 8:
        return ", ".join(str(s) for s in seeds)
    return f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"


TRAINING_WORDS = (
    ("origin", "{}"),
    ("template", "template {}"),
    ("rank", "rank {}"),
    ("learning_rate", "learning rate {:g}"),
    ("steps", "{:,} steps"),
    ("batch", "batch {}"),
    ("resolution", "{} px"),
    ("precision", "{}"),
    ("device", "on {}"),
    ("seed", "seed {}"),
    ("not_known", "not known: {}"),
)


def training_words(config: dict[str, Any]) -> str:
    """The settings of a run in one line; a setting the run did not record is left out."""
    return ", ".join(
        words.format(config[key]) for key, words in TRAINING_WORDS if config.get(key) is not None
    )


def versions() -> str:
    """What wrote this: `Limner 0.1.0`."""
    from limner import __version__

    return f"Limner {__version__}"


def likeness_words(project: Project) -> str:
    """Likeness and its evidence, without naming anybody."""
    character = project.character
    if character.consent is None:
        return "synthetic: no real person is the reference"
    return f"consented person, written consent of {character.consent.date}"
