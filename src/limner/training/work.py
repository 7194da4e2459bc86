"""What one run holds while it works: its records, pictures, base, examples and trainer.

In: a run's record. Out: `Work`, filled in order by `open_work`, `encoded`, `make_trainer`; the
leader of a team and its followers do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError
from limner.events import Progress
from limner.models import resolve_base
from limner.project import Project
from limner.project.records import Dataset, Run
from limner.training import data, kernels, order, prepare, stamp
from limner.training.config import RunConfig
from limner.training.trainer import Example, Trainer

if TYPE_CHECKING:
    from limner.models import Base
    from limner.training.parallel import Team
    from limner.training.samples import Sampler


@dataclass
class Work:
    """Everything one run holds while it works."""

    project: Project
    run: Run
    config: RunConfig
    dataset: Dataset
    train: list[data.Picture]
    held_out: list[data.Picture]
    base: Base
    models: Path
    logs: Path
    examples: tuple[list[Example], list[Example]] = field(default_factory=lambda: ([], []))
    sampler: Sampler | None = None

    @property
    def header(self) -> dict[str, str]:
        """What all checkpoints of the run say about it."""
        captions = [p.caption for p in self.train]
        folder = Path(self.base.info.path)
        made = stamp.header(self.project, self.run, self.dataset, self.config, captions, folder)
        return {**made, "ss_dataset_dirs": stamp.dataset_dirs(self.train)}


def device_of(config: RunConfig, rank: int = 0) -> str:
    """The device of one process of a team: a GPU each, or all on the CPU."""
    return f"cuda:{rank}" if config.device == "cuda" and config.processes > 1 else config.device


def open_work(project: Project, run: Run, config: RunConfig, *, rank: int = 0) -> Work:
    """Read the dataset and open the base of a run; `rank`: of this process in the run's team.

    Raises InputError when pictures, captions or base are not those that were planned.
    """
    dataset = project.store.dataset(run.dataset_version)
    if dataset is None:
        raise InputError(f"Dataset {run.dataset_version} is gone", where=str(project.root))
    train, held_out = data.read_dataset(project, dataset)
    if data.data_sha256(train, held_out) != config.data_sha256:
        raise InputError(
            "The training folder changed since this run began",
            where=str(project.path(dataset.path)),
            fix="Run `limner dataset build`, then `limner plan` and `limner train`.",
        )
    held_out = held_out[: int(config.values["held_out_pictures"])]
    base = _open_base(config, rank)
    models = project.folder("models") / f"run_{run.version}"
    logs = project.folder("logs") / f"run_{run.version}"
    return Work(project, run, config, dataset, train, held_out, base, models, logs)


def _open_base(config: RunConfig, rank: int) -> Base:
    """The base of the record, with its device and threads. Raises InputError when it changed."""
    from limner.models import open_base

    info = resolve_base(config.base)
    if info.fingerprint != config.base_fingerprint:
        raise InputError(
            "The base model changed since this run was planned",
            where=stamp.public_name(config.base),
            fix="Run `limner plan` and start a new run.",
        )
    info.require_template(config.template)
    device = device_of(config, rank)
    if device.startswith("cuda"):
        kernels.before_cuda()
    import torch

    torch.set_num_threads(config.threads)
    if config.control_area:
        info = replace(info, reference_area=config.control_area)
    # without autocast, activations are fp32, and so must the weights be
    dtype = torch.float32 if config.device == "cpu" or config.precision == "fp32" else None
    if not config.fast:
        return open_base(info, device=device, dtype=dtype)
    from limner.training import fast

    def load(folder: Path) -> Any:
        choice = fast.choice_of(config.fast)
        member = (rank, config.processes)
        return fast.load_transformer(folder, choice, device, dtype or torch.bfloat16, member)

    return open_base(info, device=device, dtype=dtype, load_transformer=load)


def encoded(work: Work) -> Iterator[Progress]:
    """Fill `work.examples`, from the cache where it can be; yields progress."""
    config = work.config
    cache = prepare.Cache(work.project.root / ".limner" / "cache", config.base_fingerprint)
    encoder = prepare.Encoder(
        work.base, cache, config.template, config.resolution, config.face_weight
    )
    yield from prepare.examples(
        encoder, work.train, work.held_out, _choices(work), into=work.examples
    )


def _choices(work: Work) -> tuple[list[list[data.Shown]], list[list[data.Shown]]]:
    config = work.config
    return data.controls(
        work.train,
        work.held_out,
        control=config.control,
        pictures=config.control_pictures,
        each=int(config.values["references_each"]),
        seed=config.seed,
    )


def make_sampler(work: Work) -> Sampler:
    """What draws the samples of a run; its prompts are encoded here, once."""
    from limner.training.samples import Sampler

    fixed = _choices(work)
    shown = (fixed[1] or fixed[0])[0][0]
    return Sampler(work.base, work.config, [*work.held_out, *work.train], shown)


def make_trainer(work: Work, team: Team | None = None) -> Trainer:
    """The trainer of a run whose pictures are encoded."""
    work.base.release_encoders(keep_vae=work.sampler is not None)
    return Trainer(
        work.base,
        work.config,
        work.examples[0],
        data.buckets(work.train, work.config.resolution),
        work.examples[1],
        weights={i: p.weight for i, p in enumerate(work.train) if p.weight != 1},
        compared=_compared(work),
        team=team,
    )


def _compared(work: Work) -> list[int]:
    """As many pictures of the character as are held out, drawn once for the whole run."""
    own = [i for i, p in enumerate(work.train) if p.own]
    own.sort(key=lambda i: order.counter_seed(work.config.seed, "trained", i))
    return own[: len(work.held_out)]
