"""Pictures of a grid by a ComfyUI server: the path that most users draw with.

In: cells, their settings, reference pictures. Out: uint8 pictures. LoRAs go to the server under
names made of their content; a LoRA that changes nothing is an error, never a picture.
"""

from __future__ import annotations

import io
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner import comfy
from limner.errors import InputError, WorkFailedError
from limner.project import files
from limner.render.cells import RGB8, Cell, Settings, batches, picture_sha256, png_bytes

if TYPE_CHECKING:
    from limner.project.settings import ComfySettings

COMFY_RENDERER = "comfyui-1"
"""Changes when the same cell would give another picture; it is part of every key."""

AT_ONCE = 2
"""Jobs in the server's queue, so that it draws while we fetch (starting value)."""

_HASH = 16  # hex digits of a LoRA's hash in its name


@dataclass(frozen=True)
class ComfyRendering:
    """A server that was found able to draw. `settings` and `open` are what an evaluation needs."""

    wanted: ComfySettings
    stats: comfy.Stats
    url: str | None = None
    limits: Mapping[str, float] | None = None

    def settings(self, like: Settings) -> Settings:
        """The settings of a grid drawn there: size, template, steps, guidance and references of
        `like`; base, precision and all else are the server's. Never equal to diffusers' own."""
        wanted = self.wanted
        model = {"unet": wanted.unet, "clip": wanted.clip, "vae": wanted.vae}
        more: dict[str, str | float] = {
            **model,
            "sampler": wanted.sampler,
            "scheduler": wanted.scheduler,
            "shift": wanted.shift,
            "cfg_norm": wanted.cfg_norm,
            **self.stats.as_dict(),
        }
        return replace(
            like,
            base=files.sha256_bytes(files.canonical_json(model).encode()),
            precision=precision_of(wanted.unet),
            negative_prompt="",
            renderer=COMFY_RENDERER,
            more=tuple(sorted(more.items())),
        )

    def open(self, settings: Settings, references: Sequence[RGB8] = ()) -> ComfyRenderer:
        """A renderer for these settings, which must come from `settings`. Raises UsageError."""
        server = comfy.connect(self.url, configured=self.wanted.url, limits=self.limits)
        return ComfyRenderer(server, self.wanted, settings, references)


def comfy_rendering(
    wanted: ComfySettings, *, url: str | None = None, limits: Mapping[str, float] | None = None
) -> ComfyRendering:
    """Ask the server whether it has the nodes and model files. wanted: `source.comfyui`.

    url: the command line's. Raises ComfyError when it does not answer, InputError for what it
    lacks.
    """
    server = comfy.connect(url, configured=wanted.url, limits=limits)
    try:
        stats = server.stats()
        probe = _graph(wanted, None, "", Cell("", 0), [])
        comfy.check(server, probe)
    finally:
        server.close()
    return ComfyRendering(wanted, stats, url, limits)


def precision_of(unet: str) -> str:
    """The type that a model file's name tells; fp8 bases lose part of a small LoRA (docs)."""
    for kind in ("fp8_e4m3fn", "fp8_e5m2", "fp8", "bf16", "fp16", "fp32", "int8", "nvfp4"):
        if kind in unet.lower():
            return kind
    return "as in the file"


