"""LoRA files of Qwen-Image transformers: read, check, write and change them; adapters on a model.

In: .safetensors of any trainer, or a transformer. Out: facts, findings, files with diffusers' key
names (`transformer.<module>.lora_A.weight`), alpha = rank, the same bytes for the same weights.
Reading, checking and writing need no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, UsageError
from limner.models import tensorfile
from limner.models.tensorfile import Tensor

if TYPE_CHECKING:
    import numpy as np

BLOCK_LINEARS = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
    *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    *("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
    *("img_mod.1", "txt_mod.1"),
)
"""The 14 linears of a block that LoRAs of this model family touch, as diffusers names them."""

TARGETS = BLOCK_LINEARS[:12]
"""What Limner trains: attention and MLP of both streams, without the two modulations.

MLPs belong to it: attention alone leaves a gap to full fine-tuning that attention + MLP closes
(published for SD 1.5 only). The modulations depend on the timestep alone, not on picture or text:
they could only learn a global tint, and musubi-tuner leaves them out too. 6.64 M parameters a rank
on the 60-block model instead of 9.22 M.
"""

PREFIX = "transformer."
HEADER_LIMIT = 1 << 20  # ComfyUI shows no metadata beyond 1 MB
MODELSPEC = "1.0.1"
_KOHYA = {name.replace(".", "_"): name for name in BLOCK_LINEARS}
_PARTS = {
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A.default.weight": "down",
    "lora_B.default.weight": "up",
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "alpha": "alpha",
}
_SILENT_PREFIXES = ("base_model.model.", "unet.", "model.diffusion_model.", "lora_transformer_")
_ABSOLUTE = re.compile(r"(?:^|[\s\"'=:(,\[])(?:/[\w.@+-]+/[\w.@+-]|[A-Za-z]:\\\\?\w|~/|file://)")


@dataclass(frozen=True)
class LoraInfo:
    """Facts of one LoRA file. `alpha` None: the file states none (then it counts as rank).

    naming: diffusers | diffusion_model | bare | kohya | unknown. `modules`: names as in diffusers.
    tensor_sha256: hex hash of the bytes after the header (ModelSpec's `hash_sha256`).
    """

    path: str
    naming: str
    rank: int | None
    alpha: float | None
    modules: tuple[str, ...]
    leftover: tuple[str, ...]
    parameters: int
    dtypes: tuple[str, ...]
    tensor_sha256: str
    metadata: dict[str, str]

    @property
    def step(self) -> int | None:
        """Optimizer step from the metadata (limner.step, ss_steps, training_info), else None."""
        training_info = self.metadata.get("training_info", "{}")
        try:
            other = json.loads(training_info).get("step")
        except (ValueError, AttributeError):
            other = None
        for value in (self.metadata.get("limner.step"), self.metadata.get("ss_steps"), other):
            if value is not None and str(value).isdigit():
                return int(value)
        return None


@dataclass(frozen=True)
class _Pair:
    down: Tensor | None = None
    up: Tensor | None = None
    alpha: Tensor | None = None


def parse_key(key: str) -> tuple[str, str, str] | None:
    """Tensor name -> (naming, module as in diffusers, down|up|alpha); None when it is no LoRA key.

    >>> parse_key("lora_unet_transformer_blocks_0_attn_to_out_0.lora_down.weight")
    ('kohya', 'transformer_blocks.0.attn.to_out.0', 'down')
    """
    for ending, part in _PARTS.items():
        if not key.endswith(f".{ending}"):
            continue
        stem = key[: -len(ending) - 1]
        for prefix in ("lora_unet_", "lycoris_"):
            if stem.startswith(prefix):
                found = re.fullmatch(r"transformer_blocks_(\d+)_(\w+)", stem[len(prefix) :])
                if found is None or found[2] not in _KOHYA:
                    return None
                return "kohya", f"transformer_blocks.{found[1]}.{_KOHYA[found[2]]}", part
        if stem.startswith(_SILENT_PREFIXES):
            return None
        for prefix, naming in ((PREFIX, "diffusers"), ("diffusion_model.", "diffusion_model")):
            if stem.startswith(prefix):
                return naming, stem[len(prefix) :], part
        return "bare", stem, part
    return None


def _pairs(tensors: Mapping[str, Tensor]) -> tuple[dict[str, _Pair], list[str], set[str]]:
    """Module -> its tensors; keys that are no LoRA's; the namings met."""
    found: dict[str, dict[str, Tensor]] = {}
    leftover: list[str] = []
    namings: set[str] = set()
    for key, tensor in tensors.items():
        parsed = parse_key(key)
        if parsed is None:
            leftover.append(key)
            continue
        namings.add(parsed[0])
        found.setdefault(parsed[1], {})[parsed[2]] = tensor
    return {m: _Pair(**parts) for m, parts in sorted(found.items())}, leftover, namings


def _stated_alpha(metadata: Mapping[str, str]) -> float | None:
    """Alpha that diffusers would read from the header (`lora_adapter_metadata`)."""
    try:
        adapter = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        value = adapter.get("transformer.lora_alpha")
    except (ValueError, AttributeError):
        return None
    return float(value) if isinstance(value, int | float) else None


def _scalar(tensor: Tensor) -> float:
    return float(tensor.floats().reshape(-1)[0])


def info(path: Path) -> LoraInfo:
    """The facts of a LoRA file, without torch. Raises InputError when it is no safetensors file."""
    tensors, metadata = tensorfile.read(path)
    pairs, leftover, namings = _pairs(tensors)
    ranks = {p.down.shape[0] for p in pairs.values() if p.down is not None and p.down.shape}
    alphas = {_scalar(p.alpha) for p in pairs.values() if p.alpha is not None}
    stated = _stated_alpha(metadata)
    return LoraInfo(
        path=path.name,
        naming=namings.pop() if len(namings) == 1 else "unknown",
        rank=ranks.pop() if len(ranks) == 1 else None,
        alpha=alphas.pop() if len(alphas) == 1 else stated if not alphas else None,
        modules=tuple(pairs),
        leftover=tuple(leftover),
        parameters=sum(
            math.prod(t.shape) for p in pairs.values() for t in (p.down, p.up) if t is not None
        ),
        dtypes=tuple(sorted({t.dtype for t in tensors.values()})),
        tensor_sha256=tensorfile.tensor_sha256(path),
        metadata=dict(metadata),
    )


def base_modules(folder: Path) -> dict[str, tuple[int, int]]:
    """Linear of a base's transformer -> (out, in), from the file headers alone.

    `folder`: a diffusers model folder. Raises InputError when it holds no transformer weights.
    """
    shapes: dict[str, tuple[int, int]] = {}
    for file in sorted((folder / "transformer").glob("*.safetensors")):
        for name, entry in tensorfile.header(file)[0].items():
            shape = entry["shape"]
            if name.endswith(".weight") and len(shape) == 2:
                shapes[name.removesuffix(".weight")] = (shape[0], shape[1])
    if not shapes:
        raise InputError(
            "The base holds no transformer weights",
            where=str(folder / "transformer"),
            fix="Give a folder in diffusers layout (transformer/, vae/, text_encoder/, ...).",
        )
    return shapes


Finding = dict[str, str]


def check(path: Path, base: Mapping[str, tuple[int, int]] | None = None) -> list[Finding]:
    """Everything that would make this LoRA load wrongly or not at all; [] when nothing.

    base: module -> (out, in) from `base_modules`; without it names are held against the 14 known
    linears of a block. Severity `error`: would fail or be silently ignored by diffusers or ComfyUI.
    """
    found: list[Finding] = []

    def add(rule: str, text: str, fix: str, severity: str = "error") -> None:
        found.append(
            {"rule": rule, "severity": severity, "file": path.name, "text": text, "fix": fix}
        )

    try:
        tensors, metadata = tensorfile.read(path)
    except InputError as error:
        add("lora-unreadable", error.what, error.fix or "Copy or train it again.")
        return found
    pairs, leftover, namings = _pairs(tensors)
    for key in leftover:
        add("lora-key", f"{key} is no LoRA tensor of this model", "Convert it to diffusers names.")
    if len(namings) > 1:
        add("lora-naming", f"Mixed naming: {', '.join(sorted(namings))}", "Convert it to one.")
    if not pairs:
        add("lora-empty", "The file holds no LoRA tensors", "Choose another file.")
    for module, pair in pairs.items():
        _check_pair(module, pair, base, add)
    _check_alpha(pairs, namings, metadata, add)
    _check_values(pairs, add)
    _check_metadata(path, metadata, add)
    return found


def _check_pair(
    module: str, pair: _Pair, base: Mapping[str, tuple[int, int]] | None, add: Any
) -> None:
    known = (
        module in base
        if base is not None
        else re.fullmatch(
            rf"transformer_blocks\.\d+\.(?:{'|'.join(map(re.escape, BLOCK_LINEARS))})", module
        )
    )
    if not known:
        add("lora-module", f"The base has no {module}", "Use the base it was trained on.")
        return
    if pair.down is None or pair.up is None:
        add("lora-pair", f"{module} lacks one half of its pair", "Train or convert it again.")
        return
    a, b = pair.down.shape, pair.up.shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
        add("lora-shape", f"{module}: A {a} and B {b} do not fit", "Train or convert it again.")
    elif base is not None and (b[0], a[1]) != base[module]:
        add(
            "lora-shape",
            f"{module}: the file maps {a[1]} -> {b[0]}, the base {base[module][1]} -> "
            f"{base[module][0]}",
            "Use the base it was trained on.",
        )


def _check_alpha(
    pairs: Mapping[str, _Pair], namings: set[str], metadata: Mapping[str, str], add: Any
) -> None:
    ranks = {p.down.shape[0] for p in pairs.values() if p.down is not None and p.down.shape}
    with_alpha = [m for m, p in pairs.items() if p.alpha is not None]
    if with_alpha and namings != {"kohya"}:
        add(
            "lora-alpha",
            f"{len(with_alpha)} alpha tensors stand beside lora_A/B; diffusers discards them",
            "Fold the scale in: `limner lora fold`.",
        )
    if namings == {"kohya"} and len(with_alpha) < len(pairs):
        add("lora-alpha", "lora_down/up without alpha", "Fold the scale in: `limner lora fold`.")
    stated = _stated_alpha(metadata)
    if stated is not None and ranks and {stated} != {float(r) for r in ranks}:
        add(
            "lora-alpha",
            f"alpha {stated:g} differs from rank {sorted(ranks)}; ComfyUI would read it as rank",
            "Fold the scale in: `limner lora fold`.",
            "warning",
        )


def _check_values(pairs: Mapping[str, _Pair], add: Any) -> None:
    import numpy as np

    moved = False
    for module, pair in pairs.items():
        for tensor in (pair.down, pair.up):
            if tensor is None:
                continue
            if not np.isfinite(tensor.floats()).all():
                add("lora-finite", f"{module} holds NaN or infinity", "Use an earlier checkpoint.")
                break
        if pair.up is not None and np.any(pair.up.floats()):
            moved = True
    if pairs and not moved:
        add("lora-zero", "All weights are zero: it changes nothing", "Use a later checkpoint.")


def _check_metadata(path: Path, metadata: Mapping[str, str], add: Any) -> None:
    size = tensorfile.header(path)[2]
    if size > HEADER_LIMIT:
        add("lora-header", f"The header is {size} bytes; ComfyUI reads 1 MB", "Drop the thumbnail.")
    for key, value in sorted(metadata.items()):
        if key != "modelspec.thumbnail" and absolute_path(value):
            add("lora-path", f"{key} holds a path of a machine", "Remove it before publishing.")
    stated = metadata.get("modelspec.hash_sha256")
    if stated and stated.removeprefix("0x") != tensorfile.tensor_sha256(path):
        add("lora-hash", "modelspec.hash_sha256 is not that of the tensors", "Write it again.")


def absolute_path(text: str) -> str | None:
    """The first absolute file path in a text, or None. URLs are not paths."""
    found = _ABSOLUTE.search(re.sub(r"\b(?!file:)[a-z]+://\S+", "", text))
    return found[0].strip() if found else None


def adapter_metadata(rank: int, targets: Iterable[str]) -> str:
    """The header value from which diffusers rebuilds exactly this adapter (alpha = rank).

    Without it diffusers assumes alpha = rank; with another alpha a file loads at another strength.
    """
    config = {
        "bias": "none",
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted(targets),
        "use_dora": False,
        "use_rslora": False,
    }
    return json.dumps({f"{PREFIX}{k}": v for k, v in sorted(config.items())})


def save(
    path: Path,
    weights: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str],
    *,
    dtype: str = "F32",
) -> str:
    """Write a LoRA (alpha = rank) and return the file's hex SHA-256.

    weights: `<module>.lora_A.weight` (rank, in) / `.lora_B.weight` (out, rank), float32.
    dtype: F32 | F16 | BF16 of the file. Adds `lora_adapter_metadata`, `modelspec.hash_sha256` and
    `format`. Same weights and metadata, same bytes. Raises UsageError for a broken set or a
    machine's path in the metadata, WorkFailedError when the disk is full.
    """
    tensors = {
        f"{PREFIX}{name}": tensorfile.encode(value, dtype) for name, value in weights.items()
    }
    pairs, leftover, _ = _pairs(tensors)
    ranks = {p.down.shape[0] for p in pairs.values() if p.down is not None}
    whole = all(p.down is not None and p.up is not None for p in pairs.values())
    if leftover or not whole or len(ranks) != 1:
        raise UsageError("These weights are no whole LoRA", where=", ".join(leftover[:3]) or None)
    for key, value in metadata.items():
        if absolute_path(value):
            raise UsageError(f"Metadata {key} holds a path of this machine", where=str(path))
    suffixes = {re.sub(r"^transformer_blocks\.\d+\.", "", module) for module in pairs}
    full = {
        **metadata,
        "format": "pt",
        "lora_adapter_metadata": adapter_metadata(ranks.pop(), suffixes),
        "modelspec.hash_sha256": f"0x{tensorfile.body_sha256(tensors)}",
    }
    return tensorfile.write(path, tensors, full)


