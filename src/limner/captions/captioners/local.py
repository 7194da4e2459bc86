"""A captioner on this machine: transformers, one way of asking for each family of models.

In: a model folder (or a Hugging Face id already downloaded), prompt, a picture. Out: its words.
Families: llava (JoyCaption's class), florence2 (task tokens instead of a prompt), qwen (Qwen2-VL,
Qwen2.5-VL, Qwen3-VL). Weights are loaded once and only from safetensors; no remote code is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.captions.captioners.interface import CaptionerSettings, Said
from limner.captions.captioners.prompt import Prompt
from limner.errors import InputError, WorkFailedError, first_line

FLORENCE_TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
"""What Florence-2 can be asked for captions; the second is used unless the prompt is another."""

FLORENCE_BEAMS = 3
"""Beams of Florence-2's generation (its model card, published)."""


@dataclass(frozen=True)
class Family:
    """How one family is loaded and asked."""

    name: str
    model_class: str
    encode: Callable[[Any, Prompt, Any], dict[str, Any]]
    decode: Callable[[Any, Any, Any, Any], str]
    sampled: bool = True


class LocalCaptioner:
    """See the module. Raises InputError (no such model, another family), MissingExtraError."""

    def __init__(self, settings: CaptionerSettings, prompt: Prompt) -> None:
        self._settings, self._prompt = settings, prompt
        self._folder = find_model(settings.model)
        self._kind = model_type(self._folder)
        self.family = family_of(self._kind, self._folder)
        self._loaded: tuple[Any, Any] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Model and what its words depend on; the folder's name, not its place on this machine."""
        given = self._settings
        return {
            "kind": "local",
            "model": given.model if given.model.count("/") == 1 else self._folder.name,
            "family": self.family.name,
            "prompt_sha256": self._prompt.sha256,
            "picture_side": given.picture_side,
            "max_tokens": given.max_tokens,
            **({"temperature": given.temperature, "top_p": given.top_p} if self._samples else {}),
            "seed": given.seed,
        }

    @property
    def _samples(self) -> bool:
        return self.family.sampled and self._settings.temperature > 0

    def request(self, picture: Path) -> dict[str, Any]:
        """The text the model reads, as its processor writes it, and the size of the picture."""
        processor, _ = self._load()
        image = _open(picture, self._settings.picture_side)
        inputs = self.family.encode(processor, self._prompt, image)
        text = processor.tokenizer.decode(inputs["input_ids"][0])
        return {"family": self.family.name, "text": text, "picture": list(image.size)}

    def caption(self, picture: Path, attempt: int = 0) -> Said:
        """Ask once. Raises InputError (no picture), WorkFailedError (out of memory)."""
        import torch

        processor, model = self._load()
        image = _open(picture, self._settings.picture_side)
        inputs = self.family.encode(processor, self._prompt, image)
        moved = {k: _to(v, model) for k, v in inputs.items()}
        torch.manual_seed(self._settings.seed + attempt)
        how: dict[str, Any] = {"do_sample": False}
        if self._samples:
            given = self._settings
            how = {"do_sample": True, "temperature": given.temperature, "top_p": given.top_p}
            how |= {"top_k": None, "suppress_tokens": None}  # as JoyCaption's README asks
        if not self.family.sampled:
            how["num_beams"] = FLORENCE_BEAMS
        try:
            with torch.inference_mode():
                out = model.generate(**moved, max_new_tokens=self._settings.max_tokens, **how)
        except torch.OutOfMemoryError:
            raise WorkFailedError(
                "The captioning model ran out of memory",
                fix="Lower picture_side, close other programs, or ask an endpoint instead.",
            ) from None
        text = self.family.decode(processor, inputs, out, image)
        new = int(out.shape[1]) - (0 if not self.family.sampled else inputs["input_ids"].shape[1])
        return Said(text.strip(), str(self.identity["model"]), new >= self._settings.max_tokens)

    def close(self) -> None:
        """Free the weights."""
        self._loaded = None

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from limner.models import runtime

            runtime.prepare()
            import torch
            import transformers

            gpu = torch.cuda.is_available()
            dtype = torch.bfloat16 if gpu else torch.float32
            try:
                processor = transformers.AutoProcessor.from_pretrained(
                    self._folder, local_files_only=True
                )
                model = getattr(transformers, self.family.model_class).from_pretrained(
                    self._folder, dtype=dtype, local_files_only=True, use_safetensors=True
                )
            except (OSError, ValueError, KeyError) as error:
                raise InputError(
                    f"The captioning model cannot be read: {first_line(error)}",
                    where=str(self._folder),
                    fix="Download the whole folder again, or name another model.",
                ) from None
            self._loaded = processor, model.to("cuda" if gpu else "cpu").eval()
        return self._loaded


