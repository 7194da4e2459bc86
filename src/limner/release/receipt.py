"""The receipt: hash by hash from the dataset's lock to the released bundle, and its check.

In: a release folder. Out: receipt.json, or findings that name the first link that does not hold.
Each link's document names the SHA-256 of the link before it, so none can be exchanged alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.models import tensorfile
from limner.project import Project, files
from limner.release.locks import LOCK_FILE

RECEIPT_FILE = "receipt.json"
FORMAT = "limner receipt 1"
HUBS_OWN = (".gitattributes", ".cache")
"""What the hub adds to a repository and to a download: no part of any release."""
Finding = dict[str, str]


def finding(rule: str, file: str, text: str, fix: str = "", severity: str = "error") -> Finding:
    """One finding in the shape every `check` uses."""
    return {"rule": rule, "severity": severity, "file": file, "text": text, "fix": fix}


def recorded(
    project: Project, rule: str, path: str, sha256: str, fix: str = ""
) -> Iterator[Finding]:
    """A recorded file that is gone or has other bytes. fix: what brings it back."""
    try:
        file = project.path(path)
    except InputError as error:
        yield finding(rule, path, f"{error.what}.")
        return
    if not file.is_file():
        yield finding(rule, path, f"{path} is missing.", fix)
    elif files.sha256_file(file) != sha256:
        yield finding(rule, path, f"{path} has changed since it was recorded.", fix)


def encode(data: Any) -> bytes:
    """The one spelling of a receipt, so that even a changed blank is seen."""
    text = json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True)
    return (text + "\n").encode("utf-8")


def document(after: str, data: dict[str, Any]) -> bytes:
    """The bytes of one link's document: the hash of the link before it, then what it says."""
    text = json.dumps({"after": after, **data}, indent=1, ensure_ascii=False)
    return (text + "\n").encode("utf-8")


def table(folder: Path) -> list[dict[str, Any]]:
    """Every file of the folder but the receipt and the hub's own: path, bytes, sha256; by path."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() or p.is_symlink())
    return [
        {
            "path": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": files.sha256_file(path),
        }
        for path in found
        if path.relative_to(folder).as_posix() != RECEIPT_FILE
        and path.relative_to(folder).parts[0] not in HUBS_OWN
    ]


def table_sha256(rows: list[dict[str, Any]]) -> str:
    """Hash of the file table: the bundle's own hash."""
    return files.sha256_bytes(files.canonical_json(rows).encode("utf-8"))


def write(
    folder: Path,
    links: list[dict[str, str]],
    lora: str,
    facts: dict[str, Any],
    optional: Sequence[str] = (),
) -> str:
    """Write receipt.json for `folder` and return the bundle's hash.

    `links`: {link, file, sha256} in order from lock to the last one known, an empty file for one
    that is not published; `lora`: file name; `optional`: parts (a file, or a folder with a slash)
    that may be taken out whole, as for a site that does not want them.
    """
    rows = table(folder)
    bundle = table_sha256(rows)
    chain = [*links, {"link": "bundle", "file": lora, "sha256": bundle}]
    body = {"format": FORMAT, **facts, "chain": chain, "files": rows, "optional": list(optional)}
    body["sha256"] = files.sha256_bytes(encode(body))
    files.write_bytes(folder / RECEIPT_FILE, encode(body))
    return bundle


