"""ComfyUI workflows for the released LoRA: one to drag into the window, one for its API.

In: the LoRA's name and the measured settings. Out: JSON in ComfyUI's two formats from one graph, so
that they cannot differ. Widget orders are those of the nodes in ComfyUI 0.3.75 and v0.38.
"""

from __future__ import annotations

from typing import Any

WIDGETS: dict[str, tuple[str, ...]] = {
    "UNETLoader": ("unet_name", "weight_dtype"),
    "CLIPLoader": ("clip_name", "type", "device"),
    "VAELoader": ("vae_name",),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "ModelSamplingAuraFlow": ("shift",),
    "CFGNorm": ("strength",),
    "TextEncodeQwenImageEditPlus": ("prompt",),
    "CLIPTextEncode": ("text",),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "KSampler": ("seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "LoadImage": ("image", "upload"),
    "FluxKontextImageScale": (),
    "VAEEncode": (),
    "VAEDecode": (),
    "SaveImage": ("filename_prefix",),
}
"""Node -> its widgets in order. `control` and `upload` exist in the window only."""
WINDOW_ONLY = {"control": "fixed", "upload": "image"}
OUTPUTS: dict[str, tuple[str, ...]] = {
    "UNETLoader": ("MODEL",),
    "CLIPLoader": ("CLIP",),
    "VAELoader": ("VAE",),
    "LoraLoaderModelOnly": ("MODEL",),
    "ModelSamplingAuraFlow": ("MODEL",),
    "CFGNorm": ("MODEL",),
    "TextEncodeQwenImageEditPlus": ("CONDITIONING",),
    "CLIPTextEncode": ("CONDITIONING",),
    "EmptySD3LatentImage": ("LATENT",),
    "KSampler": ("LATENT",),
    "LoadImage": ("IMAGE", "MASK"),
    "FluxKontextImageScale": ("IMAGE",),
    "VAEEncode": ("LATENT",),
    "VAEDecode": ("IMAGE",),
    "SaveImage": (),
}
COLUMN, ROW, WIDTH = 400, 60, 340
"""Pixels between nodes in the window; a node's height grows by 26 a widget or input."""
SIDE = 1024
"""Where the measured pictures are smaller than a real base draws, this one is written."""


def graph(told: dict[str, Any], lora: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The API graph: chosen strength, measured steps and guidance, a tested prompt.

    Edit-trained LoRAs get the edit template and one reference picture; text-trained ones the
    text-to-image template, so that the text encoder sees what it saw in training.
    """
    from limner.comfy import ModelFiles, Sampling, qwen_edit

    use = told["use"]
    edit = (told["template"] or settings.get("template")) == "edit"
    default = Sampling()
    steps = settings.get("steps") or default.steps
    cfg = settings.get("true_cfg_scale")
    side = (
        max(int(settings.get("width") or SIDE), SIDE),
        max(int(settings.get("height") or SIDE), SIDE),
    )
    sample = (told["samples"] or [{}])[0]
    return qwen_edit(
        ModelFiles(),
        Sampling(steps=int(steps), cfg=default.cfg if cfg is None else float(cfg)),
        prompt=str(sample.get("prompt") or f"{told['subject']['trigger']}, portrait"),
        seed=int(sample.get("seed") or 0),
        width=side[0] // 16 * 16,
        height=side[1] // 16 * 16,
        references=("reference.png",) if edit else (),
        loras=[(lora, float(use["strength"]) if use else 1.0)],
        template="edit" if edit else "t2i",
        prefix=told["subject"]["trigger"],
    )


def window(api: dict[str, Any], note: str) -> dict[str, Any]:
    """The same graph as the window's format (version 0.4): nodes with places, links, widgets."""
    number = {key: i for i, key in enumerate(api, 1)}
    links: list[list[Any]] = []
    nodes = []
    depth = _depths(api)
    heights: dict[int, int] = {}
    for key, item in api.items():
        kind, inputs = item["class_type"], item["inputs"]
        slots: list[dict[str, Any]] = []
        for name, value in inputs.items():
            if not isinstance(value, list):
                continue
            source, output = str(value[0]), int(value[1])
            of_kind = OUTPUTS[api[source]["class_type"]][output]
            links.append([len(links) + 1, number[source], output, number[key], len(slots), of_kind])
            slots.append({"name": name, "type": of_kind, "link": len(links)})
        height = 60 + 26 * max(len(slots) + len(WIDGETS[kind]), 1)
        top = heights.get(depth[key], 0)
        heights[depth[key]] = top + height + ROW
        nodes.append({
            "id": number[key], "type": kind, "pos": [depth[key] * COLUMN, top],
            "size": [WIDTH, height], "flags": {}, "order": number[key] - 1, "mode": 0,
            "inputs": slots, "outputs": [], "properties": {"Node name for S&R": kind},
            "widgets_values": [inputs.get(w, WINDOW_ONLY.get(w)) for w in WIDGETS[kind]],
        })  # fmt: skip
    for node in nodes:
        node["outputs"] = [
            {"name": name, "type": name, "slot_index": slot,
             "links": [k[0] for k in links if k[1] == node["id"] and k[2] == slot]}
            for slot, name in enumerate(OUTPUTS[node["type"]])
        ]  # fmt: skip
    nodes.append(_note(len(nodes) + 1, note))
    return {
        "last_node_id": len(nodes), "last_link_id": len(links), "nodes": nodes, "links": links,
        "groups": [], "config": {}, "extra": {}, "version": 0.4,
    }  # fmt: skip


def _note(number: int, text: str) -> dict[str, Any]:
    return {
        "id": number, "type": "Note", "pos": [0, -220], "size": [760, 180], "flags": {},
        "order": number - 1, "mode": 0, "inputs": [], "outputs": [], "properties": {},
        "widgets_values": [text],
    }  # fmt: skip


def _depths(api: dict[str, Any]) -> dict[str, int]:
    """Node -> how many nodes stand before it on the longest way: its column."""
    found: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in found:
            before = [str(v[0]) for v in api[key]["inputs"].values() if isinstance(v, list)]
            found[key] = 1 + max((depth(k) for k in before), default=-1)
        return found[key]

    return {key: depth(key) for key in api}
