"""Before anything is drawn: does the server have the nodes and files a graph needs?

In: a server and a graph. Out: the graph in the server's own spelling of file names, or an error
that names what is missing.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence

from limner.comfy.graphs import Graph
from limner.comfy.server import Server
from limner.errors import InputError

FILE_INPUTS: dict[str, dict[str, str]] = {
    "UNETLoader": {"unet_name": "models/diffusion_models"},
    "CLIPLoader": {"clip_name": "models/text_encoders"},
    "VAELoader": {"vae_name": "models/vae"},
    "LoraLoaderModelOnly": {"lora_name": "models/loras"},
    "LoraLoader": {"lora_name": "models/loras"},
    "CheckpointLoaderSimple": {"ckpt_name": "models/checkpoints"},
}
"""Inputs that name a file, and the folder of the server it belongs in."""


def check(server: Server, graph: Graph) -> Graph:
    """The graph with file names as the server spells them. Raises InputError for a missing node or
    file, ComfyError when the server does not answer."""
    made = copy.deepcopy(graph)
    known: dict[tuple[str, str], list[str]] = {}
    for class_type in sorted({node["class_type"] for node in graph.values()}):
        if server.node(class_type) is None:
            raise InputError(
                f"This ComfyUI has no node {class_type}",
                where=server.link.shown(server.link.base_url),
                fix="Update ComfyUI (0.3.60 or later for Qwen-Image-Edit-2509), or install the "
                "custom node it belongs to.",
            )
    for node in made.values():
        for name, folder in FILE_INPUTS.get(node["class_type"], {}).items():
            value = node["inputs"].get(name)
            if isinstance(value, str):
                key = (node["class_type"], name)
                if key not in known:
                    known[key] = server.choices(*key) or []
                node["inputs"][name] = spelled(value, known[key], folder)
    return made


def spelled(wanted: str, listed: Sequence[str], folder: str) -> str:
    """`wanted` as the server lists it: Windows writes backslashes, and a file may lie in a
    subfolder. Raises InputError with the names most like it."""
    if wanted in listed:
        return wanted
    plain = _plain(wanted)
    same = [name for name in listed if _plain(name) == plain]
    same = same or [n for n in listed if _plain(n).rpartition("/")[2] == plain]
    if len(same) == 1:
        return same[0]
    alike = difflib.get_close_matches(wanted, listed, n=3, cutoff=0.3)
    raise InputError(
        f"ComfyUI has no file {wanted!r}" + (f"; it has {', '.join(alike)}" if alike else ""),
        where=folder,
        fix=f"Put the file into {folder} of that ComfyUI, or name one that it has.",
    )


def recorded(graph: Graph) -> dict[str, str]:
    """The file names a graph reads, for records: input -> name; a second one with its node."""
    found: dict[str, str] = {}
    for key, node in graph.items():
        for name in FILE_INPUTS.get(node["class_type"], {}):
            if isinstance(value := node["inputs"].get(name), str):
                found[name if name not in found else f"{name} {key}"] = value
    return found


def _plain(name: str) -> str:
    return name.replace("\\", "/")
