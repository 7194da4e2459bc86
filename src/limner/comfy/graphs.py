"""ComfyUI's own Qwen-Image-Edit graph in API form, from the nodes of the official workflow.

In: file names, sampler settings, a prompt, 0 to 3 reference pictures, LoRAs. Out: a graph that
`POST /prompt` takes. Node numbers are those of the official template, so that a reader of both
finds the same node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from limner.errors import InputError

Graph = dict[str, dict[str, Any]]
"""Node id -> {class_type, inputs}; an input is a value or a link [node id, output number]."""

Template = Literal["t2i", "edit"]

MOST_REFERENCES = 3
"""`TextEncodeQwenImageEditPlus` has image1 to image3."""

SIDE_STEP = 16
"""`EmptySD3LatentImage` makes sides in steps of 16, from 16."""

SAVE = "60"
"""The node that writes the picture."""


@dataclass(frozen=True)
class ModelFiles:
    """Names of the model files as the server lists them; the defaults are the official names.

    weight_dtype: what UNETLoader makes of the weights (`default` keeps the file's own type).
    """

    unet: str = "qwen_image_edit_2509_fp8_e4m3fn.safetensors"
    clip: str = "qwen_2.5_vl_7b_fp8_scaled.safetensors"
    vae: str = "qwen_image_vae.safetensors"
    weight_dtype: str = "default"


@dataclass(frozen=True)
class Sampling:
    """How the sampler runs. Source: Comfy's template package 0.1.123 without Lightning.

    shift: set always, since the node's default (1.73) and the model's (1.15) draw other pictures.
    """

    steps: int = 20
    cfg: float = 4.0
    sampler: str = "euler"
    scheduler: str = "simple"
    shift: float = 3.0
    cfg_norm: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """For records: every value changes the picture."""
        return asdict(self)


def qwen_edit(
    files: ModelFiles,
    sampling: Sampling,
    *,
    prompt: str,
    seed: int,
    width: int,
    height: int,
    references: Sequence[str] = (),
    loras: Sequence[tuple[str, float]] = (),
    template: Template = "edit",
    negative: str = "",
    size_of_reference: bool = False,
    prefix: str = "limner/picture",
) -> Graph:
    """One picture as a graph.

    width, height: pixels, multiples of 16; not used with size_of_reference, where the picture gets
    the size of the first reference, cut to one of ComfyUI's 17 shapes near 1 megapixel.
    references: names in the server's input folder. loras: (name on the server, strength), strength
    0 left out (the loader would read nothing). template: `edit` words the prompt as the edit
    model's, also without a picture; `t2i` as the text-to-image model's. prefix: folder and name of
    the file on the server. Raises InputError for sizes and numbers that the nodes do not take.
    """
    _check(width, height, len(references), template)
    graph: Graph = {
        "37": node("UNETLoader", unet_name=files.unet, weight_dtype=files.weight_dtype),
        "38": node("CLIPLoader", clip_name=files.clip, type="qwen_image", device="default"),
        "39": node("VAELoader", vae_name=files.vae),
    }
    model = _with_loras(graph, loras)
    graph["66"] = node("ModelSamplingAuraFlow", model=model, shift=sampling.shift)
    graph["75"] = node("CFGNorm", model=["66", 0], strength=sampling.cfg_norm)
    shown = _with_references(graph, references)
    for number, text in (("111", prompt), ("110", negative)):
        if template == "edit":
            graph[number] = node(
                "TextEncodeQwenImageEditPlus", clip=["38", 0], vae=["39", 0], prompt=text, **shown
            )
        else:
            graph[number] = node("CLIPTextEncode", clip=["38", 0], text=text)
    if size_of_reference and references:
        graph["88"] = node("VAEEncode", pixels=shown["image1"], vae=["39", 0])
        latent = ["88", 0]
    else:
        graph["112"] = node("EmptySD3LatentImage", width=width, height=height, batch_size=1)
        latent = ["112", 0]
    graph["3"] = node(
        "KSampler",
        model=["75", 0],
        positive=["111", 0],
        negative=["110", 0],
        latent_image=latent,
        seed=seed,
        steps=sampling.steps,
        cfg=sampling.cfg,
        sampler_name=sampling.sampler,
        scheduler=sampling.scheduler,
        denoise=1.0,
    )
    graph["8"] = node("VAEDecode", samples=["3", 0], vae=["39", 0])
    graph[SAVE] = node("SaveImage", images=["8", 0], filename_prefix=prefix)
    return graph


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph."""
    return {"class_type": class_type, "inputs": inputs}


def _check(width: int, height: int, references: int, template: str) -> None:
    if width < SIDE_STEP or height < SIDE_STEP or width % SIDE_STEP or height % SIDE_STEP:
        raise InputError(
            f"ComfyUI draws no picture of {width} x {height} px for this model",
            fix=f"Sides must be multiples of {SIDE_STEP}.",
        )
    if references > MOST_REFERENCES:
        raise InputError(
            f"{references} reference pictures are given, and the edit node takes "
            f"{MOST_REFERENCES} at most",
            fix="Leave some out.",
        )
    if references and template == "t2i":
        raise InputError(
            "The text-to-image template takes no reference pictures", fix="Use template edit."
        )


def _with_loras(graph: Graph, loras: Sequence[tuple[str, float]]) -> list[Any]:
    """Loader nodes one after the other from 89 on; the link to the last."""
    model: list[Any] = ["37", 0]
    used = [(name, strength) for name, strength in loras if strength]
    for number, (name, strength) in enumerate(used):
        key = "89" if not number else f"89{number}"
        graph[key] = node(
            "LoraLoaderModelOnly", model=model, lora_name=name, strength_model=strength
        )
        model = [key, 0]
    return model


def _with_references(graph: Graph, references: Sequence[str]) -> dict[str, Any]:
    """Load and scale each picture; `image1`... as both encoders get them."""
    shown = {}
    for number, name in enumerate(references):
        load, scale = ("78", "117") if not number else (f"78{number}", f"117{number}")
        graph[load] = node("LoadImage", image=name)
        graph[scale] = node("FluxKontextImageScale", image=[load, 0])
        shown[f"image{number + 1}"] = [scale, 0]
    return shown
