"""A bundle or a single LoRA held against the project it came from, link by link.

In: a release folder or a released .safetensors, and a project. Out: findings, the first link that
does not hold first: what the bundle says is made again from the project's records and files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.models import tensorfile
from limner.project import Project, files
from limner.project.records import Release, Run
from limner.release import bundle, locks, reading, receipt, weights
from limner.release.receipt import Finding, finding, recorded

FIX = "One of the two was changed or belongs to another project."


def against(folder: Path, project: Project) -> list[Finding]:
    """Findings of a release folder's chain made anew from the project's records."""
    try:
        told = json.loads((folder / receipt.RECEIPT_FILE).read_bytes())
        chain = {str(c["link"]): c for c in told["chain"]}
        return list(_links(folder, chain, project))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        text = "The receipt cannot be held against a project."
        return [finding("receipt", receipt.RECEIPT_FILE, text)]


def _links(folder: Path, chain: dict[str, Any], project: Project) -> Iterator[Finding]:
    said = {
        name: json.loads((folder / link["file"]).read_bytes())
        for name, link in chain.items()
        if name not in ("lock", "bundle") and link["file"]
    }
    run = project.store.run(int(said["run"]["version"]))
    dataset = project.store.dataset(run.dataset_version) if run else None
    if run is None or dataset is None:
        yield finding("link run", chain["run"]["file"], "The project has no such run.", FIX)
        return
    if dataset.lock_sha256 != chain["lock"]["sha256"]:
        yield finding("link lock", locks.LOCK_FILE, "The project has another dataset lock.", FIX)
    for text in locks.changed(project, dataset):
        yield finding("link lock", locks.LOCK_FILE, f"{text}.", "Put the file back.")
    yield from _documents(project, run, said, chain)
    if "verdict" in said:
        record = project.store.verdict(int(said["verdict"]["version"]))
        for render in project.store.renders(record.grid_version, state="done") if record else []:
            if render.path and render.sha256:
                yield from recorded(project, "link verdict", render.path, render.sha256)
    yield from _bundle(project, chain["bundle"])


def _documents(
    project: Project, run: Run, said: dict[str, Any], chain: dict[str, Any]
) -> Iterator[Finding]:
    """Plan, run, checkpoint and verdict written again; their bytes must be the bundle's."""
    points = project.store.checkpoints(run.version)
    point = next((c for c in points if c.step == said["checkpoint"]["step"]), None)
    if point is None:
        yield finding("link checkpoint", "", "The project has no such checkpoint.", FIX)
        return
    broken = list(recorded(project, "link checkpoint", point.path, point.sha256))
    yield from broken
    if broken:
        return
    record = project.store.verdict(int(said["verdict"]["version"])) if "verdict" in said else None
    read = reading.read(record) if record else None
    measured = weights.measured(project.path(point.path))
    for name, data in bundle.documents(project, run, point, read, measured):
        if name not in said:
            continue
        raw = receipt.document(str(said[name]["after"]), data)
        if files.sha256_bytes(raw) != chain[name]["sha256"]:
            text = f"The {name} in the bundle is not the {name} of the project."
            yield finding(f"link {name}", chain[name]["file"], text, FIX)
    if "verdict" in said and record is None:
        yield finding("link verdict", "", "The project has no such verdict.", FIX)


def _bundle(project: Project, link: dict[str, str]) -> Iterator[Finding]:
    """The project must have made a bundle of this hash."""
    hashes = {r.data.get("bundle_sha256") for r in releases(project)}
    if link["sha256"] not in hashes:
        yield finding("link bundle", link["file"], "The project made no such bundle.", FIX)


def releases(project: Project) -> list[Release]:
    """All releases of a project, the oldest first."""
    newest = project.store.release()
    numbers = range(1, (newest.version if newest else 0) + 1)
    return [r for n in numbers if (r := project.store.release(n)) is not None]


def lora_against(path: Path, project: Project) -> list[Finding]:
    """Findings of a single LoRA: its release, its lock, its checkpoint's weights rounded anew."""
    header = tensorfile.header(path)[1]
    sha256 = files.sha256_file(path)
    mine = [r for r in releases(project) if r.data.get("sha256") == sha256]
    found = []
    if not mine:
        text = "The project released no file of these bytes."
        found.append(finding("link bundle", path.name, text, FIX))
    run = project.store.run(int(header["limner.run"])) if header.get("limner.run") else None
    run = run or project.store.run()
    dataset = project.store.dataset(run.dataset_version) if run else None
    if run is None or dataset is None:
        return [finding("link run", path.name, "The project has no run.", FIX)]
    if header.get("limner.lock_sha256") != dataset.lock_sha256:
        found.insert(0, finding("link lock", path.name, "It names another dataset lock.", FIX))
    found += [
        finding("link lock", locks.LOCK_FILE, f"{t}.") for t in locks.changed(project, dataset)
    ]
    step = header.get("limner.step", "")
    point = next((c for c in project.store.checkpoints(run.version) if str(c.step) == step), None)
    if point is None:
        return [*found, finding("link checkpoint", path.name, "No such checkpoint.", FIX)]
    broken = list(recorded(project, "link checkpoint", point.path, point.sha256))
    if not broken:
        made = weights.measured(project.path(point.path)).released_sha256
        if made != tensorfile.tensor_sha256(path):
            text = "Its weights are not the checkpoint's weights."
            broken.append(finding("link checkpoint", path.name, text, FIX))
    return found + broken
