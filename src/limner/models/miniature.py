"""The miniature: the classes of Qwen-Image-Edit-2509 at small dimensions, built from code.

In: a tokenizer's training text and a seed. Out: modules with random weights, or a whole folder in
diffusers layout. `scripts/miniature` pre-trains them; `data/miniature` holds the trained ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from limner.models import runtime

HIDDEN = 128  # width of the text encoder = joint_attention_dim of the transformer
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
# The two system prompts of diffusers' pipelines. Their prefixes are cut off by a fixed number of
# tokens (64 and 34), so the small tokenizer must spell them in exactly that many.
EDIT_PREFIX = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, "
    "texture, objects, background), then explain how the user's text instruction should alter or "
    "modify the image. Generate a new image that meets the user's requirements while maintaining "
    "consistency with the original input where appropriate.<|im_end|>\n<|im_start|>user\n"
)
T2I_PREFIX = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, "
    "quantity, text, spatial relationships of the objects and background:<|im_end|>\n"
    "<|im_start|>user\n"
)
PREFIX_TOKENS = {"edit": 64, "t2i": 34}


def build_tokenizer(corpus: Iterable[str], vocab_size: int = 1600) -> Any:
    """A byte-level BPE `Qwen2Tokenizer` of at most `vocab_size` tokens, trained on `corpus`.

    The templates are oversampled so that their prefixes take exactly 64 and 34 tokens; checked.
    Raises RuntimeError when they do not (then the corpus is too small or too large).
    """
    runtime.prepare()
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    plain = [_strip(EDIT_PREFIX) + "Picture 1: Picture 2: Picture 3: ", _strip(T2I_PREFIX)]
    text = list(corpus) + plain * 2000
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        min_frequency=20,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(text, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=131072,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    for template, prefix in (("edit", EDIT_PREFIX), ("t2i", T2I_PREFIX)):
        count = len(tokenizer(prefix).input_ids)
        if count != PREFIX_TOKENS[template]:
            raise RuntimeError(f"{template} prefix takes {count} tokens, the pipelines cut 64/34")
    return tokenizer


def _strip(text: str) -> str:
    return text.replace("<|im_start|>", "").replace("<|im_end|>", "")


def build_text_encoder(tokenizer: Any, seed: int = 11) -> Any:
    """A 2-layer Qwen2.5-VL of width 128. Frozen and random: a fixed code of words and places.

    Token embeddings are drawn N(0, 1) so that words start far apart.
    """
    runtime.prepare()
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in SPECIAL_TOKENS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": HIDDEN,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "in_channels": 3,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    encoder = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        encoder.model.language_model.embed_tokens.weight.normal_(0, 1.0)
    return encoder


def build_processor(tokenizer: Any) -> Any:
    """The Qwen2-VL processor of the edit pipeline around a small tokenizer."""
    runtime.prepare()
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    images = Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280})
    return Qwen2VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=Qwen2VLVideoProcessor()
    )


def build_transformer(layers: int = 6, heads: int = 3, seed: int = 5) -> Any:
    """`QwenImageTransformer2DModel` of width heads x 64 (6 x 3: 8.2 M parameters)."""
    runtime.prepare()
    import torch
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(seed)
    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=layers,
        attention_head_dim=64,
        num_attention_heads=heads,
        joint_attention_dim=HIDDEN,
        axes_dims_rope=(16, 24, 24),
        guidance_embeds=False,
    )


def build_vae(seed: int = 7, dim_mult: tuple[int, ...] = (1, 3, 6, 12)) -> Any:
    """`AutoencoderKLQwenImage` of base width 8 (4.2 M parameters), f8, 16 channels."""
    runtime.prepare()
    import torch
    from diffusers import AutoencoderKLQwenImage

    torch.manual_seed(seed)
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=16,
        dim_mult=list(dim_mult),
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
    )


def build_scheduler() -> Any:
    """The scheduler of Qwen-Image-Edit-2509 (values as carried in public trainers)."""
    runtime.prepare()
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
        shift_terminal=0.02,
        time_shift_type="exponential",
    )


def assemble(path: Path, *, tokenizer: Any, vae: Any, transformer: Any, text_encoder: Any) -> None:
    """Write a whole `QwenImageEditPlusPipeline` folder that diffusers opens by itself."""
    runtime.prepare()
    from diffusers import QwenImageEditPlusPipeline

    pipeline = QwenImageEditPlusPipeline(
        scheduler=build_scheduler(),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        transformer=transformer,
    )
    pipeline.save_pretrained(path, safe_serialization=True)


def build_random(path: Path, *, seed: int = 0, layers: int = 2, resolution: int = 64) -> Path:
    """A base folder with random weights: the same classes, two small layers. Seconds; for tests."""
    from limner.lexicon import drawable as lexicon
    from limner.models.info import NUMBERS_FILE

    words = [
        text
        for axis in lexicon.AXES
        for value in lexicon.axis(axis).values()
        for text in _texts(value)
    ]
    tokenizer = build_tokenizer(words * 40, vocab_size=900)
    vae = build_vae(seed, dim_mult=(1, 2, 4, 4))
    assemble(
        path,
        tokenizer=tokenizer,
        vae=vae,
        transformer=build_transformer(layers, heads=1, seed=seed),
        text_encoder=build_text_encoder(tokenizer, seed),
    )
    numbers = {
        "resolution": resolution,
        "sampling_steps": 3,
        "true_cfg_scale": 2.0,
        "learning_rate": 1e-3,
        "train_steps": 20,
        "batch": 4,
        "condition_area": 64 * 64,
        "reference_area": resolution * resolution,
        "smallest_face_px": 16,
        "is_drawing": True,
    }
    (path / NUMBERS_FILE).write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    return path


def _texts(value: Any) -> list[str]:
    """Every string of a lexicon value."""
    out: list[str] = []
    for field in vars(value).values():
        if isinstance(field, str):
            out.append(field)
        elif isinstance(field, tuple):
            out += [f for f in field if isinstance(f, str)]
    return out
