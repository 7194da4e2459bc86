"""Every fault the check knows, with its severity, its source and how far to trust it.

error: the run cannot start, or does something else than the file says. warning: a wrong result or
wasted money. info: a claim of the file that is not so, or not proven. note: no fault; what the file
means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limner.project.rules import Rule, values_of

Severity = Literal["error", "warning", "info", "note"]
_CODE = "read in the trainer's source"
_AITK = "ai-toolkit 0.12.26, source"
_MUSUBI = "musubi-tuner 30c658c, source and docs"
_ST = "SimpleTuner 4.8.0, source and docs"


@dataclass(frozen=True)
class Fault:
    """One fault. tag: published | community | derived | starting value."""

    severity: Severity
    source: str
    tag: str
    meaning: str


def _table() -> dict[str, Fault]:
    rows: dict[Severity, list[tuple[str, str, str, str]]] = {
        "error": [
            ("syntax", "the file's format", "published", "the file cannot be read"),
            ("unreadable", "the file system", "published", "the file cannot be opened"),
            ("unknown-file", "limner check", "published", "no training setup is recognised"),
            ("other-job", _AITK, "published", "a job that trains nothing"),
            ("no-job", _AITK, "published", "no `job` and `config`: the run does not start"),
            ("no-name", _AITK, "published", "no `config.name`: the run does not start"),
            ("no-process", _AITK, "published", "no process to run"),
            ("unknown-process", _AITK, "published", "a process type that does not exist"),
            ("no-datasets", _CODE, "published", "nothing to train on"),
            ("no-folder", _CODE, "published", "a data set without a folder"),
            ("no-model", _CODE, "published", "no base model is named"),
            ("no-arch", _AITK, "published", "no `arch`: the model is treated as SD 1"),
            ("wrong-arch", _AITK, "published", "an `arch` that does not fit the model"),
            ("missing-control", _AITK, "published", "edit_plus without control pictures stops"),
            ("control-cache", _AITK, "derived", "cached embeddings look at control_path only"),
            ("two-accumulations", _AITK, "published", "two accumulation keys exclude each other"),
            ("two-preservations", _AITK, "published", "two preservation modes exclude each other"),
            ("mask-attention", _AITK, "published", "flash kernels raise when a mask is passed"),
            ("validation-edit", _AITK, "derived", "validation has no controls and raises"),
            ("wrong-type", _CODE, "published", "a value of the wrong type"),
            ("no-rate", _CODE, "published", "the default learning rate learns nothing"),
            ("alpha-trap", _MUSUBI, "published", "alpha 1 at rank r trains at 1/r of the strength"),
            ("no-network", _MUSUBI, "published", "no or a foreign network module"),
            ("model-version", _MUSUBI, "published", "the version does not fit the weights"),
            ("edit-control", _ST, "published", "an edit flavour without conditioning data stops"),
            ("no-picture", "limner check", "published", "a folder without pictures"),
            ("broken-picture", "limner check", "published", "a picture that is cut or no picture"),
            ("missing-caption", "caption-audit 1.3.0", "published", "a picture without a caption"),
            ("empty-caption", "caption-audit 1.3.0", "published", "a caption without text"),
            ("caption-form", "limner check", "published", "no UTF-8, several lines or a BOM"),
            ("control-pair", _CODE, "published", "a picture without its control picture"),
            ("trigger-missing", "caption-audit 1.3.0", "published", "a caption without trigger"),
            ("no-such-script", "the project's repository", "published", "no such script exists"),
        ],
        "warning": [
            ("unknown-key", _CODE, "published", "a key that nothing reads"),
            ("moved-key", _CODE, "published", "a key in the wrong place is ignored"),
            ("duplicate-key", "YAML readers of trainers", "published", "a key stands twice"),
            ("epochs-key", _AITK, "published", "ai-toolkit has no epochs"),
            ("length-readings", "the guide's own figures", "derived", "three readings of a length"),
            ("long-run", "1.5 x the guide's 3,400", "starting value", "far longer than the guide"),
            ("no-length", _CODE, "published", "the default number of steps"),
            ("accumulation", _AITK, "published", "updates and passes differ from the steps"),
            ("folder-repeats", _AITK, "published", "the number of a folder name repeats nothing"),
            ("duplicate-resolution", _AITK, "published", "another copy of the data set"),
            ("pruned-checkpoints", _CODE, "published", "early checkpoints are deleted"),
            ("no-checkpoints", _CODE, "published", "only the last state is saved"),
            ("ema", "time constant 1 / (1 - decay)", "derived", "early weights dominate the EMA"),
            ("quantize-dtype", _AITK, "published", "the width of the weights is another"),
            ("alpha-ignored", _AITK, "published", "alpha is forced to the rank"),
            ("rank-default", _CODE, "published", "the default rank"),
            ("precision", _CODE, "published", "a default precision that costs memory or detail"),
            ("vram", "limner.training.hardware", "derived", "needs more memory than is named"),
            ("sampler", _AITK, "published", "sampler and noise scheduler must be the same"),
            ("sample-control", _AITK, "published", "samples of an edit model need pictures"),
            ("sample-size", _AITK, "published", "samples are drawn at 512 px"),
            ("edit-batch", _AITK, "published", "batches above 1 were broken on edit models"),
            ("rate-high", "published defaults are 5e-5 to 3e-4", "community", "a high rate"),
            ("flip", "arXiv 2505.03557", "published", "a mirrored face is another face"),
            ("dropout-high", "the guide's own range is 0.05 to 0.1", "community", "many blanks"),
            ("no-trigger", _CODE, "published", "nothing calls the character"),
            ("size-default", _MUSUBI, "published", "960 x 544 unless told otherwise"),
            ("control-size", _MUSUBI, "published", "the control's size should be the model's own"),
            ("shared-cache", _MUSUBI, "derived", "two data sets in one cache folder"),
            ("fp8", _MUSUBI, "published", "fp8_base without fp8_scaled"),
            ("repeats-off-by-one", _ST, "published", "SimpleTuner counts extra showings"),
            ("captions-unused", _AITK, "published", "trains with the trigger's prompt only"),
            ("filename-captions", _ST, "published", "file names are taken for captions"),
            ("no-text-cache", _ST, "published", "no text_embeds data set"),
            ("alpha-scale", _CODE, "published", "alpha over rank scales the LoRA"),
            ("small-picture", "model card: 1024 px", "published", "a short side under 1,024 px"),
            ("picture-type", _CODE, "published", "a type that trainers pass over"),
            ("rotated-picture", "EXIF orientation", "derived", "trainers may see it lying"),
            ("duplicate-picture", "SHA-256", "published", "the same picture twice"),
            ("orphan-caption", "caption-audit 1.3.0", "published", "a caption without picture"),
            ("spaces-in-name", "the guide's own list", "community", "a space in a file name"),
            ("identity-leak", "caption rules", "community", "a constant of the person is named"),
            ("camera-words", "caption rules", "community", "camera or quality words"),
            ("trigger-place", "caption-audit 1.3.0", "published", "the trigger is not first"),
            ("frequent-term", "caption-audit 1.3.0", "published", "a term in most captions"),
            ("duplicate-caption", "caption-audit 1.3.0", "published", "the same caption twice"),
            ("body-tag", "the guide's own template", "community", "realistic_body in some only"),
            ("few-pictures", "the guide's own numbers", "community", "very few pictures"),
            ("alias", "ssh", "published", "a host alias nobody defined"),
            ("old-torch", "ai-toolkit's README", "published", "another torch is asked for"),
        ],
        "info": [
            ("alpha-claim", _AITK, "published", "alpha has no effect here"),
            ("rate-claim", "no ablation is published", "community", "an unproven learning rate"),
            ("count-claim", "arithmetic", "derived", "a comment that does not fit the data"),
            ("save-dtype", "our advice", "starting value", "float16 files of a bf16 training"),
            ("abstract-trigger", "Replicate's trainer README", "published", "an abstract trigger"),
            ("epoch-names", _AITK, "published", "no trainer names files epochN"),
            ("underscore-tag", "Qwen reads language; untested", "community", "a tag as one word"),
            ("text-encoder", "SimpleTuner docs: 16 GB", "published", "the text encoder stays"),
        ],
        "note": [
            ("template", "template by software", "published", "which prompt template is used"),
            ("upstream", _AITK, "published", "a known fault of the trainer on this model"),
            ("counts", "limner.training.trainers", "derived", "what the run amounts to"),
            ("copies", _AITK, "published", "each size is another copy of the data"),
            ("quantize-default", _AITK, "published", "the width that a default gives"),
            ("ratio", "arithmetic", "derived", "the true ratio of passes"),
            ("folder-elsewhere", "limner check", "derived", "a folder that is not on this machine"),
        ],
    }
    return {
        name: Fault(severity, source, tag, meaning)
        for severity, listed in rows.items()
        for name, source, tag, meaning in listed
    }


RULES = _table()

VALUES: dict[str, Rule] = {
    "short_side": Rule(1024, "published", "Qwen-Image is trained at 1024", "least short side, px"),
    "many_steps": Rule(
        5000, "starting value", "1.5 x the guide's 3,400", "more steps than this are asked about"
    ),
    "rate_high": Rule(
        3e-4, "community", "highest published default (OneTrainer)", "highest learning rate"
    ),
    "dropout_high": Rule(
        0.1, "community", "the guide's remedy for overfitting", "highest caption dropout"
    ),
    "ema_constants": Rule(
        5, "derived", "1 - exp(-5) = 99 % of the start has faded", "time constants a run needs"
    ),
    "frequency": Rule(
        0.60, "published", "caption-audit 1.3.0", "share of captions a term may stand in"
    ),
    "frequency_from": Rule(10, "starting value", "shares of fewer say nothing", "fewest captions"),
    "few_pictures": Rule(
        10, "community", "the guide's minimal run", "fewer pictures than this are asked about"
    ),
    "large_setup": Rule(
        200, "starting value", "keeps the list readable", "most findings of one rule and folder"
    ),
}
"""Numbers the check decides by; `check(values=...)` changes them."""


def values(own: Mapping[str, float] | None = None) -> dict[str, float]:
    """All values, the user's own in place of ours. Raises InputError for an unknown name."""
    return values_of(VALUES, own, "training.thresholds")