def find_model(name: str) -> Path:
    """The folder of a model: a path, or a Hugging Face id in the local cache. Raises InputError."""
    if not name:
        raise InputError(
            "Which local model shall caption?",
            where="captioner.yaml: model",
            fix="Name a folder, or a Hugging Face id such as "
            "fancyfeast/llama-joycaption-beta-one-hf-llava (about 17 GB).",
        )
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        try:
            from huggingface_hub import snapshot_download
            from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
        except ImportError:
            raise InputError(
                f"{name} is a Hugging Face id, and huggingface_hub is not installed",
                fix="pip install 'limner[train]', or name a local folder.",
            ) from None
        try:
            found = Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
            found = folder
        if (found / "config.json").is_file():
            return found
    raise InputError(
        f"No captioning model at {name!r}: config.json is missing",
        where=str(folder),
        fix=f"Name a model folder, or download it: hf download {name}",
    )


def model_type(folder: Path) -> str:
    """`model_type` of a model's config.json. Raises InputError."""
    file = folder / "config.json"
    try:
        kind = json.loads(file.read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"config.json cannot be read: {error}", where=str(file)) from None
    return str(kind)


def family_of(kind: str, folder: Path) -> Family:
    """The family of a `model_type`. Raises InputError naming those that can be used."""
    if kind not in FAMILIES:
        raise InputError(
            f"{kind} is no captioning model that Limner can ask",
            where=str(folder / "config.json"),
            fix=f"Use one of the families {', '.join(FAMILIES)}, or serve it over HTTP (vLLM).",
        )
    return FAMILIES[kind]


def _open(picture: Path, longest: int) -> Any:
    """A picture as PIL, RGB, turned upright, at most `longest` px. Raises InputError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(picture) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The picture cannot be read ({type(error).__name__})", where=str(picture)
        ) from None
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def _to(value: Any, model: Any) -> Any:
    """Inputs on the model's device; pictures in its number format too (ids stay whole numbers)."""
    value = value.to(model.device)
    return value.to(model.dtype) if value.is_floating_point() else value


# ---- how each family is asked


def _chat(processor: Any, prompt: Prompt) -> str:
    """The conversation as the model's template writes it, with exactly one picture in it.

    JoyCaption's template takes plain strings and puts the picture in itself; others want a list of
    parts. Which one is read off the template.
    """
    template = str(getattr(processor, "chat_template", None) or "")
    parts = "'type'" in template or '"type"' in template or ".type" in template
    asked: Any = prompt.text
    if parts:
        asked = [{"type": "image"}, {"type": "text", "text": prompt.text}]
    system: Any = [{"type": "text", "text": prompt.system}] if parts else prompt.system
    talk = [{"role": "user", "content": asked}]
    if prompt.system:
        talk = [{"role": "system", "content": system}, *talk]
    text = str(processor.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
    image = str(processor.image_token)
    if image not in text:
        text = text.replace(prompt.text, f"{image}\n{prompt.text}", 1)
    return text


def _encode_chat(processor: Any, prompt: Prompt, image: Any) -> dict[str, Any]:
    """Text and picture as tensors; a second <bos> (template and tokenizer both wrote one) goes."""
    inputs = dict(processor(text=[_chat(processor, prompt)], images=[image], return_tensors="pt"))
    ids, bos = inputs["input_ids"], processor.tokenizer.bos_token_id
    if bos is not None and ids.shape[1] > 1 and int(ids[0, 0]) == int(ids[0, 1]) == bos:
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if name in inputs:
                inputs[name] = inputs[name][:, 1:]
    return inputs


def _decode_chat(processor: Any, inputs: Any, out: Any, image: Any) -> str:
    said = out[0][inputs["input_ids"].shape[1] :]
    return str(
        processor.tokenizer.decode(
            said, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )


def _encode_florence(processor: Any, prompt: Prompt, image: Any) -> dict[str, Any]:
    return dict(processor(text=florence_task(prompt), images=image, return_tensors="pt"))


def florence_task(prompt: Prompt) -> str:
    """The task token to send. Raises InputError: Florence-2 cannot read a prompt."""
    if not prompt.own:
        return FLORENCE_TASKS[1]
    if prompt.text in FLORENCE_TASKS:
        return prompt.text
    raise InputError(
        "Florence-2 cannot be asked in words",
        where="captioner prompt",
        fix=f"Use one of {', '.join(FLORENCE_TASKS)} as the prompt, or leave it empty.",
    )


def _decode_florence(processor: Any, inputs: Any, out: Any, image: Any) -> str:
    text = processor.batch_decode(out, skip_special_tokens=False)[0]
    task = FLORENCE_TASKS[1]
    found = processor.post_process_generation(text, task=task, image_size=image.size)
    return str(found[task])


_QWEN = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
FAMILIES: dict[str, Family] = {
    "llava": Family("llava", "LlavaForConditionalGeneration", _encode_chat, _decode_chat),
    "florence2": Family(
        "florence2",
        "Florence2ForConditionalGeneration",
        _encode_florence,
        _decode_florence,
        sampled=False,
    ),
    **{kind: Family("qwen", name, _encode_chat, _decode_chat) for kind, name in _QWEN.items()},
}
"""`model_type` of config.json -> how it is loaded and asked."""
