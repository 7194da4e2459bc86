"""What a run is: everything its weights depend on, as one frozen record.

Same record, same data, same machine: the same bytes in every checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from limner.project.files import canonical_json, sha256_bytes

Template = Literal["t2i", "edit"]
Control = Literal["none", "blank", "self"]
Precision = Literal["fp32", "bf16"]
Attention = Literal["default", "math"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class RunConfig:
    """The settings of one run, all resolved: no zero that means "default", no "auto".

    attention: math = torch's plain kernel, faster than the fused one for small pictures on a CPU.
    """

    base: str
    """Name of the base, as in character.yaml."""
    base_fingerprint: str
    """Hex hash of the base's weights."""
    template: Template
    """Prompt template; pictures made with another one must not be compared with this run's."""
    resolution: int
    """Side of the square whose area pictures are scaled to."""
    rank: int
    """Rank of every pair; alpha is the same."""
    targets: tuple[str, ...]
    """Linears of a block that get a pair."""
    learning_rate: float
    """AdamW's, after the warm-up."""
    steps: int
    """Optimizer updates."""
    batch: int
    """Pictures an update."""
    checkpoints: tuple[int, ...]
    """Updates after which a file is written."""
    precision: Precision
    """bf16: autocast; the LoRA itself, its gradients and moments are always fp32."""
    attention: Attention
    """Kernel of scaled dot-product attention."""
    threads: int
    """CPU threads; part of the record because sums depend on it in the last bit."""
    device: str
    """cpu or cuda."""
    gradient_checkpointing: bool
    """Keep only block inputs for the backward pass."""
    seed: int
    """Seed of noise, order, dropout and the start of A."""
    caption_dropout: float
    """Share of passes with an empty caption."""
    dataset_version: int
    """Number of the training folder."""
    data_sha256: str
    """Hash over its pictures and captions."""
    control: Control = "none"
    """What is shown beside a picture: nothing, a black picture, others of the character."""
    control_area: int = 0
    """Pixels of a shown picture in the autoencoder; 0 = the base's own."""
    control_pictures: int = 1
    """Pictures shown at once, 1 to 3."""
    face_weight: float = 1.0
    """How much more the loss counts in the face of a picture; 1 = all of it alike."""
    schedule: Schedule = "constant"
    """What the rate does after the warm-up: stay, or fall to nothing along a cosine."""
    ema: float = 0.0
    """Decay of the averaged weights that checkpoints hold; 0 = the weights themselves."""
    processes: int = 1
    """Processes that share a batch; part of the record because sums depend on it."""
    wandb: str = ""
    """Weights & Biases project that gets a copy of the measures; no influence on weights."""
    samples: int = 0
    """Sample pictures at a checkpoint; no influence on weights."""
    values: Mapping[str, float] = field(default_factory=dict)
    """The values of `limner.training.rules`."""
    fast: Mapping[str, Any] = field(default_factory=dict)
    """A `fast.Choice` and optimizer_bits; empty = the plain forward pass and optimizer."""

    def as_json(self) -> dict[str, Any]:
        """A dict that JSON takes; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """The record as it was journaled."""
        values = dict(data)
        values["targets"] = tuple(values["targets"])
        values["checkpoints"] = tuple(values["checkpoints"])
        return cls(**values)

    def sha256(self) -> str:
        """Hash of all that has influence on the weights."""
        return self._hash("samples", "wandb")

    def trajectory_sha256(self) -> str:
        """Hash of all that the weights after any given step depend on: of where the run ends only
        if its rate falls toward there."""
        end = ("steps",) if self.schedule == "constant" else ()
        return self._hash("samples", "wandb", "checkpoints", *end)

    def _hash(self, *without: str) -> str:
        data = {k: v for k, v in self.as_json().items() if k not in without}
        if not self.fast:
            data.pop("fast")
        if self.face_weight == 1.0:  # runs from before there was a weight go on
            data.pop("face_weight")
        if self.schedule == "constant":
            data.pop("schedule")
        return sha256_bytes(canonical_json(data).encode())
