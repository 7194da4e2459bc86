"""The command before a run: plan, in a project or from numbers alone."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, project
from limner.cli.show import Answer, duration
from limner.errors import UsageError

_COUNTS = "Without a project: "


@command(app, "plan")
def plan(
    images: Annotated[
        int | None, typer.Option(help=f"{_COUNTS}pictures  [default: the project's dataset]")
    ] = None,
    repeats: Annotated[int | None, typer.Option(help=f"{_COUNTS}showings a round")] = None,
    batch: Annotated[int | None, typer.Option(help=f"{_COUNTS}pictures a batch")] = None,
    accumulation: Annotated[int | None, typer.Option(help=f"{_COUNTS}batches an update")] = None,
    epochs: Annotated[int | None, typer.Option(help=f"{_COUNTS}rounds over the data")] = None,
    steps: Annotated[
        int | None, typer.Option(help=f"{_COUNTS}the trainer's steps, instead of --epochs")
    ] = None,
    trainer: Annotated[
        str | None,
        typer.Option(help="ai-toolkit, musubi-tuner, SimpleTuner, kohya or native"),
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="GPU type, or all")] = None,
    resolution: Annotated[
        list[int] | None, typer.Option(help="Side in px; several for ai-toolkit's list")
    ] = None,
    control: Annotated[
        int | None, typer.Option(help="Side of the reference picture: 512 or 1024; 0 = none")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="What is shown beside a picture: none, blank or self (edit models)"),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Another folder, IMAGESxREPEATS, e.g. 30x20", metavar="NxR"),
    ] = None,
    checkpoints: Annotated[int | None, typer.Option(help="Checkpoints wanted")] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, help="Checkpoint files kept; too few is refused")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the LoRA")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Weights: auto, bf16, 8bit, 4bit, 3bit, 8bit-swap16")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="default or seed (the guide's values), where nothing is said")
    ] = None,
    legacy: Annotated[
        bool,
        typer.Option("--legacy", help="ai-toolkit's old key gradient_accumulation_steps"),
    ] = False,
    usd_per_hour: Annotated[float | None, typer.Option(min=0, help="Your price of the GPU")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say where each number comes from")
    ] = False,
) -> Answer:
    """Plan the training: steps, passes, checkpoints, memory, time and money, for any trainer."""
    given = {
        "images": images,
        "repeats": repeats,
        "batch": batch,
        "accumulation": accumulation,
        "epochs": epochs,
        "steps": steps,
        "trainer": trainer,
        "gpu": gpu,
        "resolution": resolution,
        "control": control,
        "mode": mode,
        "extra": extra,
        "checkpoints": checkpoints,
        "keep": keep,
        "rank": rank,
        "precision": precision,
        "preset": preset,
        "legacy": legacy or None,
        "usd_per_hour": usd_per_hour,
    }
    asked = {k: v for k, v in given.items() if v not in (None, [])}
    if asked:
        inside = asked.get("images") is None
        return _forecast_answer(_forecast(asked), explain=explain, inside=inside)
    from limner import training

    found = training.plan(project())
    lines = _plan_lines(found)
    if explain:
        from limner.training.explaining import explain_plan

        found = {**found, "explained": explain_plan(found)}
        lines += ["", *found["explained"]]
    return Answer(found, lines)


def _forecast(asked: dict[str, Any]) -> dict[str, Any]:
    """The plan from numbers; what is not given comes from the project, if there is one."""
    from limner.training import defaults, forecast, hardware, modes, trainers

    sets = _sets(asked)
    images = sets[0].images
    sets += [_extra(text, n) for n, text in enumerate(asked.get("extra", []), start=2)]
    preset = asked.get("preset", "default")
    trainer = trainers.trainer_named(asked.get("trainer", "native")).name
    advised = defaults.defaults(images, trainer, preset)
    if "epochs" not in asked and "steps" not in asked:
        batch = max(asked.get("batch", 1) * asked.get("accumulation", 1), 1)
        asked["steps"] = math.ceil(defaults.passes(images, preset) / batch)
    ask = trainers.Ask(
        sets=tuple(sets),
        batch=asked.get("batch", 1),
        accumulation=asked.get("accumulation", 1),
        epochs=asked.get("epochs"),
        steps=asked.get("steps"),
        trainer=asked.get("trainer", "native"),
        resolutions=tuple(asked.get("resolution", [1024])),
        checkpoints=asked.get("checkpoints", 10),
        keep=asked.get("keep"),
        legacy=asked.get("legacy", False),
    )
    precision = asked.get("precision", "auto")
    can = hardware.PRECISIONS[trainers.trainer_named(ask.trainer).name]
    if precision not in ("auto", *can):
        raise UsageError(
            f"{ask.trainer} has no precision {precision!r}",
            where="--precision",
            fix=f"Use auto, {', '.join(can)}.",
        )
    how, control = modes.resolve(asked.get("mode"), asked.get("control"))
    case = hardware.Case(control=control, precision=precision, rank=asked.get("rank", 16))
    found = forecast.forecast(
        ask, case, gpu=asked.get("gpu"), usd_per_hour=asked.get("usd_per_hour"), mode=how.name
    )
    return {**found, "preset": preset, "defaults": advised}


def _sets(asked: dict[str, Any]) -> list[Any]:
    """The folders of the plan: as given, else those of the project's dataset with its repeats."""
    from limner.training.trainers import DataSet

    if asked.get("images") is not None:
        return [DataSet(asked["images"], asked.get("repeats", 1))]
    dataset = project().store.dataset()
    if dataset is None:
        raise UsageError(
            "A plan from numbers needs the number of pictures",
            where="limner plan",
            fix="Give --images, or run it in a project with a dataset.",
        )
    real = dataset.lock.get("realism")
    own = dataset.lock.get("settings", {}).get("dataset", {}).get("repeats", 1) if real else 1
    sets = [DataSet(len(dataset.train), asked.get("repeats", own))]
    if real and not asked.get("extra"):
        sets.append(DataSet(len(real["pictures"]), int(real["repeats"]), "realbody"))
    return sets


