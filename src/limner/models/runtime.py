"""Heavy imports in the right order: torch, then torchvision mended if it must be, then diffusers.

PyPI's torchvision is built for CUDA; beside a CPU build of torch its C++ operators do not load and
`import torchvision` fails while registering fake kernels for them. Declaring the operators' schemas
first makes the import work; its pure-torch image transforms are all that transformers needs.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any

from limner.errors import MissingExtraError

_NEEDS = ("torch", "diffusers", "transformers", "peft", "torchvision")
_library: Any = None  # the schema library must stay alive as long as the process


@cache
def prepare() -> None:
    """Make `import diffusers` work and quiet. Raises MissingExtraError. No effect twice."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Models need {', '.join(missing)}",
            fix="pip install 'limner[train]' (on a machine without GPU: torch==2.13.0 first; "
            "torchvision==0.28.0 with --no-deps)",
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    global _library
    try:
        _ = torch.ops.torchvision.nms
    except (AttributeError, RuntimeError):
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
