"""ComfyUI as a source: the official Qwen-Image-Edit graph or the user's own workflow.

In: settings of a character, reference pictures. Out: pictures as the server saved them. The job's
id and its whole graph are journaled before it is sent, so that a killed run finds it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from limner import comfy
from limner.errors import InputError, WorkFailedError
from limner.project.files import canonical_json, sha256_bytes
from limner.sources.fetched import check
from limner.sources.references import SHORT, Reference, read_references, unknown_word
from limner.sources.source import LaterError, Note, Order, Picture, Price, Request

if TYPE_CHECKING:
    from limner.project.settings import Character, ComfySettings

T = TypeVar("T")


class ComfySource:
    """One server. url, workflow, references: from the command line, else character.yaml's.

    root: folder that relative paths of character.yaml belong to.
    """

    name = "comfyui"
    at_once: int | None = None

    def __init__(
        self,
        character: Character,
        *,
        root: Path,
        url: str | None = None,
        workflow: Path | None = None,
        references: Sequence[Path] = (),
    ) -> None:
        self.settings = character.source.comfyui
        self.short_side = max(character.source.short_side, character.training.resolution)
        self._paths = list(references) or [root / name for name in self.settings.references]
        self._own = workflow or (root / self.settings.workflow if self.settings.workflow else None)
        self._trigger, self._called = character.trigger, False
        self._url, self._limits = url, character.source.limits
        self._server: comfy.Server | None = None
        self._lock = threading.Lock()
        self._uploaded: set[str] = set()
        self._fresh: set[str] = set()
        self._spelled: dict[str, dict[str, dict[str, str]]] = {}
        self._stats = comfy.Stats()

    @cached_property
    def references(self) -> list[Reference]:
        """The pictures it is shown. Raises InputError."""
        return read_references(self._paths, comfy.MOST_REFERENCES)

    @cached_property
    def workflow(self) -> comfy.Workflow | None:
        """The user's own, None for the official graph. Raises InputError."""
        if self._own is None:
            return None
        found = comfy.load_workflow(self._own)
        if len(self._paths) > found.references:
            raise InputError(
                f"The workflow marks {found.references} reference pictures, and "
                f"{len(self._paths)} are given",
                where=str(self._own),
                fix="Give LoadImage nodes the titles limner:reference1, limner:reference2, ...",
            )
        return found

    @property
    def server(self) -> comfy.Server:
        """The connection, opened when first needed; says first that it is a ComfyUI."""
        with self._lock:
            if self._server is None:
                server = comfy.connect(self._url, configured=self.settings.url, limits=self._limits)
                try:
                    self._stats = server.stats()
                except BaseException:
                    server.close()
                    raise
                self._server = server
            return self._server

    def abilities(self) -> Mapping[str, tuple[str, ...]]:
        """A text prompt can say everything."""
        return {}

    def remarks(self) -> list[str]:
        """What a user should know before the machine works for hours."""
        said = list(self.workflow.guessed) if self.workflow else []
        shown = self.workflow.references if self.workflow else len(self.references)
        if not shown and not self.settings.lora and self.workflow is None:
            said.append(
                "No reference picture and no LoRA is given, so every picture shows another "
                "person: use --reference PICTURE."
            )
        if self._called and shown and not self.settings.lora:
            said.append(unknown_word(self._trigger, self.name))
        return said

    def order(self, request: Request) -> Order:
        """Id, seed and the whole graph; nothing is sent. Raises InputError."""
        self._called |= self._trigger in request.prompt
        prompt_id = comfy.new_id()
        self._fresh.add(prompt_id)
        graph, output = self._graph(request, prompt_id)
        return {"prompt_id": prompt_id, "seed": request.seed, "graph": graph, "output": output}

    def _graph(self, request: Request, prompt_id: str) -> tuple[comfy.Graph, str]:
        wanted, prefix = self.settings, f"limner/{prompt_id}"
        names = [f"limner/{r.filename}" for r in self.references]
        if self.workflow is not None:
            values = _values(wanted, request, names)
            return self.workflow.fill(values, prefix=prefix), self.workflow.output
        graph = comfy.qwen_edit(
            comfy.ModelFiles(wanted.unet, wanted.clip, wanted.vae),
            comfy.Sampling(
                *(wanted.steps, wanted.cfg, wanted.sampler),
                *(wanted.scheduler, wanted.shift, wanted.cfg_norm),
            ),
            prompt=request.prompt,
            seed=request.seed,
            width=wanted.width,
            height=wanted.height,
            references=names,
            loras=[(wanted.lora, wanted.lora_strength)] if wanted.lora else [],
            template=wanted.template,
            size_of_reference=wanted.size_of_reference,
            prefix=prefix,
        )
        return graph, comfy.SAVE

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        """Nothing is paid here. A run calls this before any take is written, so the server is
        asked here whether it has what the first graph needs. Raises LimnerError."""
        if orders:
            self._translated(lambda: comfy.check(self.server, orders[0]["graph"]))
        return None

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        """Show the references, draw (or find what a killed run sent), fetch, check."""
        return self._translated(lambda: self._make(order, note))

    def _make(self, order: Order, note: Note) -> list[Picture]:
        graph, prompt_id = order["graph"], str(order["prompt_id"])
        sent = comfy.patiently(self.server, lambda: self._ready(graph))
        known = prompt_id not in self._fresh
        self._fresh.discard(prompt_id)
        drawn = comfy.draw(self.server, sent, prompt_id, str(order["output"]), known=known)
        note({"drawn_as": drawn[0].prompt_id})
        return [self._picture(one, sent, order) for one in drawn]

    def _ready(self, graph: comfy.Graph) -> comfy.Graph:
        """The graph as the server spells it, its pictures in place; asked once a kind of graph."""
        self._show(graph)
        key = canonical_json([sorted(n["class_type"] for n in graph.values()), _named(graph)])
        if key not in self._spelled:
            self._spelled[key] = _named(comfy.check(self.server, graph))
        names = self._spelled[key]
        return {k: {**n, "inputs": {**n["inputs"], **names[k]}} for k, n in graph.items()}

    def _picture(self, drawn: comfy.Drawn, graph: comfy.Graph, order: Order) -> Picture:
        try:
            found = check(drawn.data)
        except InputError as error:
            raise WorkFailedError(
                f"ComfyUI's file cannot be used: {error.what}",
                where=drawn.filename,
                fix="Save as PNG, JPEG or WebP in the workflow; then run this again.",
            ) from None
        plain = {k: v for k, v in graph.items() if k != order["output"]}
        short = min(found.width, found.height)
        labels: dict[str, Any] = {
            "service": self.name,
            "prompt_id": drawn.prompt_id,
            "graph_sha256": sha256_bytes(canonical_json(plain).encode()),
            "graph_checked": drawn.graph_checked,
            "workflow_sha256": self.workflow.sha256 if self.workflow else None,
            "files": comfy.recorded(graph),
            "references": [r.sha256 for r in self.references],
            "short_side": short,
            **self._stats.as_dict(),
        }
        if short < self.short_side:
            labels["too_small"] = f"short side {short}, {self.short_side} wanted"
        return Picture(drawn.data, found.width, found.height, labels, found.suffix)

    def _show(self, graph: comfy.Graph) -> None:
        """Put the references that the graph names into the server's input folder."""
        used = {v for n in graph.values() for v in n["inputs"].values() if isinstance(v, str)}
        for reference in self.references:
            name = f"limner/{reference.filename}"
            if name not in used or name in self._uploaded:
                continue
            given = self.server.upload(reference.filename, reference.data)
            if given.replace("\\", "/") != name:
                raise WorkFailedError(
                    f"ComfyUI has another picture under the name {name} and renamed ours",
                    where=given,
                    fix=f"Delete {name} from the server's input folder, then run this again.",
                )
            self._uploaded.add(name)
        mine = {f"limner/{r.filename}" for r in self.references}
        lost = [n["inputs"]["image"] for n in graph.values() if _shows(n, mine)]
        if lost:
            raise WorkFailedError(
                "This picture was begun with reference pictures that are not given now",
                where=", ".join(lost),
                fix="Run the command with the same --reference pictures as before.",
            )

    def _translated(self, call: Callable[[], T]) -> T:
        """The server's errors as the run understands them: later, or never."""
        try:
            return call()
        except comfy.NotYetError as error:
            raise LaterError(
                error.what, where=error.where, fix=error.fix, stop=error.down
            ) from None
        except comfy.ComfyError as error:
            if error.status is None or error.again or error.status in (401, 403):
                raise LaterError(error.what, where=error.where, fix=error.fix, stop=True) from None
            raise

    def stop(self) -> None:
        """Waiting calls of `make` end; what is queued at the server is fetched by the next run."""
        if self._server is not None:
            self._server.stopped.set()

    def close(self) -> None:
        """End the connections."""
        if self._server is not None:
            self._server.close()


def _named(graph: comfy.Graph) -> dict[str, dict[str, str]]:
    """Node -> the inputs that name a model file."""
    return {key: comfy.recorded({key: node}) for key, node in graph.items()}


def _shows(node: Mapping[str, Any], mine: set[str]) -> bool:
    """Whether a node loads one of our hashed pictures that is not among `mine`."""
    name = node["inputs"].get("image") if node["class_type"] == "LoadImage" else None
    if not isinstance(name, str) or not name.startswith("limner/"):
        return False
    return len(Path(name).stem) == SHORT and name not in mine


def _values(settings: ComfySettings, request: Request, names: Sequence[str]) -> dict[str, Any]:
    """What a user's marks may be filled with."""
    values: dict[str, Any] = {
        "prompt": request.prompt,
        "negative": "",
        "seed": request.seed,
        "width": settings.width,
        "height": settings.height,
        "strength": settings.lora_strength,
        **{f"reference{n}": name for n, name in enumerate(names, start=1)},
    }
    return {**values, "lora": settings.lora} if settings.lora else values
