"""A bundle on the Hugging Face Hub, checked after it arrived.

In: a release folder that verifies, a repository name. Out: its address. The key comes from
HF_TOKEN or the hub's own login; the address of another hub from HF_ENDPOINT.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from limner.errors import InputError, MissingExtraError, UsageError, WorkFailedError, first_line
from limner.events import Events, Notice, Progress, Result
from limner.project import Project, files
from limner.release import kits, likeness, receipt

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def push(
    project: Project,
    folder: Path,
    repository: str,
    *,
    private: bool = True,
    with_dataset: bool = False,
) -> Events:
    """Upload a release as it lies in `folder`; Result: {repository, url, commit, private, lora,
    sha256, removed}.

    Civitai's kit stays here, the dataset too unless with_dataset. What the receipt there lists of
    an older release and this one does not send is removed in the same go; files of no release
    stay, and are named. Raises UsageError (name, no key),
    InputError (the bundle does not hold, no consent), WorkFailedError (the hub refused, the file
    that arrived is another).
    """
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(
            "A repository is called OWNER/NAME", where=repository, fix="E.g. you/grace-lora."
        )
    likeness.consent(project)
    if with_dataset and not likeness.allows(project, likeness.DATASET):
        raise InputError(
            "The consent does not cover giving away the training pictures",
            where="character.yaml: consent.scope",
            fix="Leave --with-dataset out, or ask the person.",
        )
    if faults := receipt.check(folder):
        raise InputError(
            f"The bundle does not hold: {faults[0]['text']}",
            where=str(folder),
            fix="Release again: limner release",
        )
    lora, which = _told(folder)
    yield Notice(f"Sending {which}, to {repository}.")
    yield Progress("upload", 0, 2, note=repository)
    ignored = [f"{kits.CIVITAI}/*"] + ["*_dataset.zip"] * (not with_dataset)
    api = _api()
    try:
        url = str(api.create_repo(repository, private=private, exist_ok=True, repo_type="model"))
        hidden = bool(api.repo_info(repository, repo_type="model").private)
        if private and not hidden:  # create_repo leaves a repository that is there as it is
            raise _VisibleError
        removed, strange = _left_over(api, repository, _sent(folder, ignored))
        if strange:
            text = "Files there that are of no release stay, and `limner verify` names them: "
            yield Notice(text + ", ".join(strange[:5]) + ", ..." * (len(strange) > 5), "warning")
        done = api.upload_folder(
            folder_path=str(folder),
            repo_id=repository,
            repo_type="model",
            commit_message=f"Release {folder.name} by Limner",
            ignore_patterns=ignored,
            delete_patterns=[glob.escape(name) for name in removed] or None,
        )
        yield Progress("upload", 1, 2, note="checking what arrived")
        arrived = _sha256_there(api, repository, lora)
    except _VisibleError:
        raise UsageError(
            "That repository is public already, so what is sent there is seen by everybody",
            where=repository,
            fix="Add --public if that is meant, or give another name.",
        ) from None
    except Exception as error:  # the client's HTTP library, and its errors, change by version
        raise _refused(error, repository) from None
    if arrived != files.sha256_file(folder / lora):
        raise WorkFailedError(
            "The LoRA on the hub is another file than the one sent",
            where=f"{repository}: {lora}",
            fix="Push again.",
        )
    if hidden:
        yield Notice("The repository is private; make it public on the hub when you are ready.")
    value = {
        "repository": repository,
        "url": url,
        "commit": str(done.oid),
        "private": hidden,
        "lora": lora,
        "sha256": arrived,
        "removed": removed,
    }
    project.store.log("release", "pushed", **value)
    yield Progress("upload", 2, 2)
    yield Result(value)


class _VisibleError(Exception):
    """A private release was asked for, and the repository is public."""


def _sent(folder: Path, ignored: list[str]) -> set[str]:
    """Paths that a push sends; patterns as the hub's client reads them."""
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {n for n in names if not any(fnmatch.fnmatchcase(n, pattern) for pattern in ignored)}


def _left_over(api: Any, repository: str, sent: set[str]) -> tuple[list[str], list[str]]:
    """What lies there and is not sent: files of an older release by the receipt there, others.

    Only files that a receipt lists are Limner's to remove: a repository may hold more.
    """
    there = set(api.list_repo_files(repository, repo_type="model"))
    rest = {n for n in there - sent if n.split("/")[0] not in receipt.HUBS_OWN}
    if not rest or receipt.RECEIPT_FILE not in there:
        return [], sorted(rest)
    with tempfile.TemporaryDirectory() as place:
        name = receipt.RECEIPT_FILE
        path = api.hf_hub_download(repository, name, repo_type="model", local_dir=place)
        try:
            listed = {str(r["path"]) for r in json.loads(Path(path).read_bytes())["files"]}
        except (ValueError, TypeError, KeyError):
            listed = set()
    return sorted(rest & listed), sorted(rest - listed)


def _told(folder: Path) -> tuple[str, str]:
    """(file of the LoRA, which release this is) by the receipt."""
    told = json.loads((folder / receipt.RECEIPT_FILE).read_bytes())
    chosen = told.get("chosen") or {}
    which = f"release {told.get('release')}, {chosen.get('checkpoint')}"
    if chosen.get("strength") is not None:
        which += f" at strength {chosen['strength']:g}"
    return str(told["chain"][-1]["file"]), f"{which}, {BY.get(str(chosen.get('by')), NOBODY)}"


BY = {"verdict": "the verdict's choice", "person": "chosen by a person"}
NOBODY = "the last checkpoint, not evaluated"


def _api() -> Any:
    """The hub's client."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingExtraError(
            "Pushing to the hub needs huggingface_hub, which is not installed",
            fix="pip install 'limner[train]'",
        ) from None
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN"))


def _sha256_there(api: Any, repository: str, lora: str) -> str:
    """SHA-256 of the LoRA as the hub states it."""
    found = api.get_paths_info(repository, [lora], repo_type="model")
    if not found or found[0].lfs is None:
        return ""
    return str(found[0].lfs.sha256)


def _refused(error: Exception, repository: str) -> Exception:
    """A hub's refusal in words a person can act on; the token is in none of them."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = first_line(error)[:200]
    token = os.environ.get("HF_TOKEN")
    said = said.replace(token, "<HF_TOKEN>") if token else said
    if status in (401, 403):
        return UsageError(
            "The hub did not accept the key for this repository",
            where=repository,
            fix="Set HF_TOKEN to a key that may write there, or log in with `hf auth login`.",
        )
    if type(error).__name__ == "OfflineModeIsEnabled":
        return UsageError(
            "HF_HUB_OFFLINE is set, so nothing is sent", where=repository, fix="Unset it."
        )
    return WorkFailedError(
        f"The hub did not take the release ({said})",
        where=repository,
        fix="Nothing is lost; run the same command again. What was sent is not sent twice.",
    )
