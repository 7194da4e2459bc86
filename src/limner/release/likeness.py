"""Whether this character may be published, and where.

In: a project. Out: what a receipt may say about consent, or a refusal that names what is missing.
"""

from __future__ import annotations

import re
from pathlib import Path

from limner.errors import InputError
from limner.project import Project, files

PUBLISH, DATASET = "publish", "dataset"
"""Words of consent.scope that allow publishing the LoRA, and giving away the training pictures."""


def consent(project: Project) -> dict[str, str] | None:
    """Consent as the receipt names it: date and hash of the evidence, never the person; None for a
    synthetic character.

    Raises InputError when a consented person's evidence is gone, was taken back, or does not cover
    publishing.
    """
    character = project.character
    if character.likeness == "synthetic":
        return None
    given = character.consent
    if given is None or not given.evidence.strip():
        fix = "Write consent.evidence and consent.date."
        raise InputError("A person's consent needs evidence", where="character.yaml", fix=fix)
    if given.revoked:
        raise InputError(
            f"The consent was taken back on {given.revoked}: nothing may be published any more",
            where="character.yaml: consent.revoked",
            fix="Delete what was published, and the person's pictures if they ask for it.",
        )
    if not allows(project, PUBLISH):
        raise InputError(
            "The consent does not say that the LoRA may be published",
            where="character.yaml: consent.scope",
            fix="Ask the person; then write what was agreed to, in no other words than train, "
            "publish and dataset, e.g. `train, publish`.",
        )
    if (absent := missing_evidence(project)) is not None:
        fix = f"Put the file at {absent}, or write a link or an id."
        raise InputError("The consent file is missing", where=given.evidence, fix=fix)
    stated = files.sha256_bytes(given.evidence.encode("utf-8"))
    evidence = project.root / given.evidence
    if evidence.is_file():
        stated = files.sha256_file(evidence)
    return {"date": given.date, "evidence_sha256": stated, "scope": given.scope}


def missing_evidence(project: Project) -> Path | None:
    """Where the consent's evidence should lie when it names a file that is not there, else None.
    Links and ids name no file."""
    given = project.character.consent
    if given is None or "://" in given.evidence or not re.search(r"\.\w{2,4}$", given.evidence):
        return None
    path = project.root / given.evidence
    return None if path.is_file() else path


def allows(project: Project, word: str) -> bool:
    """Whether a person's consent names this use; a synthetic character allows all.

    The scope is a list of uses, parted by commas, semicolons, full stops, new lines or `and`. No
    sentence is read: a part that is not in `USES` makes the answer no, for it may be a condition or
    a refusal.
    """
    given = project.character.consent
    if project.character.likeness == "synthetic":
        return True
    if given is None:
        return False
    parts = [" ".join(p.split()) for p in _PARTS.split(given.scope.lower()) if p.strip()]
    known = {form: use for use, forms in USES.items() for form in forms}
    found = [known.get(part) for part in parts]
    return word in found and None not in found


USES = {
    PUBLISH: ("publish", "publishing", "publish it", "publish the lora", "may publish",
              "to publish", "publication"),
    DATASET: ("dataset", "the dataset", "give away the dataset", "share the dataset",
              "publish the dataset"),
    "train": ("train", "training", "train a lora", "to train", "evaluate", "evaluation"),
}  # fmt: skip
"""Use -> how a scope may say it; anything else is not understood, and so not allowed."""
_PARTS = re.compile(r"[,;.\n]|\band\b")


def require_synthetic(project: Project, site: str) -> None:
    """Raise InputError where a site takes no real people."""
    if project.character.likeness != "synthetic":
        raise InputError(
            f"{site} takes no models of real people, with consent or without",
            where="character.yaml: likeness",
            fix="Publish elsewhere, as far as the person agreed, or not at all.",
        )
