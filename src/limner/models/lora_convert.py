"""A LoRA file in another program's naming: the same tensors, the scale where that naming wants it.

In: a .safetensors file of any trainer. Out: a file for diffusers, ComfyUI or kohya's programs.
There and back gives the same bytes: what a naming cannot hold is noted in the header.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError, UsageError
from limner.models import lora, tensorfile
from limner.models.lora_naming import NAMINGS, Naming, foreign_key, parse_key, write_key
from limner.models.tensorfile import Tensor

NOTE = "limner.alpha"
"""Header key: the alpha tensors that a naming without them left out, as JSON."""


@dataclass
class _Module:
    """One linear. alpha: its tensor, or None. scale: what its up matrix was multiplied with."""

    down: Tensor
    up: Tensor
    alpha: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def convert(path: Path, out: Path, to: Naming) -> dict[str, Any]:
    """Write `path` in another naming to `out`.

    kohya holds a scale as alpha tensors; the others have none, so that B is multiplied by alpha /
    rank. That is undone exactly on the way back (a scale that bf16 cannot hold is stored in fp32);
    `exact` is False where it is not: then B changes by one rounding.

    Returns {path, naming, was, modules, alpha: equal|kept|folded|restored, exact, sha256}. Raises
    InputError for what is no LoRA of this model, UsageError for a wrong target.
    """
    if to not in NAMINGS:
        raise UsageError(
            f"There is no naming {to!r}", where="--to", fix=f"Use one of: {', '.join(NAMINGS)}."
        )
    if out.exists() and out.samefile(path):
        raise UsageError(
            "The original is never written over", where=str(out), fix="Give another name."
        )
    lora.refuse_pickle(path)
    tensors, metadata = tensorfile.read(path)
    modules, was = _modules(tensors, path)
    stated = lora.stated_alpha(metadata)
    note = _read_note(metadata.get(NOTE))
    if to == "kohya":
        how, exact = _with_alpha(modules, stated, note)
        new_note = None
    else:
        how, exact, new_note = _without_alpha(modules, stated)
        if new_note is None and note is not None and all(m.alpha is None for m in modules.values()):
            new_note, how = note, "equal"
    made: dict[str, Tensor] = {}
    for name, module in modules.items():
        made[write_key(to, name, "down")] = module.down
        made[write_key(to, name, "up")] = module.up
        if to == "kohya" and module.alpha is not None:
            made[write_key(to, name, "alpha")] = module.alpha
    header = _header(metadata, modules, to, new_note)
    header["modelspec.hash_sha256"] = f"0x{tensorfile.body_sha256(made)}"
    digest = tensorfile.write(out, made, header)
    return {
        "path": str(out),
        "naming": to,
        "was": was,
        "modules": len(modules),
        "alpha": how,
        "exact": exact,
        "sha256": digest,
    }


def _modules(tensors: dict[str, Tensor], path: Path) -> tuple[dict[str, _Module], str]:
    """Module -> its tensors, and the naming they had."""
    parts: dict[str, dict[str, Tensor]] = {}
    namings: set[str] = set()
    odd = []
    for key, tensor in tensors.items():
        parsed = parse_key(key) or foreign_key(key)
        if parsed is None:
            odd.append(key)
            continue
        namings.add(parsed[0])
        if parsed[2] in parts.get(parsed[1], {}):
            raise InputError(
                f"{parsed[1]} stands twice in the file",
                where=f"{path.name}: {key}",
                fix="It was merged from two files; ask for the original.",
            )
        parts.setdefault(parsed[1], {})[parsed[2]] = tensor
    if odd or not parts:
        kind = lora.other_kind(odd[0]) if odd else None
        raise InputError(
            f"The file is no plain LoRA of this model{f' ({kind})' if kind else ''}",
            where=f"{path.name}: {', '.join(odd[:3]) or 'no LoRA keys'}",
            fix="Only lora_A/lora_B and lora_down/lora_up pairs can be converted.",
        )
    made = {}
    for name, found in sorted(parts.items()):
        if "down" not in found or "up" not in found or len(found["down"].shape) != 2:
            raise InputError(f"{name} lacks one half of its pair", where=path.name)
        made[name] = _Module(found["down"], found["up"], found.get("alpha"))
    return made, namings.pop() if len(namings) == 1 else "mixed"


def _without_alpha(
    modules: dict[str, _Module], stated: float | None
) -> tuple[str, bool, dict[str, Any] | None]:
    """Fold every scale into B; (how, exact, what to note so that it can be undone)."""
    alphas: dict[str, float] = {}
    types: dict[str, str] = {}
    exact, folded = True, False
    first = next((m.alpha for m in modules.values() if m.alpha is not None), None)
    for name, module in modules.items():
        alpha = lora.scalar(module.alpha) if module.alpha is not None else stated
        module_alpha = float(module.rank) if alpha is None else alpha
        factor = module_alpha / module.rank if module.rank else 1.0
        if module.alpha is not None or factor != 1.0:
            alphas[name] = module_alpha
        if factor != 1.0:
            folded, before = True, module.up
            module.up, same = _scaled(before, factor)
            types[name] = before.dtype
            exact = exact and same
        module.alpha = None
    if not alphas:
        return "equal", True, None
    note: dict[str, Any] = {
        "alpha": _shared(alphas),
        "dtype": first.dtype if first is not None else None,
        "shape": list(first.shape) if first is not None else [],
    }
    if folded:
        note["up"] = _shared(types)
        note["folded"] = True
    return "folded" if folded else "equal", exact, note


def _shared(values: dict[str, Any]) -> Any:
    """One value when all modules share it, else module -> value."""
    return next(iter(values.values())) if len(set(values.values())) == 1 else values


def _scaled(up: Tensor, factor: float) -> tuple[Tensor, bool]:
    """B times a factor, in its own type if that can be undone, else in fp32; and if it can."""
    if up.dtype not in tensorfile.FLOATS:
        raise InputError(
            f"The scale cannot be folded into tensors of type {up.dtype}",
            fix="Convert the weights to bf16 first.",
        )
    values = up.floats()
    own = tensorfile.encode(values * factor, up.dtype)
    for made in (own, tensorfile.encode(values * factor, "F32")):
        if tensorfile.encode(made.floats() / factor, up.dtype).data == up.data:
            return made, True
    return own, False


def _with_alpha(
    modules: dict[str, _Module], stated: float | None, note: dict[str, Any] | None
) -> tuple[str, bool]:
    """Give every module its alpha tensor: the file's own, the noted one, else alpha = rank."""
    if all(m.alpha is not None for m in modules.values()):
        return "kept", True
    how = "equal"
    for name, module in modules.items():
        if module.alpha is not None:
            continue
        alpha = float(module.rank) if stated is None else stated
        dtype, shape = module.down.dtype, ()
        noted = _noted(note, "alpha", name)
        if note is not None and isinstance(noted, int | float):
            before = _unfolded(module, float(noted), note, name)
            if before is not None:
                module.up, alpha, how = before, float(noted), "restored"
                dtype = note.get("dtype") or dtype
                shape = tuple(note.get("shape") or ())
        elif stated is not None:
            how = "kept"
        module.alpha = _alpha_tensor(alpha, dtype, shape)
    return how, True


