"""A user's own ComfyUI workflow, with marks where Limner writes prompt, seed, pictures and size.

In: the JSON of ComfyUI's "Export (API)". Out: graphs. A mark is a node's title (`limner:prompt`,
`limner:seed`, `limner:reference2`, `limner:output`) or a text `{{prompt}}` inside an input.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.comfy.graphs import Graph
from limner.errors import InputError
from limner.project.files import canonical_json, sha256_bytes

INPUTS: dict[str, tuple[str, ...]] = {
    "prompt": ("text", "prompt", "value", "string", "positive"),
    "negative": ("text", "prompt", "value", "string", "negative"),
    "seed": ("seed", "noise_seed", "value", "int"),
    "width": ("width", "value", "int"),
    "height": ("height", "value", "int"),
    "reference": ("image", "value", "string"),
    "lora": ("lora_name", "value", "string"),
    "strength": ("strength_model", "strength", "value", "float"),
    "output": (),
}
"""Mark -> the inputs it may mean, the first that the node has."""

_TITLE = re.compile(r"limner:([a-z]+)(\d?)(?:=(\w+))?")
_TEXT = re.compile(r"\{\{\s*([a-z]+)(\d?)\s*\}\}")
_SEEDS = ("seed", "noise_seed")
_SAVERS = ("SaveImage", "SaveImageAdvanced")


@dataclass(frozen=True)
class Place:
    """One input that is written. whole: it becomes the value; else the mark's text is replaced."""

    field: str
    node: str
    input: str
    whole: bool = True


@dataclass(frozen=True)
class Workflow:
    """A graph with its marked places. output: the node whose pictures count.

    guessed: what was found without a mark, in words, for the user.
    """

    graph: Graph
    places: tuple[Place, ...]
    output: str
    sha256: str
    guessed: tuple[str, ...] = ()

    @property
    def references(self) -> int:
        """How many reference pictures it wants."""
        return len({p.field for p in self.places if p.field.startswith("reference")})

    @property
    def fields(self) -> frozenset[str]:
        """What is marked: prompt, seed, reference1, ..."""
        return frozenset(p.field for p in self.places)

    def fill(self, values: Mapping[str, Any], *, prefix: str = "") -> Graph:
        """The graph with values written in; fields of `values` that are not marked are left.

        prefix: folder and name of the saved file, so that every order writes a file of its own.
        Raises InputError when a marked field has no value.
        """
        graph = copy.deepcopy(self.graph)
        lacking = sorted(self.fields - values.keys())
        if lacking:
            raise InputError(
                f"The workflow has a mark for {', '.join(lacking)}, and there is nothing to write",
                fix="Give so many pictures with --reference, or take the mark out."
                if lacking[0].startswith("reference")
                else "Take the mark out of the workflow.",
            )
        for place in self.places:
            inputs = graph[place.node]["inputs"]
            value = values[place.field]
            if place.whole:
                inputs[place.input] = value
            else:
                inputs[place.input] = _written(inputs[place.input], place.field, value)
        saver = graph[self.output]
        if prefix and "filename_prefix" in saver["inputs"]:
            saver["inputs"]["filename_prefix"] = prefix
        return graph


