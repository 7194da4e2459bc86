"""Runs ComfyUI's main.py, or the maker of toy checkpoints, inside the tree: `launch.py TREE ...`.

A torchvision built for CUDA dies beside a CPU build of torch while it registers fake kernels; that
registration is a no-op only while torchvision is imported.
"""

from __future__ import annotations

import os
import runpy
import sys


def _mend_torchvision() -> None:
    import torch

    try:
        _ = torch.ops.torchvision.nms
        return
    except (AttributeError, RuntimeError):
        pass
    real = torch.library.register_fake
    torch.library.register_fake = lambda *args, **named: lambda function: function  # type: ignore
    try:
        import torchvision  # noqa: F401
    finally:
        torch.library.register_fake = real


def main() -> None:
    """argv: tree, script, then the script's own arguments."""
    tree, script = sys.argv[1:3]
    _mend_torchvision()
    os.chdir(tree)
    sys.path.insert(0, tree)
    sys.argv = [script, *sys.argv[3:]]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
