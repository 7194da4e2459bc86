"""What a person writes in character.yaml, as pydantic models: character and stages.

In: a mapping read from YAML. Out: a validated `Character`. Unknown keys are errors.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from limner.project.adults import AS_CLASS_WORD, UNDER_18

TRIGGER_PATTERN = r"^[a-z0-9]+(_[a-z0-9]+)*$"
Likeness = Literal["synthetic", "consented_person"]

MOST_STRENGTH = 2.0
"""Twice the strength a LoRA was trained at; beyond, pictures break up (starting value)."""


class _Settings(BaseModel):
    # .nan would pass every comparison of a threshold, and .inf stands in no JSON
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Consent(_Settings):
    """Proof that a living person agreed. Required when likeness is consented_person."""

    evidence: str = Field(min_length=3, description="File, link or id of the written consent")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Day of the consent, YYYY-MM-DD")
    scope: str = Field(
        default="",
        description="What was agreed to, from: train, publish, dataset; e.g. train, publish",
    )
    revoked: str = Field(
        default="",
        pattern=r"^(\d{4}-\d{2}-\d{2})?$",
        description="Day the person took the consent back; then nothing is published any more",
    )

    @field_validator("date", "revoked")
    @classmethod
    def _in_the_calendar(cls, day: str) -> str:
        try:
            if day:
                datetime.date.fromisoformat(day)
        except ValueError:
            raise ValueError(f"the calendar has no day {day}") from None
        return day


class SignatureSettings(_Settings):
    """An outfit that belongs to the character; its tag stands in the captions of its shots."""

    outfit: str = Field(description="Id of an outfit, Limner's or from vocabulary/outfits.yaml")
    shots: int = Field(default=24, ge=1, le=400, description="Exact number; 20 to 30 are advised")


class ShotsSettings(_Settings):
    """Which pictures to plan."""

    count: int = Field(default=40, ge=8, le=400, description="Number of shots")
    seed: int = Field(default=1, ge=0, description="Same seed, same plan")
    preset: Literal["seed", "portrait"] = Field(
        default="seed",
        description="Quota preset: seed = the guide's 12/12/8/8; portrait = more close-ups",
    )
    quotas: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="Axis -> value -> share in percent; overrides the preset"
    )
    genres: list[str] = Field(
        default_factory=list,
        description="Kinds of photography: lifestyle, studio, street, editorial, candid_phone; "
        "empty = all",
    )
    signature: dict[str, SignatureSettings] = Field(
        default_factory=dict,
        description="Caption tag -> an outfit of the character's own and its number of shots",
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Check name -> your value; see docs/shots.md"
    )


class HiggsfieldSettings(_Settings):
    """Pictures by Higgsfield's Soul models; see docs/sources.md."""

    model: Literal["soul/standard", "soul/v2/standard", "soul/cinema"] = Field(
        default="soul/v2/standard", description="Model family; a Soul ID belongs to one family"
    )
    soul_id: str = Field(
        default="", max_length=200, description="The trained reference; `limner soul-id create`"
    )
    soul_strength: float = Field(
        default=1.0, ge=0, le=1, description="How strongly the reference is followed"
    )
    aspect: Literal["1:1", "3:4", "4:3", "2:3", "3:2", "9:16", "16:9"] = Field(
        default="1:1", description="Shape of the pictures"
    )
    batch: Literal[1, 4] = Field(
        default=1, description="Pictures an order; the service makes 1 or 4, each is paid"
    )
    style_id: str = Field(default="", max_length=200, description="A style of the service")
    style_strength: float = Field(default=1.0, ge=0, le=1, description="With style_id only")
    at_once: int = Field(
        default=4, ge=1, le=64, description="Orders under way at a time; accounts begin with 4"
    )
    may_train: str = Field(
        default="",
        max_length=400,
        description="Your answer, for the record: may these pictures train another model?",
    )


class ComfySettings(_Settings):
    """Pictures by a ComfyUI server that already runs; see docs/sources.md."""

    url: str = Field(default="", max_length=500, description="Default http://127.0.0.1:8188")
    workflow: str = Field(
        default="", description="Your own workflow, Export (API); empty = Qwen-Image-Edit-2509"
    )
    references: list[str] = Field(
        default_factory=list, max_length=3, description="0 to 3 pictures of the character"
    )
    unet: str = Field(
        default="qwen_image_edit_2509_fp8_e4m3fn.safetensors",
        description="Model file, as the server lists it",
    )
    clip: str = Field(default="qwen_2.5_vl_7b_fp8_scaled.safetensors", description="Text encoder")
    vae: str = Field(default="qwen_image_vae.safetensors", description="Autoencoder")
    lora: str = Field(default="", description="A LoRA the server has; empty = none")
    lora_strength: float = Field(default=1.0, ge=-4, le=4)
    lora_folder: str = Field(
        default="",
        description="The server's models/loras as seen from here: LoRAs to judge are put there",
    )
    template: Literal["edit", "t2i"] = Field(
        default="edit", description="How prompts are worded to the encoder; t2i takes no pictures"
    )
    width: int = Field(default=1024, ge=16, le=4096, multiple_of=16)
    height: int = Field(default=1024, ge=16, le=4096, multiple_of=16)
    size_of_reference: bool = Field(
        default=False, description="Size from the first reference instead, as Comfy's template"
    )
    steps: int = Field(default=20, ge=1, le=200, description="Comfy's template without Lightning")
    cfg: float = Field(default=4.0, ge=0, le=20, description="Guidance of the same template")
    sampler: str = Field(default="euler", max_length=60)
    scheduler: str = Field(default="simple", max_length=60)
    shift: float = Field(default=3.0, gt=0, le=20, description="ModelSamplingAuraFlow")
    cfg_norm: float = Field(default=1.0, gt=0, le=10, description="CFGNorm")


