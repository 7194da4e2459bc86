"""What the fake ComfyUI knows of nodes: inputs, bounds, files, and how validation complains.

In: a graph. Out: nothing, or `Invalid` in the words of ComfyUI 0.3.64.
"""

from __future__ import annotations

from typing import Any

ANY = "*"
NODES: dict[str, dict[str, Any]] = {
    "UNETLoader": {
        "unet_name": ["unet.safetensors", "qwen\\other.safetensors"],
        "weight_dtype": ANY,
    },
    "CLIPLoader": {"clip_name": ["clip.safetensors"], "type": ANY, "device": ANY},
    "VAELoader": {"vae_name": ["vae.safetensors"]},
    "LoraLoaderModelOnly": {"model": "MODEL", "lora_name": "lora_name", "strength_model": ANY},
    "ModelSamplingAuraFlow": {"model": "MODEL", "shift": ANY},
    "CFGNorm": {"model": "MODEL", "strength": ANY},
    "TextEncodeQwenImageEditPlus": {"clip": "CLIP", "prompt": ANY},
    "CLIPTextEncode": {"clip": "CLIP", "text": ANY},
    "LoadImage": {"image": "image"},
    "FluxKontextImageScale": {"image": "IMAGE"},
    "VAEEncode": {"pixels": "IMAGE", "vae": "VAE"},
    "EmptySD3LatentImage": {"width": (16, 16384), "height": (16, 16384), "batch_size": ANY},
    "KSampler": {
        **{"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING"},
        **{"latent_image": "LATENT", "seed": ANY, "steps": ANY, "cfg": ANY, "denoise": ANY},
        **{"sampler_name": ["euler", "heun"], "scheduler": ["simple", "normal"]},
    },
    "VAEDecode": {"samples": "LATENT", "vae": "VAE"},
    "SaveImage": {"images": "IMAGE", "filename_prefix": ANY},
    "PreviewImage": {"images": "IMAGE"},
}
"""Node -> input -> type of a link, list of choices, bounds, name of a file list, or anything."""

MADE = {
    **{"UNETLoader": "MODEL", "CLIPLoader": "CLIP", "VAELoader": "VAE", "LoadImage": "IMAGE"},
    **{"LoraLoaderModelOnly": "MODEL", "ModelSamplingAuraFlow": "MODEL", "CFGNorm": "MODEL"},
    **{"TextEncodeQwenImageEditPlus": "CONDITIONING", "CLIPTextEncode": "CONDITIONING"},
    **{"FluxKontextImageScale": "IMAGE", "VAEEncode": "LATENT", "EmptySD3LatentImage": "LATENT"},
    **{"KSampler": "LATENT", "VAEDecode": "IMAGE"},
}
"""What each node's first output is."""

OUTPUTS = ("SaveImage", "PreviewImage")

LOADED_PREFIXES = (
    *("transformer.", "diffusion_model.", "transformer_blocks."),
    *("lora_unet_transformer_blocks", "lycoris_transformer_blocks"),
)
"""Keys the loader knows (the sheet's table); all others are passed over."""


class Invalid(Exception):  # noqa: N818
    """One node's complaint."""

    def __init__(
        self, node: str, kind: str, message: str, details: str, extra: dict[str, Any]
    ) -> None:
        super().__init__(message)
        self.node, self.kind, self.message = node, kind, message
        self.details, self.extra = details, extra

    def report(self, graph: dict[str, Any], output: str) -> dict[str, Any]:
        """As it stands in node_errors."""
        error = {
            "type": self.kind,
            "message": self.message,
            "details": self.details,
            "extra_info": self.extra,
        }
        return {
            "errors": [error],
            "dependent_outputs": [output],
            "class_type": graph[self.node]["class_type"],
        }


def listing(name: str, files: dict[str, list[str]]) -> dict[str, Any]:
    """A node's inputs as /object_info shows them."""
    required = {}
    for key, kind in NODES[name].items():
        options = files.get(kind, kind) if isinstance(kind, str) else kind
        required[key] = [options if isinstance(options, list | str) else "INT", {}]
    return {"required": required}


def validate(graph: dict[str, Any], key: str, files: dict[str, list[str]]) -> None:
    """Walk up from a node; raises Invalid at the first thing that is wrong."""
    node = graph[key]
    for name, kind in NODES[node["class_type"]].items():
        info: dict[str, Any] = {"input_name": name}
        if name not in node["inputs"]:
            raise Invalid(key, "required_input_missing", "Required input is missing", name, info)
        value = node["inputs"][name]
        if isinstance(value, list):
            _link(graph, key, name, kind, value)
            validate(graph, value[0], files)
        elif isinstance(kind, list) or kind in files:
            _choice(key, name, value, kind if isinstance(kind, list) else files[kind])
        elif isinstance(kind, tuple) and not kind[0] <= value <= kind[1]:
            small = value < kind[0]
            which = "value_smaller_than_min" if small else "value_bigger_than_max"
            words = f"Value {value} {'smaller than min' if small else 'bigger than max'}"
            raise Invalid(key, which, words, name, {**info, "received_value": value})
    for value in node["inputs"].values():
        if isinstance(value, list) and value[0] in graph:
            validate(graph, value[0], files)


def _link(graph: dict[str, Any], key: str, name: str, kind: Any, value: list[Any]) -> None:
    if value[0] not in graph:
        words = "Exception when validating node"
        raise Invalid(key, "exception_during_validation", words, f"'{value[0]}'", {})
    made = MADE.get(graph[value[0]]["class_type"])
    if isinstance(kind, str) and kind != ANY and made != kind:
        details = f"{name}, received_type({made}) mismatch input_type({kind})"
        raise Invalid(key, "return_type_mismatch", "Return type mismatch", details, {})


def _choice(key: str, name: str, value: Any, options: list[str]) -> None:
    if value in options:
        return
    long = len(options) > 20
    shown = f"(list of length {len(options)})" if long else str(options)
    extra = {
        "input_name": name,
        "input_config": None if long else [options, {}],
        "received_value": value,
    }
    details = f"{name}: '{value}' not in {shown}"
    raise Invalid(key, "value_not_in_list", "Value not in list", details, extra)
