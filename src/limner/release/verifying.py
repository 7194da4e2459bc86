"""Does it still hold? One door for releases, archives, projects and single LoRA files.

In: a path. Out: findings, the first link that does not hold first; nothing is changed.
"""

from __future__ import annotations

from pathlib import Path

from limner.errors import InputError
from limner.project import Project
from limner.release import archiving, locks, proving, receipt, story, weights
from limner.release.receipt import Finding, finding


def verify(path: Path, project: Project | None = None) -> list[Finding]:
    """Findings {rule, severity, file, text, fix} of a release folder, its receipt.json, a
    .limner.zip, a project folder or a released .safetensors; empty when everything holds.

    project: hold a release or a LoRA against this project too, every link made again from its
    records and files. Raises InputError when the path is none of these.
    """
    if path.is_file() and path.suffix == ".zip":
        return archiving.check(path)
    if path.is_file() and path.name == receipt.RECEIPT_FILE:
        return _release(path.parent, project)
    if path.is_file() and path.suffix == ".safetensors":
        return _lora(path, project)
    if (path / receipt.RECEIPT_FILE).is_file():
        return _release(path, project)
    if (path / "character.yaml").is_file() and (path / "limner.db").is_file():
        return _project(Project.open(path))
    raise InputError(
        "This is no release, archive, project or LoRA"
        if path.exists()
        else "There is no such file",
        where=str(path),
        fix="Give a release folder, a .limner.zip, a project folder or a .safetensors file.",
    )


def _release(folder: Path, project: Project | None) -> list[Finding]:
    found = receipt.check(folder)
    if project is None or found:
        return found
    return proving.against(folder, project)


def _lora(path: Path, project: Project | None) -> list[Finding]:
    """A LoRA beside its receipt is checked with it; alone, by the seals in its own header."""
    if (path.parent / receipt.RECEIPT_FILE).is_file():
        return _release(path.parent, project)
    try:
        found = [finding(rule, path.name, text) for rule, text in weights.broken(path)]
    except InputError as error:
        return [finding("weights", path.name, f"{error.what}.", error.fix or "")]
    if project is None or found:
        return found
    return proving.lora_against(path, project)


def _project(project: Project) -> list[Finding]:
    """Takes -> lock -> checkpoints -> renders -> releases of a project, against its records."""
    store = project.store
    found: list[Finding] = []
    for take in store.kept():
        # one that is gone is put back from the dataset, or asked for by `status`
        if take.path and take.sha256 and project.path(take.path).is_file():
            again = f"Put the file back, or `limner reject {take.id}` and generate another."
            found += receipt.recorded(project, "link take", take.path, take.sha256, again)
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
                again = "Put the file back, or `limner train --fresh`."
                found += receipt.recorded(
                    project, "link checkpoint", checkpoint.path, checkpoint.sha256, again
                )
    if record := store.verdict():
        for render in store.renders(record.grid_version, state="done"):
            if render.path and render.sha256:
                again = "`limner evaluate` draws it again, then `limner verdict`."
                found += receipt.recorded(
                    project, "link verdict", render.path, render.sha256, again
                )
    if release := store.release():
        folder = project.root / release.path  # an absolute path stays what it is
        if not (folder / receipt.RECEIPT_FILE).is_file():
            found.append(finding("link bundle", release.path, "The release folder is missing."))
        else:
            found += receipt.check(folder)
    return found