class DiffusersSettings(_Settings):
    """Pictures by a Qwen-Image model on this machine; see docs/sources.md."""

    model: str = Field(
        default="", description="Folder or Hugging Face id; empty = training.base, e.g. miniature"
    )
    references: list[str] = Field(
        default_factory=list, max_length=3, description="Pictures of the character to draw from"
    )
    width: int = Field(default=0, ge=0, le=4096, multiple_of=16, description="0 = the model's own")
    height: int = Field(default=0, ge=0, le=4096, multiple_of=16, description="0 = the model's own")
    steps: int = Field(default=0, ge=0, le=200, description="0 = the model's own")
    true_cfg_scale: float = Field(default=0.0, ge=0, le=20, description="0 = the model's own")
    negative_prompt: str = Field(default=" ", max_length=2000)


class SourceSettings(_Settings):
    """Where pictures come from."""

    name: Literal["atelier", "inbox", "higgsfield", "comfyui", "diffusers"] = Field(
        default="atelier",
        description="Source of the pictures; inbox: made elsewhere, taken in by `limner inbox`",
    )
    size: int = Field(default=512, ge=64, le=2048, description="Side of a drawing in pixels")
    identity_seed: int | None = Field(
        default=None, ge=0, description="Atelier only: face seed; default from the name"
    )
    short_side: int = Field(
        default=1024,
        ge=64,
        le=4096,
        description="Least short side of pictures from services and inbox; review asks for it too",
    )
    max_cost: float | None = Field(
        default=None, ge=0, description="Dollars this project may spend on pictures"
    )
    limits: dict[str, float] = Field(
        default_factory=dict, description="Value name -> your own; see docs/sources.md"
    )
    inbox: dict[str, float] = Field(
        default_factory=dict,
        description="Number of the inbox's matching -> your own; see docs/sources.md",
    )
    higgsfield: HiggsfieldSettings = Field(default_factory=HiggsfieldSettings)
    comfyui: ComfySettings = Field(default_factory=ComfySettings)
    diffusers: DiffusersSettings = Field(default_factory=DiffusersSettings)


class ReviewSettings(_Settings):
    """How takes are judged."""

    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> your value; see docs/review.md"
    )
    embedders: list[str] = Field(
        default_factory=list,
        description="Cards (JSON) of ONNX face embedders of your own; see docs/review.md",
    )


class CaptionsSettings(_Settings):
    """What captions say."""

    profile: Literal["default", "seed", "strict"] = Field(
        default="default",
        description="seed: the guide's light phrase; strict: nothing all captions share",
    )
    class_word: bool = Field(default=False, description="Write the class word beside the trigger")
    constants: dict[str, Literal["fuse", "vary", "ignore", "sometimes"]] = Field(
        default_factory=dict,
        description="Trait, or words of your own -> whether captions may say it; docs/captions.md",
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Check name -> your value; see docs/captions.md"
    )


class DatasetSettings(_Settings):
    """How kept takes become a training folder."""

    repeats: int = Field(default=40, ge=1, le=1000, description="Number in the folder name")
    held_out: int | None = Field(
        default=None, ge=0, description="References never trained on; default 15 % of the kept"
    )
    realism_repeats: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="Showings of each real body a round, beside the character's repeats; 0 = none",
    )


