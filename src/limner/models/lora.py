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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, UsageError
from limner.models import tensorfile
from limner.models.lora_naming import BLOCK_LINEARS as BLOCK_LINEARS
from limner.models.lora_naming import OTHER_KINDS, PREFIX, foreign_key, known_module
from limner.models.lora_naming import parse_key as parse_key
from limner.models.tensorfile import Tensor

if TYPE_CHECKING:
    import numpy as np

TARGETS = BLOCK_LINEARS[:12]
"""What Limner trains: attention and MLP of both streams, without the two modulations.

MLPs belong to it: attention alone leaves a gap to full fine-tuning that attention + MLP closes
(published for SD 1.5 only). The modulations depend on the timestep alone, not on picture or text:
they could only learn a global tint, and musubi-tuner leaves them out too. 6.64 M parameters a rank
on the 60-block model instead of 9.22 M.
"""

HEADER_LIMIT = 1 << 20  # ComfyUI shows no metadata beyond 1 MB
MODELSPEC = "1.0.1"
_READABLE = {"F64", *tensorfile.FLOATS}
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


def stated_alpha(metadata: Mapping[str, str]) -> float | None:
    """Alpha that diffusers would read from the header (`lora_adapter_metadata`)."""
    try:
        adapter = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        value = adapter.get("transformer.lora_alpha")
    except (ValueError, AttributeError):
        return None
    return float(value) if isinstance(value, int | float) else None


def scalar(tensor: Tensor) -> float:
    """The value of an alpha tensor. Raises InputError when it holds none."""
    values = tensor.floats().reshape(-1)
    if len(values) != 1:
        raise InputError(f"An alpha tensor holds {len(values)} values instead of one")
    return float(values[0])


def suffix(module: str) -> str:
    """A module's name without its block: what peft's target_modules match."""
    return re.sub(r"^transformer_blocks\.\d+\.", "", module)


def other_kind(key: str) -> str | None:
    """What a key that is no LoRA's belongs to, in words; None when nobody knows."""
    return next((said for mark, said in OTHER_KINDS.items() if mark in key), None)


def refuse_pickle(path: Path) -> None:
    """Raise InputError for a pickle (.pt, .ckpt, .bin, .pth): opening one can run any code."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return  # the reader of the file says what is wrong
    pickled = start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04"))
    if pickled or path.suffix.lower() in (".pt", ".pth", ".ckpt", ".bin", ".pkl"):
        raise InputError(
            f"{path.name} is a pickle: opening one can run any code, so it is not opened",
            where=str(path),
            fix="Ask for a .safetensors file, or convert it with its own trainer where nothing "
            "can be lost.",
        )


def info(path: Path) -> LoraInfo:
    """The facts of a LoRA file, without torch. Raises InputError when it is no safetensors file."""
    refuse_pickle(path)
    tensors, metadata = tensorfile.read(path)
    pairs, leftover, namings = _pairs(tensors)
    ranks = {p.down.shape[0] for p in pairs.values() if p.down is not None and p.down.shape}
    alphas = {scalar(p.alpha) for p in pairs.values() if p.alpha is not None}
    stated = stated_alpha(metadata)
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


def summary(path: Path) -> dict[str, Any]:
    """`info` with the file's size and its modules by block, as plain data. Raises InputError."""
    facts = info(path)
    blocks = {m.split(".")[1] for m in facts.modules if m.startswith("transformer_blocks.")}
    return {
        **asdict(facts),
        "bytes": path.stat().st_size,
        "step": facts.step,
        "blocks": len(blocks),
        "linears": sorted({suffix(m) for m in facts.modules}),
    }


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
        refuse_pickle(path)
        tensors, metadata = tensorfile.read(path)
    except InputError as error:
        pickled = "pickle" in error.what
        rule = "lora-pickle" if pickled else "lora-unreadable"
        add(rule, error.what, error.fix or "Copy or train it again.")
        return found
    pairs, leftover, namings = _pairs(tensors)
    _check_leftover(leftover, add)
    if len(namings) > 1:
        add("lora-naming", f"Mixed naming: {', '.join(sorted(namings))}", "Convert it to one.")
    if not pairs and not any(foreign_key(key) for key in leftover):
        add("lora-empty", "The file holds no LoRA tensors", "Choose another file.")
    for module, pair in pairs.items():
        _check_pair(module, pair, base, add)
    _check_alpha(pairs, namings, metadata, add)
    _check_values(pairs, add)
    _check_blocks(pairs, add)
    _check_metadata(path, metadata, add)
    return found