def _noted(note: dict[str, Any] | None, key: str, module: str) -> Any:
    found = (note or {}).get(key)
    return found.get(module) if isinstance(found, dict) else found


def _unfolded(module: _Module, alpha: float, note: dict[str, Any], name: str) -> Tensor | None:
    """B before its scale was folded in; None when the file was changed since."""
    factor = alpha / module.rank if module.rank else 1.0
    if factor == 1.0 or not note.get("folded"):
        return module.up
    dtype = _noted(note, "up", name)
    if dtype not in tensorfile.FLOATS or module.up.dtype not in tensorfile.FLOATS:
        return None
    before = tensorfile.encode(module.up.floats() / factor, dtype)
    again, _ = _scaled(before, factor)
    return before if again == module.up else None


def _alpha_tensor(value: float, dtype: str, shape: tuple[int, ...]) -> Tensor:
    import numpy as np

    plain = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}  # musubi-tuner's converter writes I64
    if dtype in plain and (dtype == "F64" or value == int(value)):
        return Tensor(dtype, shape, np.array([value]).astype(plain[dtype]).tobytes())
    kind = dtype if dtype in tensorfile.FLOATS else "F32"
    made = tensorfile.encode(np.array([value], np.float32), kind)
    return Tensor(kind, shape, made.data)


def _read_note(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _header(
    metadata: dict[str, str], modules: dict[str, _Module], to: Naming, note: dict[str, Any] | None
) -> dict[str, str]:
    """The header for the new naming: no wrong hashes, alpha told where it counts."""
    dropped = (NOTE, "lora_adapter_metadata")
    full = {k: v for k, v in metadata.items() if not k.startswith("sshs_") and k not in dropped}
    full["format"] = "pt"
    ranks = {m.rank for m in modules.values()}
    if to == "diffusers" and len(ranks) == 1:
        full["lora_adapter_metadata"] = lora.adapter_metadata(
            next(iter(ranks)), {lora.suffix(name) for name in modules}
        )
    if "ss_network_alpha" in full or "ss_network_dim" in full:
        rank = str(max(ranks))
        given = {lora.scalar(m.alpha) for m in modules.values() if m.alpha is not None}
        alpha = f"{next(iter(given)):g}" if len(given) == 1 else rank
        full.update(ss_network_dim=rank, ss_network_alpha=alpha if to == "kohya" else rank)
    if note is not None:
        full[NOTE] = json.dumps(note, sort_keys=True, separators=(",", ":"))
    return full
