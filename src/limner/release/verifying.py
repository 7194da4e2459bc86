"""Does it still hold? One door for releases, archives, projects and single LoRA files.

In: a path. Out: findings, the first link that does not hold first; nothing is changed.
"""

from __future__ import annotations

from pathlib import Path

from limner.errors import InputError
from limner.models import tensorfile
from limner.project import Project, files
from limner.release import archiving, locks, receipt, story
from limner.release.receipt import Finding, finding


def verify(path: Path) -> list[Finding]:
    """Findings {rule, severity, file, text, fix} of a release folder, its receipt.json, a
    .limner.zip, a project folder or a released .safetensors; empty when everything holds.

    Raises InputError when the path is none of these.
    """
    if path.is_file() and path.suffix == ".zip":
        return archiving.check(path)
    if path.is_file() and path.name == receipt.RECEIPT_FILE:
        return receipt.check(path.parent)
    if path.is_file() and path.suffix == ".safetensors":
        return _lora(path)
    if (path / receipt.RECEIPT_FILE).is_file():
        return receipt.check(path)
    if (path / "character.yaml").is_file() and (path / "limner.db").is_file():
        return _project(Project.open(path))
    raise InputError(
        "This is no release, archive, project or LoRA"
        if path.exists()
        else "There is no such file",
        where=str(path),
        fix="Give a release folder, a .limner.zip, a project folder or a .safetensors file.",
    )


def _lora(path: Path) -> list[Finding]:
    """A LoRA beside its receipt is checked with it; alone only its weights can be."""
    if (path.parent / receipt.RECEIPT_FILE).is_file():
        return receipt.check(path.parent)
    try:
        told = tensorfile.header(path)[1].get("modelspec.hash_sha256", "").removeprefix("0x")
        actual = tensorfile.tensor_sha256(path)
    except InputError as error:
        return [finding("weights", path.name, f"{error.what}.", error.fix or "")]
    if not told:
        text = "It carries no hash of its weights, so nothing can be checked."
        return [finding("weights", path.name, text, "Release it with `limner release`.")]
    if actual != told:
        return [finding("weights", path.name, "The weights are not the ones that were released.")]
    return []


def _project(project: Project) -> list[Finding]:
    """Lock -> checkpoints -> renders -> releases of a project, against its records."""
    store, found = project.store, []
    if dataset := store.dataset():
        lock = project.relative(locks.lock_path(project, dataset))
        for text in locks.changed(project, dataset):
            fix = "Put the file back, or build the dataset again."
            found.append(finding("link lock", lock, f"{text}.", fix))
    chosen = story.judged_checkpoint(project, story.newest_reading(project))
    if run := store.run():
        for checkpoint in store.checkpoints(run.version):
            # an unpacked archive holds the chosen one only; the others can be trained again
            if checkpoint == chosen or project.path(checkpoint.path).is_file():
                found += _recorded(project, "link checkpoint", checkpoint.path, checkpoint.sha256)
    if record := store.verdict():
        for render in store.renders(record.grid_version, state="done"):
            if render.path and render.sha256:
                found += _recorded(project, "link verdict", render.path, render.sha256)
    if release := store.release():
        folder = project.root / release.path  # an absolute path stays what it is
        if not (folder / receipt.RECEIPT_FILE).is_file():
            found.append(finding("link bundle", release.path, "The release folder is missing."))
        else:
            found += receipt.check(folder)
    return found


def _recorded(project: Project, rule: str, path: str, sha256: str) -> list[Finding]:
    file = project.path(path)
    if not file.is_file():
        return [finding(rule, path, f"{path} is missing.")]
    if files.sha256_file(file) != sha256:
        return [finding(rule, path, f"{path} has changed since it was recorded.")]
    return []