def fold(path: Path, out: Path, *, scale: float = 1.0) -> str:
    """Rewrite a LoRA with diffusers names and alpha = rank; the scale goes into B.

    B is multiplied by alpha / rank (alpha tensors first, else the header, else 1) and by `scale`.
    Returns the new file's SHA-256. Raises InputError when the file is no LoRA of this model.
    """
    tensors, metadata = tensorfile.read(path)
    pairs, leftover, _ = _pairs(tensors)
    if leftover or not pairs:
        raise InputError(
            "The file is no plain LoRA of this model",
            where=f"{path.name}: {', '.join(leftover[:3]) or 'no LoRA keys'}",
            fix="Only lora_A/lora_B and lora_down/lora_up pairs can be folded.",
        )
    stated = _stated_alpha(metadata)
    weights: dict[str, np.ndarray[Any, Any]] = {}
    for module, pair in pairs.items():
        if pair.down is None or pair.up is None:
            raise InputError(f"{module} lacks one half of its pair", where=path.name)
        rank = pair.down.shape[0]
        alpha = _scalar(pair.alpha) if pair.alpha is not None else stated
        factor = scale * (alpha / rank if alpha is not None else 1.0)
        weights[f"{module}.lora_A.weight"] = pair.down.floats()
        weights[f"{module}.lora_B.weight"] = pair.up.floats() * factor
    dtype = next(iter(tensors.values())).dtype
    rank_text = str(next(iter(pairs.values())).down.shape[0])  # type: ignore[union-attr]
    kept = {k: v for k, v in metadata.items() if not k.startswith("sshs_")}
    if "ss_network_dim" in kept:
        kept.update(ss_network_dim=rank_text, ss_network_alpha=rank_text)
    return save(out, weights, kept, dtype=dtype if dtype in tensorfile.FLOATS else "F32")