def _extra(text: str, number: int) -> Any:
    from limner.training.trainers import DataSet

    left, _, right = text.lower().partition("x")
    if not (left.isdigit() and right.isdigit()):
        raise UsageError(f"{text!r} is no IMAGESxREPEATS", where="--extra", fix="E.g. 30x20.")
    return DataSet(int(left), int(right), f"set {number}")


def _forecast_answer(found: dict[str, Any], *, explain: bool, inside: bool) -> Answer:
    from limner.training.forecast import explain as lines_of

    points = found["checkpoints"]
    lines = [
        f"{found['trainer']}: {found['images']} pictures, {found['logged_steps']} steps shown by "
        "the trainer",
        f"{found['optimizer_steps']} optimizer steps, {found['image_passes']} image passes "
        f"({found['passes_a_picture']:g} a picture)",
        f"{len(points)} checkpoints, every {found['save_every']} steps:",
        *(f"  {p['step']:>7}  {p['label']:<16} {p['file']}" for p in points),
        f"shown beside each picture: {found['mode']}"
        + (f", {found['control']} px" if found["control"] else "")
        + f" ({found['template']} template)",
        f"system memory about {found['ram_gb']:.0f} GB, disk {found['disk_gb']:.0f} GB",
    ]
    if len(found["shares"]) > 1:
        lines.insert(2, f"passes: {found['formulas']['shares']}")
    lines += [_gpu_line(row) for row in found["gpus"]]
    if found["gpu"]:
        lines += [f"  {key} = {found['formulas'][key]}" for key in ("vram_gb", "hours", "usd")]
        lines += _mode_lines(found["modes"])
    lines += ["write:"] + [f"  {key}: {value}" for key, value in found["settings"].items()]
    lines += [f"where you have no reason of your own ({found['preset']}):"]
    lines += [
        f"  {row['name']}: {row['value']} [{row['tag']}]  {row['why']}" for row in found["defaults"]
    ]
    for finding in found["findings"]:
        lines += [f"{finding['severity']}: {finding['what']}", f"  instead: {finding['instead']}"]
    if explain:
        explained = lines_of(found)
        found = {**found, "explained": explained}
        lines += ["", *explained]
    wrong = any(f["severity"] == "error" for f in found["findings"])
    return Answer(found, [*lines, *_next_lines(found, inside=inside)], findings=wrong)


TARGETS = {
    **{"ai-toolkit": "ai-toolkit", "musubi-tuner": "musubi", "SimpleTuner": "simpletuner"},
    "kohya": "kohya",
}
"""Trainer of a forecast -> its name in `dataset export --for`."""


def _next_lines(found: dict[str, Any], *, inside: bool) -> list[str]:
    """A forecast writes nothing down: what hands the project's dataset to that trainer."""
    target = TARGETS.get(found["trainer"])
    if target is None or not inside:
        return []
    mode = "" if found["mode"] == "none" else f" --control {found['mode']}"
    size = f" --control-size {found['control']}" if found["control"] in (512, 1024) else ""
    return ["", f"next: limner dataset export --for {target}{mode}{size}"]


def _mode_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One line a mode; blank and self cost the same at a size and share it."""
    lines = []
    for row in rows:
        if row["mode"] == "self":
            continue
        name = f"blank or self {row['control']} px" if row["control"] else "none"
        fits = f"{row['vram_gb']} GB, {row['hours']:.1f} h" if row["fits"] else "does not fit"
        lines.append(f"  mode {name}: {fits} [{row['tag']}] with {row['precision']} weights")
    return lines


def _gpu_line(row: dict[str, Any]) -> str:
    tags = row["tags"]
    money = f"{row['usd']:.2f} USD [{tags['usd']}]" if row["usd"] is not None else "price unknown"
    if not row["fits"]:
        return f"{row['gpu']:<11} {row['card_gb']} GB: does not fit ({row['vram_gb']} GB needed)"
    return (
        f"{row['gpu']:<11} {row['vram_gb']:>5} of {row['card_gb']} GB [{tags['vram_gb']}] with "
        f"{row['precision']} weights, {row['hours']:.1f} h [{tags['hours']}], {money}"
    )


def _plan_lines(found: dict[str, Any]) -> list[str]:
    points, batch = found["checkpoints"], found["batch"]
    of = f"plan {found['version']} for dataset {found['dataset_version']}"
    time = "time: not measured"
    if found["seconds"] is not None:
        pace = f"{found['seconds_per_step']:.2g} s a step, {found['pace_origin']}"
        time = f"time: about {duration(found['seconds'])} ({pace})"
    elif found.get("seconds_reason"):
        time = f"time: not measured ({found['seconds_reason']})"
    return [
        f"{of}: {found['images']} pictures, {found['held_out']} held out",
        f"{found['optimizer_steps']} steps x batch {batch} = {found['image_passes']} passes",
        f"{len(points)} checkpoints, steps {points[0]['step']} to {points[-1]['step']}",
        time,
        f"memory: about {found['memory']['peak'] / 1e9:.2g} GB, "
        f"disk {found['disk_bytes'] / 1e6:.0f} MB",
        *(f"warning: {_warning(w)}" for w in found["warnings"]),
    ]


def _warning(warning: Any) -> str:
    return str(warning.get("text", warning)) if isinstance(warning, dict) else str(warning)