def load(path: Path) -> Workflow:
    """Read a workflow file. Raises InputError: not there, no JSON, UI format, marks that fail."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"The workflow cannot be read ({error.strerror})",
            where=str(path),
            fix="Check the path; it is the file that Workflow > Export (API) of ComfyUI writes.",
        ) from None
    except ValueError as error:
        raise InputError(
            f"The workflow is no JSON ({error})",
            where=str(path),
            fix="In ComfyUI use Workflow > Export (API) and give that file.",
        ) from None
    return parse(found, where=str(path))


def parse(found: Any, *, where: str = "workflow") -> Workflow:
    """A workflow from its JSON. Raises InputError."""
    graph = _graph(found, where)
    places = [*_titled(graph, where), *_texted(graph, where)]
    guessed: list[str] = []
    if not any(p.field == "prompt" for p in places):
        raise InputError(
            "The workflow says nowhere where the prompt goes",
            where=where,
            fix=f"In ComfyUI, give the node with the prompt the title `limner:prompt`"
            f"{_candidates(graph)}, then Export (API) again.",
        )
    if not any(p.field == "seed" for p in places):
        places += _guess_seed(graph, guessed, where)
    _twice(places, where)
    output = _output(graph, where)
    digest = sha256_bytes(canonical_json(graph).encode())
    kept = tuple(p for p in places if p.field != "output")
    return Workflow(graph, kept, output, digest, tuple(guessed))


def _graph(found: Any, where: str) -> Graph:
    if isinstance(found, Mapping) and isinstance(found.get("nodes"), list):
        raise InputError(
            "This workflow is in ComfyUI's window format, which its server does not take",
            where=where,
            fix="In ComfyUI use Workflow > Export (API) and name that file.",
        )
    if isinstance(found, Mapping) and isinstance(found.get("prompt"), Mapping):
        found = found["prompt"]
    if not isinstance(found, Mapping) or not found:
        raise InputError("The workflow holds no nodes", where=where)
    for key, value in found.items():
        good = isinstance(value, Mapping) and isinstance(value.get("class_type"), str)
        if not good or not isinstance(value.get("inputs"), Mapping):
            raise InputError(
                "This is no workflow of ComfyUI: a node has no class_type or inputs",
                where=f"{where}: node {key}",
                fix="In ComfyUI use Workflow > Export (API) and name that file.",
            )
    return {str(key): copy.deepcopy(dict(value)) for key, value in found.items()}


def title(node: Mapping[str, Any]) -> str:
    """The title a person gave a node, or its class."""
    meta = node.get("_meta")
    found = meta.get("title") if isinstance(meta, Mapping) else None
    return str(found or node.get("class_type", ""))


def _titled(graph: Graph, where: str) -> Iterator[Place]:
    for key, node in graph.items():
        for name, number, chosen in _TITLE.findall(title(node)):
            if name == "size":
                yield from (_place(key, node, n, "", "", where) for n in ("width", "height"))
            else:
                yield _place(key, node, name, number, chosen, where)


def _place(
    key: str, node: Mapping[str, Any], name: str, number: str, chosen: str, where: str
) -> Place:
    spot = f"{where}: node {key} ({title(node)})"
    if name not in INPUTS:
        known = ", ".join((*INPUTS, "size"))
        raise InputError(f"There is no mark limner:{name}", where=spot, fix=f"Use one of: {known}.")
    if name == "output":
        return Place("output", key, "")
    options = (chosen,) if chosen else INPUTS[name]
    found = next((i for i in options if i in node["inputs"]), None)
    if found is None:
        raise InputError(
            f"The node has no input for limner:{name}",
            where=spot,
            fix=f"Say which in the title, `limner:{name}=INPUT`: {', '.join(node['inputs'])}.",
        )
    return Place(_field(name, number), key, found)


def _field(name: str, number: str) -> str:
    return f"reference{number or 1}" if name == "reference" else name


def _texted(graph: Graph, where: str) -> Iterator[Place]:
    for key, node in graph.items():
        for name, value in node["inputs"].items():
            if not isinstance(value, str):
                continue
            marks = [m for m in _TEXT.findall(value) if m[0] in INPUTS and m[0] != "output"]
            whole = len(marks) == 1 and _TEXT.fullmatch(value.strip()) is not None
            for mark in marks:
                yield Place(_field(*mark), key, name, whole)


def _written(text: str, field: str, value: Any) -> str:
    """`text` with every mark of this field replaced."""

    def one(found: re.Match[str]) -> str:
        return str(value) if _field(found[1], found[2]) == field else found[0]

    return _TEXT.sub(one, text)


def _guess_seed(graph: Graph, guessed: list[str], where: str) -> Iterator[Place]:
    """The one seed there is; several are for the user to choose from."""
    found = [
        (key, name)
        for key, node in graph.items()
        for name in _SEEDS
        if isinstance(node["inputs"].get(name), int)
    ]
    if len(found) > 1:
        nodes = ", ".join(f"{key} ({title(graph[key])})" for key, _ in found)
        raise InputError(
            f"The workflow has {len(found)} seeds, and none is marked: nodes {nodes}",
            where=where,
            fix="Give the node whose seed makes the picture the title `limner:seed`.",
        )
    if not found:
        guessed.append("The workflow has no seed: a second take of a shot will be the same.")
    for key, name in found:
        guessed.append(f"The seed goes to node {key} ({title(graph[key])}), the only one there is.")
        yield Place("seed", key, name)


def _twice(places: list[Place], where: str) -> None:
    """Two whole values for one input contradict each other."""
    spots = [(p.node, p.input) for p in places if p.whole and p.field != "output"]
    for spot in spots:
        if spots.count(spot) > 1:
            raise InputError(
                "Two marks write into the same input", where=f"{where}: node {spot[0]}, {spot[1]}"
            )


def _output(graph: Graph, where: str) -> str:
    """The marked node, or the only one that saves a picture."""
    marked = [k for k, n in graph.items() if "limner:output" in title(n)]
    found = marked or [k for k, n in graph.items() if n["class_type"] in _SAVERS]
    if len(found) != 1:
        raise InputError(
            f"The workflow has {len(found)} nodes that save a picture"
            + (" and are marked" if marked else ""),
            where=where,
            fix="Give exactly one of them the title `limner:output`.",
        )
    return found[0]


def _candidates(graph: Graph) -> str:
    """Nodes that hold a longer text, as a hint."""
    found = [
        f"{key} ({title(node)})"
        for key, node in graph.items()
        if any(isinstance(node["inputs"].get(i), str) for i in ("text", "prompt"))
    ]
    return f" (it may be node {' or '.join(found[:4])})" if found else ""
