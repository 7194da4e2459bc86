"""Local captioners on tiny random models of the real classes: what is asked is what they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.captions.captioners import CaptionerSettings, captioner_prompt, open_captioner
from limner.errors import InputError
from limner.models import runtime

JOYCAPTION_TEMPLATE = (  # plain strings; the picture is put in by the template, <bos> too
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]"
    "{% if message['role'] == 'user' %}<image>{% endif %}"
    "{{ message['content'] | trim }}{% endfor %}[assistant]"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "take.png"
    Image.new("RGB", (120, 90), (200, 60, 60)).save(path)
    return path


def tokenizer(specials: list[str], *, bos: bool) -> Any:
    """A byte-level tokenizer without merges: every byte a token, so that any text comes back."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {t: i for i, t in enumerate([*specials, *letters])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if bos:  # Llama's tokenizer writes <s> itself: with the template's that makes two
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    more = {"image_token": "<image>"} if "<image>" in specials else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=more,
        additional_special_tokens=[s for s in specials if s not in ("<s>", "</s>", "<pad>")],
    )


def make_llava(folder: Path) -> None:
    """JoyCaption's class: a SigLIP tower, a Llama, one projector."""
    import torch
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    torch.manual_seed(1)
    words = tokenizer(["<s>", "</s>", "<pad>", "<image>"], bos=True)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    vision = SiglipVisionConfig(**small, num_attention_heads=2, image_size=56, patch_size=14)
    text = LlamaConfig(
        **small,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(words),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=SiglipImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="full",
        chat_template=JOYCAPTION_TEMPLATE,
        image_token="<image>",
    ).save_pretrained(folder)


def make_qwen(folder: Path) -> None:
    """Qwen2.5-VL: the miniature's own text encoder is one."""
    from transformers import Qwen2Tokenizer

    from limner.models.info import MINIATURE
    from limner.models.miniature import build_processor, build_text_encoder

    words = Qwen2Tokenizer.from_pretrained(MINIATURE / "tokenizer")
    build_text_encoder(words).save_pretrained(folder)
    processor = build_processor(words)
    processor.chat_template = QWEN_TEMPLATE
    processor.save_pretrained(folder)


def make_florence(folder: Path) -> None:
    """Florence-2: a DaViT tower and a BART, transformers' own class (no remote code)."""
    import torch
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        Florence2VisionConfig,
    )

    torch.manual_seed(1)
    words = tokenizer(["<s>", "<pad>", "</s>", "<image>"], bos=False)
    vision = Florence2VisionConfig(
        embed_dim=(16, 16, 16, 16),
        depths=(1, 1, 1, 1),
        num_heads=(2, 2, 2, 2),
        num_groups=(2, 2, 2, 2),
        window_size=4,
        projection_dim=32,
    )
    text = BartConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=len(words),
        max_position_embeddings=256,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        decoder_start_token_id=words.eos_token_id,
        forced_eos_token_id=words.eos_token_id,
    )
    config = Florence2Config(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    Florence2ForConditionalGeneration(config).save_pretrained(folder)
    pixels = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5
    )
    pixels.image_seq_length = 5
    tasks = {"pure_text": {}}  # as in the published processor
    Florence2Processor(
        image_processor=pixels, tokenizer=words, post_processor_config=tasks
    ).save_pretrained(folder)


def qwen_words() -> Any:
    """A Qwen vocabulary without merges; the tokens of its pictures stand at the end."""
    from transformers import Qwen2Tokenizer

    from limner.models.info import MINIATURE

    return Qwen2Tokenizer.from_pretrained(MINIATURE / "tokenizer")


def qwen_ids(words: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {k: words.convert_tokens_to_ids(v) for k, v in names.items()}


TEXT = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 2},
}


def make_qwen2(folder: Path) -> None:
    """Qwen2-VL: its own class, config and pictures, tiny and random."""
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    torch.manual_seed(1)
    words = qwen_words()
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0}
    config = Qwen2VLConfig(
        text_config={**TEXT, "vocab_size": len(words), "rope_parameters": rope},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2},
        **qwen_ids(words),
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(), words, Qwen2VLVideoProcessor(), chat_template=QWEN_TEMPLATE
    ).save_pretrained(folder)


def make_qwen3(folder: Path) -> None:
    """Qwen3-VL: its own class (deep visual features, patches of 16), tiny and random."""
    import torch
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    torch.manual_seed(1)
    words = qwen_words()
    rope = {
        **{"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 5000000.0},
        "mrope_interleaved": True,
    }
    vision = {
        **{"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2},
        **{"out_hidden_size": 32, "patch_size": 16, "num_position_embeddings": 64},
        "deepstack_visual_indexes": [0, 1],
    }
    config = Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 16, "vocab_size": len(words), "rope_parameters": rope},
        vision_config=vision,
        **qwen_ids(words),
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=16, merge_size=2),
        words,
        Qwen3VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)


MAKERS = {
    "llava": make_llava,
    "qwen2_vl": make_qwen2,
    "qwen2_5_vl": make_qwen,
    "qwen3_vl": make_qwen3,
    "florence2": make_florence,
}


def settings_of(folder: Path, **more: Any) -> CaptionerSettings:
    return CaptionerSettings(where="local", model=str(folder), max_tokens=16, **more)


@pytest.mark.parametrize("family", MAKERS)
def test_each_family_reads_the_question_and_answers(
    family: str, tmp_path: Path, picture: Path
) -> None:
    runtime.prepare()
    MAKERS[family](tmp_path)
    settings = settings_of(tmp_path)
    prompt = captioner_prompt(settings, "grace_char", "woman")
    captioner: Any = open_captioner(settings, prompt)
    kind = json.loads((tmp_path / "config.json").read_text())["model_type"]
    asked_as = "qwen" if family.startswith("qwen") else family
    assert kind == family and captioner.identity["family"] == asked_as
    request = captioner.request(picture)
    assert request["picture"] == [120, 90]
    if family == "florence2":
        assert "Describe in detail what is shown in the image." in request["text"]
        assert request["text"].count("<image>") == 5
    else:
        assert prompt.text in request["text"] and prompt.system in request["text"]
        assert request["text"].count(prompt.text) == 1
    if family.startswith("qwen"):  # one token a square of pixels that are merged
        side = 32 if family == "qwen3_vl" else 28
        near = (round(120 / side)) * (round(90 / side))
        assert request["text"].count("<|image_pad|>") == max(near, 4)
    if family == "llava":
        assert request["text"].count("<image>") == 16  # 56 / 14 squared
        assert request["text"].startswith("<s>") and request["text"].count("<s>") == 1
    said = captioner.caption(picture)
    assert isinstance(said.text, str) and said == captioner.caption(
        picture
    )  # same seed, same words
    assert "<image>" not in said.text and prompt.text not in said.text
    captioner.close()


def test_what_cannot_be_asked_is_said(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    settings = settings_of(tmp_path)
    prompt = captioner_prompt(settings, "g_x", "woman")
    with pytest.raises(InputError, match="bert is no captioning model"):
        open_captioner(settings, prompt)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    with pytest.raises(InputError, match="cannot be read"):
        open_captioner(settings, prompt).caption(picture)
    from limner.captions.captioners.local import florence_task

    with pytest.raises(InputError, match="cannot be asked in words"):
        florence_task(captioner_prompt(settings_of(tmp_path, prompt="Who?"), "g_x", "man"))
    own = captioner_prompt(settings_of(tmp_path, prompt="<CAPTION>"), "g_x", "man")
    assert florence_task(own) == "<CAPTION>"