def with_metadata(path: Path, out: Path, updates: Mapping[str, str | None]) -> str:
    """Copy a file with changed header values (None removes one); tensor bytes stay as they are.

    Drops `sshs_*` hashes, which would be wrong. Returns the new file's SHA-256.
    """
    tensors, metadata = tensorfile.read(path)
    full = {k: v for k, v in metadata.items() if not k.startswith("sshs_")}
    for key, value in updates.items():
        if value is None:
            full.pop(key, None)
        else:
            full[key] = value
    full["modelspec.hash_sha256"] = f"0x{tensorfile.tensor_sha256(path)}"
    return tensorfile.write(out, tensors, full, keep_order=True)


def architecture(folder: Path) -> str:
    """ModelSpec architecture of an adapter for this base, from its transformer/config.json.

    Qwen-Image-Edit-Plus (2509) or Qwen-Image-Edit-2511 (`zero_cond_t`), as musubi-tuner writes
    them; other dimensions than the published 60 blocks of 24 x 128 are named, since no file of one
    fits the other.
    """
    try:
        config = json.loads((folder / "transformer" / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = {}
    name = "Qwen-Image-Edit-2511" if config.get("zero_cond_t") else "Qwen-Image-Edit-Plus"
    layers = config.get("num_layers", 60)
    inner = config.get("num_attention_heads", 24) * config.get("attention_head_dim", 128)
    if (layers, inner) != (60, 3072):
        name += f"-{layers}x{inner}"
    return f"{name}/lora"


# ---- adapters on a model (torch)


def add_adapter(
    transformer: Any, *, rank: int, seed: int, targets: Iterable[str] = TARGETS
) -> dict[str, Any]:
    """Freeze a transformer, add a LoRA with alpha = rank; returns name -> trainable parameter.

    Names: `<module>.lora_A.weight` (rank, in) and `.lora_B.weight` (out, rank), float32, sorted.
    A ~ U(-1/sqrt(in), 1/sqrt(in)) as peft (Kaiming with a = sqrt 5), each module from its own seed,
    B = 0: the model starts as it was.
    """
    import torch
    from peft import LoraConfig

    transformer.requires_grad_(False)
    transformer.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), lora_dropout=0.0)
    )
    found = parameters(transformer)
    with torch.no_grad():
        for name, weight in found.items():
            weight.data = weight.data.float()
            if name.endswith("lora_A.weight"):
                digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
                bound = 1.0 / math.sqrt(weight.shape[1])
                start = torch.rand(weight.shape, generator=generator) * (2 * bound) - bound
                weight.copy_(start)
            else:
                weight.zero_()
    return found


def parameters(transformer: Any) -> dict[str, Any]:
    """Name -> LoRA parameter of the adapter `default`, sorted by name."""
    found = {
        name.replace(".default.", "."): p
        for name, p in transformer.named_parameters()
        if ".lora_A.default." in name or ".lora_B.default." in name
    }
    return dict(sorted(found.items()))


def load_into(weights: Mapping[str, Any], path: Path) -> None:
    """Copy a file's LoRA into parameters from `add_adapter`. Raises InputError if they differ."""
    import torch

    tensors, _ = tensorfile.read(path)
    pairs, _, _ = _pairs(tensors)
    file = {f"{m}.lora_A.weight": p.down for m, p in pairs.items()}
    file |= {f"{m}.lora_B.weight": p.up for m, p in pairs.items()}
    if set(file) != set(weights):
        raise InputError("The LoRA file has other modules than this adapter", where=path.name)
    with torch.no_grad():
        for name, parameter in weights.items():
            tensor = file[name]
            if tensor is None or tensor.shape != tuple(parameter.shape):
                raise InputError(f"{name} has another shape", where=path.name)
            parameter.copy_(torch.from_numpy(tensor.floats().copy()))