class ComfyRenderer:
    """Draws cells on one server. Keep it for a whole grid; it swaps LoRAs least."""

    def __init__(
        self,
        server: comfy.Server,
        wanted: ComfySettings,
        settings: Settings,
        references: Sequence[RGB8] = (),
    ) -> None:
        """references: uint8 pictures, in the order of the prompt, at most 3."""
        self._server, self._wanted, self._settings = server, wanted, settings
        self._references = list(references)
        self._shown: list[str] = []
        self._files: dict[str, str] | None = None
        self._names: dict[str, str] = {}
        self._seen: set[str] = set()
        self._bases: dict[tuple[str, int], str] = {}

    def pictures(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        """Draw cells in the order that swaps LoRAs least; yields each with its picture.

        Pictures are uint8 (height, width, 3). Raises InputError for a LoRA that the server would
        not load or does not see, WorkFailedError for one that has no effect, NotYetError when the
        server is gone.
        """
        self._show()
        order = [cell for group in batches(cells, 1) for cell in group]
        for one in dict.fromkeys(c.lora_sha256 for c in order if c.lora is not None):
            first = next(c for c in order if c.lora_sha256 == one)
            self._place(first)
        try:
            yield from self._in_flight(order)
        finally:
            self._server.stopped.clear()  # a caller that left early may come again

    def _in_flight(self, order: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        """Cells in order, `AT_ONCE` of them at the server."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running: deque[tuple[Cell, Future[RGB8]]] = deque()
            try:
                for cell in order:
                    if len(running) == AT_ONCE:
                        yield self._finish(*running.popleft())
                    running.append((cell, pool.submit(self._draw, cell)))
                while running:
                    yield self._finish(*running.popleft())
            except BaseException:
                self._server.stopped.set()  # the pool waits for its threads: end their polling
                raise

    def close(self) -> None:
        """End the connection; the LoRA files stay on the server, their names never collide."""
        self._server.close()

    def _finish(self, cell: Cell, future: Future[RGB8]) -> tuple[Cell, RGB8]:
        picture = future.result()
        pixels = picture_sha256([picture])[0]
        spot = (cell.prompt, cell.seed)
        if cell.lora is None or not cell.strength:
            self._bases[spot] = pixels
        else:
            self._must_differ(cell, pixels)
        return cell, picture

    def _must_differ(self, cell: Cell, pixels: str) -> None:
        """Raise WorkFailedError when a LoRA's picture is the base's. Each LoRA's first picture is
        held against the base's, drawn for it if need be; later ones where the base's is known."""
        spot = (cell.prompt, cell.seed)
        if spot not in self._bases and cell.lora_sha256 not in self._seen:
            base = self._draw(replace(cell, lora=None, lora_sha256="", strength=0.0))
            self._bases[spot] = picture_sha256([base])[0]
        self._seen.add(cell.lora_sha256)
        if self._bases.get(spot) != pixels:
            return
        lines = [li for li in self._server.log_lines() if "lora" in li.lower() and "not" in li]
        said = f"; its log says: {lines[-1].strip()[:200]}" if lines else ""
        raise WorkFailedError(
            f"The LoRA had no effect at strength {cell.strength:g}: ComfyUI drew the base model's "
            f"picture{said}",
            where=str(cell.lora),
            fix="See `limner lora check`; is it for the model the server has loaded?",
        )

    def _draw(self, cell: Cell) -> RGB8:
        from PIL import Image

        name = self._names.get(cell.lora_sha256, "") if cell.lora is not None else ""
        graph = _graph(self._wanted, self._settings, name, cell, self._shown)
        graph = self._spelled(graph)
        made = comfy.draw(self._server, graph, comfy.new_id(), comfy.SAVE)[0]
        with Image.open(io.BytesIO(made.data)) as found:
            picture = np.asarray(found.convert("RGB"))
        size = (self._settings.height, self._settings.width)
        if picture.shape[:2] != size:
            raise WorkFailedError(
                f"ComfyUI drew {picture.shape[1]} x {picture.shape[0]} px, "
                f"{size[1]} x {size[0]} were asked for",
                where=made.filename,
                fix="Take nodes that scale or crop out of the workflow, or use the built-in one.",
            )
        return picture

    def _spelled(self, graph: comfy.Graph) -> comfy.Graph:
        """Names of model files as the server writes them, asked once."""
        if self._files is None:
            plain = {k: v for k, v in graph.items() if v["class_type"] != "LoraLoaderModelOnly"}
            self._files = comfy.recorded(comfy.check(self._server, plain))
        names = self._files
        return {
            key: {**node, "inputs": {**node["inputs"], **_known(node, names)}}
            for key, node in graph.items()
        }

    def _show(self) -> None:
        """Upload the references, once."""
        for picture in self._references[len(self._shown) :]:
            data = png_bytes(picture)
            name = f"{files.sha256_bytes(data)[:_HASH]}.png"
            self._shown.append(self._server.upload(name, data))

    def _place(self, cell: Cell) -> None:
        """The LoRA's name on the server; put there when its folder is known.

        A name is never used again for other content: the server keeps weights by name.
        """
        assert cell.lora is not None
        if cell.lora_sha256 in self._names:
            return
        _lint(cell.lora)
        name = f"limner_{cell.lora.stem}_{cell.lora_sha256[:_HASH]}.safetensors"
        if self._wanted.lora_folder:
            _copy(cell.lora, Path(self._wanted.lora_folder).expanduser() / name)
        listed = [n for n in self._server.loras() if n.replace("\\", "/").endswith(name)]
        if not listed:
            raise InputError(
                f"ComfyUI does not see the LoRA {name}",
                where="models/loras of the server",
                fix="Set source.comfyui.lora_folder to that folder as seen from here; or copy "
                f"{cell.lora} there under exactly this name.",
            )
        self._names[cell.lora_sha256] = listed[0]


def _graph(
    wanted: ComfySettings,
    settings: Settings | None,
    lora: str,
    cell: Cell,
    shown: Sequence[str],
) -> comfy.Graph:
    sampling = comfy.Sampling(
        steps=settings.steps if settings else wanted.steps,
        cfg=settings.true_cfg_scale if settings else wanted.cfg,
        sampler=wanted.sampler,
        scheduler=wanted.scheduler,
        shift=wanted.shift,
        cfg_norm=wanted.cfg_norm,
    )
    return comfy.qwen_edit(
        comfy.ModelFiles(wanted.unet, wanted.clip, wanted.vae),
        sampling,
        prompt=cell.prompt,
        seed=cell.seed,
        width=settings.width if settings else wanted.width,
        height=settings.height if settings else wanted.height,
        references=shown,
        loras=[(lora, cell.strength)] if lora else [],
        template=settings.template if settings else "edit",
        negative=settings.negative_prompt if settings else "",
        prefix="limner/grid",
    )


def _known(node: Mapping[str, Mapping[str, object]], names: Mapping[str, str]) -> dict[str, str]:
    return {name: names[name] for name in node["inputs"] if name in names}


def _lint(path: Path) -> None:
    """Raise InputError for a file whose keys or shapes ComfyUI would pass over in silence."""
    from limner.models import lora

    wrong = [f for f in lora.check(path) if f["severity"] == "error"]
    if wrong:
        raise InputError(
            f"ComfyUI would not load this LoRA as it is: {wrong[0]['text']}",
            where=str(path),
            fix=wrong[0]["fix"],
        )


def _copy(source: Path, target: Path) -> None:
    """Put a file under its content's name, whole or not at all; what is there stays."""
    if target.exists():
        if target.stat().st_size == source.stat().st_size:
            return
        raise InputError(
            "Another file stands under the name of this LoRA's content",
            where=str(target),
            fix="Delete it and run this again.",
        )
    temp = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as there, temp.open("wb") as here:
            shutil.copyfileobj(there, here, 1 << 20)
            here.flush()
            os.fsync(here.fileno())
        temp.replace(target)
    except OSError as error:
        temp.unlink(missing_ok=True)
        raise files.explain_os_error(error, target) from None
