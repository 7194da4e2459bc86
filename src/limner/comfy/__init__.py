"""ComfyUI: pictures from a server that already runs, on this machine or another.

1. `connect` gives a `Server`: one method a route; older and later versions alike.
2. `qwen_edit` builds the official Qwen-Image-Edit-2509 graph; `load_workflow` reads a user's own.
3. `check` asks the server whether it has the graph's nodes and files, before anything is drawn.
4. `draw` sends a graph once, finds it again after a kill or restart, fetches and checks its files.
5. What the server does silently wrong is an error here (docs/sources.md lists the seven traps).
"""

from limner.comfy.address import connect
from limner.comfy.drawing import Drawn, draw, new_id, patiently
from limner.comfy.graphs import (
    MOST_REFERENCES,
    SAVE,
    Graph,
    ModelFiles,
    Sampling,
    qwen_edit,
)
from limner.comfy.preflight import check, recorded
from limner.comfy.server import ComfyError, NotYetError, Server, Stats
from limner.comfy.workflow import Workflow
from limner.comfy.workflow import load as load_workflow

__all__ = [
    "MOST_REFERENCES",
    "SAVE",
    "ComfyError",
    "Drawn",
    "Graph",
    "ModelFiles",
    "NotYetError",
    "Sampling",
    "Server",
    "Stats",
    "Workflow",
    "check",
    "connect",
    "draw",
    "load_workflow",
    "new_id",
    "patiently",
    "qwen_edit",
    "recorded",
]
