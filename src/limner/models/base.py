"""An open base model: encode text and pictures, run the transformer, decode, sample.

In: prompts and pictures. Out: what diffusers' pipelines would feed the transformer, to the number,
with the known faults of those pipelines worked round (missing token types, all-ones masks).
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.errors import InputError, first_line
from limner.models import runtime, tensorfile
from limner.models.info import WEIGHTS, BaseInfo, resolve_base
from limner.models.miniature import EDIT_PREFIX, PREFIX_TOKENS, T2I_PREFIX

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Template = Literal["t2i", "edit"]
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
PICTURE = "Picture {}: <|vision_start|><|image_pad|><|vision_end|>"
MAX_TOKENS = 1024
TOKEN_SCALE = 16  # pixels an image token


def open_base(
    info: BaseInfo | str,
    *,
    dtype: Any = None,
    device: str | None = None,
    load_transformer: Callable[[Path], Any] | None = None,
) -> Base:
    """Open a base folder. `dtype`: default float32 on CPU, bfloat16 on CUDA.

    The parts are loaded when first used, so that text encoder and transformer need never be in
    memory together. load_transformer: another way to load that part (quantised, block by block).
    Raises InputError when a part is missing or broken, MissingExtraError without torch.
    """
    runtime.prepare()
    import torch

    if isinstance(info, str):
        info = resolve_base(info)
    for part in WEIGHTS:
        for file in sorted((Path(info.path) / part).glob("*.safetensors")):
            tensorfile.header(file)  # a cut download is found now, not after an hour
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
    return Base(info, dtype, device, load_transformer)


class Base:
    """The parts of a Qwen-Image base, each loaded when first used. Use `open_base`."""

    def __init__(
        self,
        info: BaseInfo,
        dtype: Any,
        device: str,
        load_transformer: Callable[[Path], Any] | None = None,
    ) -> None:
        self.info, self.dtype, self.device = info, dtype, device
        self._load_transformer = load_transformer
        self._parts: dict[str, Any] = {}
        self._pipelines: dict[str, Any] = {}
        self._without_text = False

    def _part(self, name: str) -> Any:
        if name not in self._parts:
            folder = Path(self.info.path)
            try:
                self._parts[name] = self._loaded(name, folder / name)
            except (OSError, ValueError, KeyError) as error:
                raise InputError(
                    f"The base model cannot be read: {first_line(error)}",
                    where=str(folder / name),
                    fix="Download the folder again, or name another base.",
                ) from None
        return self._parts[name]

    def _loaded(self, name: str, folder: Path) -> Any:
        import diffusers
        import transformers

        if name == "tokenizer":
            return transformers.Qwen2Tokenizer.from_pretrained(folder)
        if name == "processor":
            return transformers.Qwen2VLProcessor.from_pretrained(folder)
        if name == "scheduler":
            return diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder)
        if name == "text_encoder":
            made = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(
                folder, dtype=self.dtype
            )
        elif name == "vae":
            made = diffusers.AutoencoderKLQwenImage.from_pretrained(folder, torch_dtype=self.dtype)
            use_single_frame_convolutions(made)
        elif self._load_transformer is not None:
            return self._load_transformer(folder).eval().requires_grad_(False)
        else:
            made = diffusers.QwenImageTransformer2DModel.from_pretrained(
                folder, torch_dtype=self.dtype
            )
        return made.to(self.device).eval().requires_grad_(False)

    @property
    def tokenizer(self) -> Any:
        """The Qwen2 tokenizer."""
        return self._part("tokenizer")

    @property
    def scheduler(self) -> Any:
        """The flow-matching Euler scheduler with this base's time shift."""
        return self._part("scheduler")

    @property
    def text_encoder(self) -> Any:
        """The Qwen2.5-VL that reads prompts and references."""
        return self._part("text_encoder")

    @property
    def vae(self) -> Any:
        """The autoencoder between pixels and latents."""
        return self._part("vae")

    @property
    def transformer(self) -> Any:
        """The denoising transformer."""
        return self._part("transformer")

    @transformer.setter
    def transformer(self, module: Any) -> None:
        self._parts["transformer"] = module
        self._pipelines.clear()

    @property
    def processor(self) -> Any:
        """The picture-and-text processor of the edit template."""
        return self._part("processor")

    def release_encoders(self, *, keep_vae: bool = False) -> None:
        """Free text encoder and autoencoder, when everything is cached.

        keep_vae: only the text encoder, which is far the larger. Pipelines made afterwards have
        none and want embeddings.
        """
        for name in ("text_encoder",) if keep_vae else ("text_encoder", "vae"):
            self._parts.pop(name, None)
        self._pipelines.clear()
        self._without_text = True
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    # ---- text

    def encode_prompts(
        self,
        prompts: Sequence[str],
        template: Template = "t2i",
        references: Sequence[Sequence[Image]] | None = None,
    ) -> list[torch.Tensor]:
        """Each prompt -> embeddings (tokens, joint width) without the system prefix.

        `references`: one list of pictures a prompt, for the edit template. Positions are 3-D: the
        processor's token types are handed on (diffusers' edit pipeline drops them, issue 14194).
        """
        import torch

        if template == "edit" and references is not None:
            return [self._encode_edit(p, list(r)) for p, r in zip(prompts, references, strict=True)]
        prefix = EDIT_PREFIX if template == "edit" else T2I_PREFIX
        drop = PREFIX_TOKENS[template]
        out = []
        for start in range(0, len(prompts), 32):
            texts = [prefix + p + SUFFIX for p in prompts[start : start + 32]]
            tokens = self.tokenizer(
                texts,
                max_length=MAX_TOKENS + drop,
                padding=True,
                truncation=True,
                return_tensors="pt",
            ).to(self.device)
            with torch.no_grad():
                hidden = self.text_encoder.model(
                    input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
                ).last_hidden_state
            for row, mask in zip(hidden, tokens.attention_mask.bool(), strict=True):
                out.append(row[mask][drop:].clone())
        return out

    def _encode_edit(self, prompt: str, pictures: list[Image]) -> torch.Tensor:
        import torch

        named = "".join(PICTURE.format(i + 1) for i in range(len(pictures)))
        shown = [self.fit(p, self.info.condition_area) for p in pictures]
        inputs = self.processor(
            text=[EDIT_PREFIX + named + prompt + SUFFIX],
            images=shown or None,
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        given = {k: v for k, v in inputs.items() if k != "pixel_values"}
        if "pixel_values" in inputs:
            given["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        with torch.no_grad():
            hidden = self.text_encoder.model(**given).last_hidden_state
        kept: torch.Tensor = hidden[0][inputs["attention_mask"][0].bool()]
        return kept[PREFIX_TOKENS["edit"] :].clone()

    @staticmethod
    def fit(picture: Image, area: int) -> Image:
        """Resize to about `area` pixels, sides multiples of 32, as diffusers does (Lanczos)."""
        ratio = picture.width / picture.height
        width = math.sqrt(area * ratio)
        size = (max(32, round(width / 32) * 32), max(32, round(width / ratio / 32) * 32))
        from PIL import Image as Images

        return picture.convert("RGB").resize(size, Images.Resampling.LANCZOS)

    # ---- pictures

    def encode_images(self, pictures: Sequence[Image]) -> list[torch.Tensor]:
        """Pictures (sides multiples of 16) -> packed normalised latents (tokens, 64), the mode.

        Raises InputError for a picture whose sides are no multiples of 16.
        """
        import numpy as np
        import torch

        out = []
        mean, std = self._latent_statistics()
        for picture in pictures:
            if picture.width % TOKEN_SCALE or picture.height % TOKEN_SCALE:
                raise InputError(
                    f"A picture of {picture.width} x {picture.height} px cannot be encoded",
                    fix="Sides must be multiples of 16.",
                )
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).to(self.device)
            x = pixels.permute(2, 0, 1).to(self.dtype).div(127.5).sub(1)
            with torch.no_grad():
                z = self.vae.encode(x[None, :, None]).latent_dist.mode()
            out.append(pack(((z - mean) / std)[:, :, 0])[0])
        return out

    def decode(self, latents: torch.Tensor, height: int, width: int) -> Any:
        """Packed latents (B, tokens, 64) -> pictures as uint8 array (B, height, width, 3)."""
        import torch

        mean, std = self._latent_statistics()
        z = unpack(latents.to(self.dtype), height, width)[:, :, None] * std + mean
        with torch.no_grad():
            x = self.vae.decode(z).sample[:, :, 0]
        x = (x.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (x * 255).round().to(torch.uint8).cpu().numpy()

    def _latent_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        config = self.vae.config
        shape = (1, config.z_dim, 1, 1, 1)
        mean = torch.tensor(config.latents_mean, dtype=self.dtype, device=self.device)
        std = torch.tensor(config.latents_std, dtype=self.dtype, device=self.device)
        return mean.view(shape), std.view(shape)

    # ---- the transformer

    def velocity(
        self,
        latents: torch.Tensor,
        sigma: torch.Tensor,
        embeds: torch.Tensor,
        mask: torch.Tensor | None,
        size: tuple[int, int],
        references: torch.Tensor | None = None,
        reference_sizes: Sequence[tuple[int, int]] = (),
    ) -> torch.Tensor:
        """One forward: v = noise - x0 for the target tokens, (B, tokens, 64). Gradients allowed.

        latents (B, tokens, 64); sigma (B,) in 0..1; embeds (B, text, width); mask (B, text) bool or
        None when every token counts; size (height, width) in pixels; references (B, more, 64) =
        the packed references one after the other, with their sizes.
        """
        shapes = [token_grid(*size), *(token_grid(*s) for s in reference_sizes)]
        hidden = latents
        if references is not None:
            import torch as t

            hidden = t.cat([latents, references], dim=1)
        out = self.transformer(
            hidden_states=hidden,
            timestep=sigma,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=mask,
            img_shapes=[shapes] * latents.shape[0],
            return_dict=False,
        )[0]
        result: torch.Tensor = out[:, : latents.shape[1]]
        return result

    # ---- whole pipelines

    def pipeline(self, template: Template) -> Any:
        """diffusers' own pipeline on these modules: QwenImagePipeline or ...EditPlusPipeline.

        The edit pipeline's picture areas, module constants in diffusers, are this base's.
        """
        if template not in self._pipelines:
            parts = {
                "scheduler": self.scheduler,
                "vae": self.vae,
                "text_encoder": None if self._without_text else self.text_encoder,
                "tokenizer": self.tokenizer,
                "transformer": self.transformer,
            }
            if template == "t2i":
                from diffusers import QwenImagePipeline

                made = QwenImagePipeline(**parts)
            else:
                made = _edit_pipeline_class(self.info)(**parts, processor=self.processor)
            made.set_progress_bar_config(disable=True)
            self._pipelines[template] = made
        return self._pipelines[template]


def _edit_pipeline_class(info: BaseInfo) -> Any:
    from diffusers import QwenImageEditPlusPipeline
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    class EditPipeline(QwenImageEditPlusPipeline):  # type: ignore[misc]
        """The stock pipeline with this base's picture areas for the time of a call."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            before = module.CONDITION_IMAGE_SIZE, module.VAE_IMAGE_SIZE
            module.CONDITION_IMAGE_SIZE = info.condition_area
            module.VAE_IMAGE_SIZE = info.reference_area
            try:
                return super().__call__(*args, **kwargs)
            finally:
                module.CONDITION_IMAGE_SIZE, module.VAE_IMAGE_SIZE = before

    return EditPipeline


def token_grid(height: int, width: int) -> tuple[int, int, int]:
    """Pixels -> (frames, rows, columns) of image tokens, an entry of `img_shapes`."""
    return (1, height // TOKEN_SCALE, width // TOKEN_SCALE)


def pack(z: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, h*w/4, 4C): 2 x 2 cells a token, as `_pack_latents` of diffusers."""
    b, c, h, w = z.shape
    z = z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return z.reshape(b, (h // 2) * (w // 2), c * 4)


def unpack(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, tokens, 4C) -> (B, C, height/8, width/8): the inverse of `pack`."""
    b, _, c4 = x.shape
    h, w = height // TOKEN_SCALE, width // TOKEN_SCALE
    x = x.view(b, h, w, c4 // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(b, c4 // 4, h * 2, w * 2)


def collate(embeds: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Embeddings of any lengths -> (B, longest, width) and a bool mask, None if all are full.

    An all-ones mask would cost the fast attention kernels (diffusers 0.37 and later).
    """
    import torch

    lengths = [len(e) for e in embeds]
    longest = max(lengths)
    if min(lengths) == longest:
        return torch.stack(list(embeds)), None
    out = embeds[0].new_zeros(len(embeds), longest, embeds[0].shape[-1])
    for row, e in enumerate(embeds):
        out[row, : len(e)] = e
    ahead = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    return out, ahead.to(out.device)


def use_single_frame_convolutions(vae: Any) -> None:
    """Make a video autoencoder's causal 3-D convolutions run as 2-D ones, for single pictures.

    With one frame every temporal tap but the last sees zero padding, so the last tap alone gives
    the same result (largest difference seen 3e-6) at about half the time. In place.
    """
    import torch.nn.functional as functional
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d

    original = QwenImageCausalConv3d.forward

    def forward(self: Any, x: Any, cache_x: Any = None) -> Any:
        if x.shape[2] != 1 or cache_x is not None or self.stride[0] != 1:
            return original(self, x, cache_x)
        pad = self._padding
        weight = self.weight[:, :, -1]
        return functional.conv2d(
            x[:, :, 0], weight, self.bias, stride=self.stride[1:], padding=(pad[2], pad[0])
        ).unsqueeze(2)

    for module in vae.modules():
        if isinstance(module, QwenImageCausalConv3d):
            module.forward = types.MethodType(forward, module)