def _check_leftover(leftover: list[str], add: Any) -> None:
    """Keys that are passed over: whole families once, the others one by one."""
    families: dict[str, list[str]] = {}
    for key in leftover:
        foreign = foreign_key(key)
        family = foreign[0] if foreign else other_kind(key) or ""
        families.setdefault(family, []).append(key)
    for family, keys in families.items():
        many = f"{len(keys)} keys such as {keys[0]}"
        if foreign_key(keys[0]):
            add(
                "lora-silent",
                f"{many} begin with {family}: ComfyUI loads none of them and says nothing",
                "limner lora convert FILE --to comfyui",
            )
        elif family:
            add("lora-kind", f"{many}: {family}", "Train a plain LoRA.")
        else:
            for key in keys[:20]:
                add(
                    "lora-key",
                    f"{key} is no LoRA tensor of this model",
                    "Use it with the model it was made for.",
                )


def _check_pair(
    module: str, pair: _Pair, base: Mapping[str, tuple[int, int]] | None, add: Any
) -> None:
    known = module in base if base is not None else known_module(module)
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
            "Fold the scale in: limner lora convert FILE --to diffusers",
        )
    if namings == {"kohya"} and len(with_alpha) < len(pairs):
        add(
            "lora-alpha",
            "lora_down/up without alpha",
            "Fold the scale in: limner lora convert FILE --to diffusers",
        )
    stated = stated_alpha(metadata)
    if stated is not None and ranks and {stated} != {float(r) for r in ranks}:
        add(
            "lora-alpha",
            f"alpha {stated:g} differs from rank {sorted(ranks)}; ComfyUI would read it as rank",
            "Fold the scale in: limner lora convert FILE --to diffusers",
            "warning",
        )


def _check_values(pairs: Mapping[str, _Pair], add: Any) -> None:
    import numpy as np

    moved = False
    odd = sorted({t.dtype for p in pairs.values() for t in (p.down, p.up) if t} - _READABLE)
    if odd:
        add(
            "lora-type",
            f"Tensors of type {', '.join(odd)} lose the small differences a LoRA is made of",
            "Save it as bf16 or float16.",
            "warning",
        )
        return
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


def _check_blocks(pairs: Mapping[str, _Pair], add: Any) -> None:
    """Linears that some blocks have and others lack: a file cut or merged badly."""
    blocks: dict[str, set[int]] = {}
    for module in pairs:
        block = re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", module)
        if block:
            blocks.setdefault(block[2], set()).add(int(block[1]))
    everywhere = set().union(*blocks.values())
    for name, there in sorted(blocks.items()):
        lacking = sorted(everywhere - there)
        if lacking:
            add(
                "lora-gap",
                f"{name} is missing in {len(lacking)} of {len(everywhere)} blocks, first in "
                f"{lacking[0]}",
                "Use the whole file, or be sure that only these blocks were trained.",
                "warning",
            )


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
    suffixes = {suffix(module) for module in pairs}
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
    stated = stated_alpha(metadata)
    weights: dict[str, np.ndarray[Any, Any]] = {}
    for module, pair in pairs.items():
        if pair.down is None or pair.up is None:
            raise InputError(f"{module} lacks one half of its pair", where=path.name)
        rank = pair.down.shape[0]
        alpha = scalar(pair.alpha) if pair.alpha is not None else stated
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
    """ModelSpec architecture of an adapter for this base, from the folder's own files.

    Qwen-Image, Qwen-Image-Edit-Plus (2509) or Qwen-Image-Edit-2511 (`zero_cond_t`), as
    musubi-tuner writes them; other dimensions than the published 60 blocks of 24 x 128 are named,
    since no file of one fits the other.
    """

    def facts(file: str) -> dict[str, Any]:
        try:
            return dict(json.loads((folder / file).read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    config = facts("transformer/config.json")
    name = "Qwen-Image-Edit-2511" if config.get("zero_cond_t") else "Qwen-Image-Edit-Plus"
    if facts("model_index.json").get("_class_name") == "QwenImagePipeline":
        name = "Qwen-Image"
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
    from peft import LoraConfig

    transformer.requires_grad_(False)
    transformer.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), lora_dropout=0.0)
    )
    found = parameters(transformer)
    for weight in found.values():
        weight.data = weight.data.float()
    start(found, seed)
    return found


def start(weights: Mapping[str, Any], seed: int) -> None:
    """Put the values a run begins with into parameters from `add_adapter`."""
    import torch

    with torch.no_grad():
        for name, weight in weights.items():
            if name.endswith("lora_A.weight"):
                digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
                bound = 1.0 / math.sqrt(weight.shape[1])
                first = torch.rand(weight.shape, generator=generator) * (2 * bound) - bound
                weight.copy_(first)
            else:
                weight.zero_()


def parameters(transformer: Any) -> dict[str, Any]:
    """Name -> LoRA parameter of the adapter `default`, sorted by name."""
    found = {
        name.replace(".default.", "."): p
        for name, p in transformer.named_parameters()
        if ".lora_A.default." in name or ".lora_B.default." in name
    }
    return dict(sorted(found.items()))
