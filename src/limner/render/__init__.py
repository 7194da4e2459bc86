"""Pictures from a model, for samples and grids alike.

1. A `Cell` is one picture asked for: prompt, seed, LoRA, strength.
2. `Settings` are what all pictures of a grid share; scores across different ones never meet.
3. A cell's key is a hash of all it depends on: a picture that exists is never made twice.
4. `batches` orders cells so that every LoRA is loaded once.
5. `DiffusersRenderer` draws them here; `comfy_rendering` has a ComfyUI server draw them.
"""

from limner.render.cells import (
    RENDERER,
    Cell,
    Settings,
    batch_size,
    batches,
    ensure_comparable,
    picture_sha256,
    png_bytes,
)
from limner.render.comfyui import COMFY_RENDERER, ComfyRenderer, ComfyRendering, comfy_rendering
from limner.render.diffusers import DiffusersRenderer

__all__ = [
    "COMFY_RENDERER",
    "RENDERER",
    "Cell",
    "ComfyRenderer",
    "ComfyRendering",
    "DiffusersRenderer",
    "Settings",
    "batch_size",
    "batches",
    "comfy_rendering",
    "ensure_comparable",
    "picture_sha256",
    "png_bytes",
]