def check(folder: Path) -> list[Finding]:
    """Findings of a release folder, the first broken link of the chain first; empty when it holds.

    Raises InputError when there is no receipt.
    """
    path = folder / RECEIPT_FILE
    if not path.is_file():
        fix = "Point at a release folder, a .limner.zip or a project."
        raise InputError("There is no receipt here", where=str(path), fix=fix)
    raw = path.read_bytes()
    try:
        receipt = json.loads(raw)
        rows, chain = receipt["files"], receipt["chain"]
        told = receipt.pop("sha256")
        expected = {str(r["path"]): str(r["sha256"]) for r in rows}
        links = [(str(c["link"]), str(c["file"]), str(c["sha256"])) for c in chain]
        parts = [str(p) for p in receipt.get("optional", [])]
    except (ValueError, TypeError, KeyError):
        return [finding("receipt", RECEIPT_FILE, "The receipt cannot be read: it was changed.")]
    found = []
    whole = {**receipt, "sha256": told}
    if encode(whole) != raw or files.sha256_bytes(encode(receipt)) != told:
        found.append(
            finding("receipt", RECEIPT_FILE, "The receipt itself was changed.", "Get it again.")
        )
    if table_sha256(rows) != links[-1][2]:
        found.append(finding("receipt", RECEIPT_FILE, "The file table is not the bundle's."))
    for name in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")):
        if (folder / name).is_symlink():
            return [*found, finding("file", name, f"{name} is a link to somewhere else.")]
    actual = {r["path"]: r["sha256"] for r in table(folder)}
    expected = _without_absent_parts(expected, actual, parts)
    if not found:  # a chain read from a changed receipt would say nothing
        broken = (_held(folder, link, links, expected, actual) for link in links)
        first = next((f for f in broken if f), None)
        found += [first] if first else []
    named = {f["file"] for f in found}
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name) and name not in named:
            found.append(finding("file", name, _difference(name, expected, actual)))
    return found


def _without_absent_parts(
    expected: dict[str, str], actual: dict[str, str], parts: list[str]
) -> dict[str, str]:
    """The expected files less those of optional parts of which nothing at all is there."""
    absent = [p for p in parts if not any(name.startswith(p) for name in actual)]
    return {k: v for k, v in expected.items() if not any(k.startswith(p) for p in absent)}


def _difference(name: str, expected: dict[str, str], actual: dict[str, str]) -> str:
    if name not in actual:
        return f"{name} is missing."
    if name not in expected:
        return f"{name} is not in the receipt."
    return f"{name} has changed since the release was made."


def _held(folder: Path, link: tuple[str, str, str], *rest: Any) -> Finding | None:
    """`_link`, with a document that cannot be read as a finding of its own."""
    try:
        return _link(folder, link, *rest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, InputError):
        return finding(f"link {link[0]}", link[1], f"The {link[0]} cannot be read.")


def _link(
    folder: Path,
    link: tuple[str, str, str],
    links: list[tuple[str, str, str]],
    expected: dict[str, str],
    actual: dict[str, str],
) -> Finding | None:
    """The finding of one link of the chain, None when it holds."""
    name, file, told = link
    before = links[links.index(link) - 1] if links.index(link) else None
    if name == "bundle":
        return _bundle_link(folder, file, links, expected, actual)
    rule = f"link {name}"
    if not file:  # only its hash is published; the next link must name it
        return None
    if expected.get(file) != told:
        return finding(rule, file, f"The {name} in the chain is not the {name} in the file table.")
    if actual.get(file) != told:
        return finding(
            rule, file, f"The {name} does not hold: {_difference(file, expected, actual)}"
        )
    if before is not None:
        after = json.loads((folder / file).read_bytes()).get("after")
        if after != before[2]:
            return finding(rule, file, f"The {name} does not follow from this {before[0]}.")
    return None


def _bundle_link(
    folder: Path,
    lora: str,
    links: list[tuple[str, str, str]],
    expected: dict[str, str],
    actual: dict[str, str],
) -> Finding | None:
    """The released LoRA must hold the tensor bytes of the checkpoint and name this lock."""
    if actual.get(lora) is None or actual[lora] != expected.get(lora):
        return finding(
            "link bundle", lora, f"The bundle does not hold: {_difference(lora, expected, actual)}"
        )
    known = {name: file for name, file, _ in links}
    checkpoint = json.loads((folder / known["checkpoint"]).read_bytes())
    released = checkpoint.get("released_tensor_sha256", checkpoint.get("tensor_sha256"))
    if tensorfile.tensor_sha256(folder / lora) != released:
        return finding("link bundle", lora, "The LoRA's weights are not the checkpoint's weights.")
    lock = next(sha for name, _, sha in links if name == "lock")
    if tensorfile.header(folder / lora)[1].get("limner.lock_sha256") != lock:
        return finding("link bundle", lora, f"The LoRA names another {LOCK_FILE}.")
    return None