class TrainingSettings(_Settings):
    """How the LoRA is trained."""

    base: str = Field(
        default="miniature", description="miniature, a local folder, or a Hugging Face id"
    )
    template: Literal["t2i", "edit"] = Field(
        default="t2i", description="Prompt template: text to image, or edit with a reference"
    )
    resolution: int = Field(
        default=0,
        ge=0,
        le=2048,
        description="Side of the square whose area pictures are scaled to; 0 = the base's own",
    )
    rank: Annotated[int, Field(ge=1, le=256)] = 16
    learning_rate: float = Field(default=0.0, ge=0, le=1, description="0 = the base's default")
    steps: int = Field(default=0, ge=0, description="Optimizer steps; 0 = the base's default")
    batch: int = Field(default=0, ge=0, le=512, description="Pictures a step; 0 = base default")
    checkpoints: int = Field(default=10, ge=1, le=100)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    caption_dropout: float = Field(
        default=0.05, ge=0, le=1, description="Share of passes with an empty caption"
    )
    seed: int = Field(default=1, ge=0)
    keep: int = Field(
        default=0, ge=0, description="Checkpoint files to keep; 0 = all, fewer than made is refused"
    )
    samples: int = Field(default=0, ge=0, le=16, description="Sample pictures at each checkpoint")
    trainers: dict[str, str] = Field(
        default_factory=dict,
        description="Folders of ai-toolkit and musubi, files dit, vae, text_encoder; "
        "docs/trainers.md",
    )
    control: Literal["auto", "none", "blank", "self"] = Field(
        default="auto",
        description="Edit template: what is shown beside a picture: nothing, black, or others of "
        "the character; auto = self",
    )
    control_size: int = Field(
        default=0, ge=0, le=2048, description="Side of a shown picture, e.g. 512; 0 = the base's"
    )
    control_pictures: int = Field(default=1, ge=1, le=3, description="Pictures shown at once")
    face_weight: float = Field(
        default=0.0,
        ge=0,
        le=20,
        description="How much more the loss counts in the face; 1 = all alike, 0 = base default",
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant",
        description="Learning rate after the warm-up: stays, or falls to 0 at the last step; a run "
        "whose rate falls cannot be made longer",
    )
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="Decay of averaged weights in checkpoints; 0 = none"
    )
    processes: int = Field(
        default=1, ge=1, le=64, description="Processes that share a batch, one a GPU"
    )
    wandb: str = Field(default="", max_length=100, description="Weights & Biases project")
    fast: dict[str, str | int | bool] = Field(
        default_factory=dict,
        description="Your own choices for speed and memory; docs/training_speed.md",
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Value name -> your own; see docs/training.md"
    )


class EvaluationSettings(_Settings):
    """How checkpoints are compared."""

    strengths: list[Annotated[float, Field(gt=0, le=MOST_STRENGTH)]] = Field(
        default_factory=lambda: [0.8, 1.0], min_length=1
    )
    checkpoints: int = Field(
        default=0, ge=0, le=100, description="Most checkpoints compared, evenly spaced; 0 = all"
    )
    prompts: int = Field(
        default=18,
        ge=1,
        le=200,
        description="Prompts not in training; a third to choose by, the rest to claim by",
    )
    seeds: int = Field(default=2, ge=1, le=50, description="Seeds a prompt while choosing")
    claim_seeds: int = Field(default=4, ge=1, le=200, description="Fresh seeds a prompt, winner")
    steps: int = Field(default=0, ge=0, le=200, description="Sampling steps; 0 = base default")
    true_cfg_scale: float = Field(default=0.0, ge=0, le=20, description="0 = base default")
    target_far: float = Field(default=0.01, gt=0, lt=0.5, description="False-accept rate")
    control: str = Field(
        default="", description="LoRA file of another character: the negative control"
    )
    untriggered: bool = Field(
        default=True, description="Draw the winner without its trigger too: does it leak?"
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> your value; see docs/evaluation.md"
    )


class AdviceSettings(_Settings):
    """How symptoms are found."""

    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Rule name -> your value; see docs/advice.md"
    )


def _refuse_minors(pattern: re.Pattern[str], text: str) -> str:
    if match := pattern.search(text):
        raise ValueError(
            f"{match.group(0)!r}: Limner makes pictures of adults only; say woman or man"
        )
    return text


class Character(_Settings):
    """The constants of one character and the settings of its stages."""

    name: str = Field(min_length=1, max_length=80)
    trigger: str = Field(pattern=TRIGGER_PATTERN, max_length=40)
    class_word: str = Field(pattern=r"^[A-Za-z][A-Za-z -]*$", max_length=40)
    likeness: Likeness
    consent: Consent | None = None
    description: str = Field(default="", description="What never changes, in your words")
    traits: dict[str, str] = Field(
        default_factory=dict, description="Constants by trait of the lexicon, e.g. hair_color"
    )
    shots: ShotsSettings = Field(default_factory=ShotsSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    review: ReviewSettings = Field(default_factory=ReviewSettings)
    captions: CaptionsSettings = Field(default_factory=CaptionsSettings)
    dataset: DatasetSettings = Field(default_factory=DatasetSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    advice: AdviceSettings = Field(default_factory=AdviceSettings)

    @field_validator("class_word")
    @classmethod
    def _grown_up(cls, word: str) -> str:
        return _refuse_minors(AS_CLASS_WORD, word)

    @field_validator("description")
    @classmethod
    def _of_age(cls, text: str) -> str:
        return _refuse_minors(UNDER_18, text)

    @model_validator(mode="after")
    def _consent_when_a_person(self) -> Character:
        if self.likeness == "consented_person" and self.consent is None:
            raise ValueError(
                "likeness is consented_person, so `consent` with evidence and date is required"
            )
        return self
