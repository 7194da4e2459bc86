"""Pictures that are gone from takes/ and that a dataset still holds, byte for byte.

In: a project whose records name a picture that is not there. Out: where its copy lies, and the
copy put back; a picture whose copy is another file stays gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.events import Event, Notice
from limner.project import Project, files
from limner.project.records import Take


def gone(project: Project) -> list[Take]:
    """Finished takes whose file is not there."""
    takes = project.store.takes(state="done")
    return [t for t in takes if t.path and not project.path(t.path).is_file()]


def copies(project: Project, takes: Sequence[Take]) -> dict[int, Path]:
    """Take -> its copy in the newest dataset that still has one; told by name, not yet by bytes."""
    wanted = {take.id for take in takes}
    found: dict[int, Path] = {}
    newest = project.store.dataset() if wanted else None
    for version in range(newest.version if newest else 0, 0, -1):
        dataset = project.store.dataset(version)
        lock = dataset.lock if dataset else {}
        for row in (*lock.get("pictures", ()), *lock.get("held_out", ())):
            if row["take"] not in wanted - found.keys():
                continue
            file = project.path(f"{lock['root']}/{row['file']}")
            if file.is_file():
                found[row["take"]] = file
    return found


def put_back(project: Project) -> Iterator[Event]:
    """Copy back what can be; says how many."""
    lost = gone(project)
    found, done = copies(project, lost), 0
    for take in lost:
        data = found[take.id].read_bytes() if take.id in found else b""
        if data and take.path and files.sha256_bytes(data) == take.sha256:
            files.write_bytes(project.path(take.path), data)
            done += 1
    if done:
        were = "1 picture was" if done == 1 else f"{done} pictures were"
        yield Notice(f"{were} gone from takes/ and put back from the dataset.")
