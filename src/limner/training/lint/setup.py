"""An ai-toolkit file as the run it describes: sections and keys wherever the file put them.

In: a `Doc`. Out: `Setup`s, one a process; a file without `job` is read as what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limner.training.lint.findings import Findings
from limner.training.lint.keys import MOVES, check_section, sections, unknown
from limner.training.lint.reading import Doc, Path_, get, number, whole

PROCESS_TYPES = ("diffusion_trainer", "sd_trainer", "ui_trainer", "textual_inversion_trainer")
OTHER_JOBS = ("generate", "mod", "extract")
BARE_SECTIONS = ("network", "optimizer", "training", "train", "model", "save", "sample", "datasets")
"""Sections that make a file without `job` recognisable as one meant for ai-toolkit."""

ARCHS = ("qwen_image", "qwen_image_edit", "qwen_image_edit_plus")

COUNTS = (
    ("train", "steps"), ("train", "batch_size"), ("train", "gradient_accumulation"),
    ("network", "linear"), ("save", "save_every"),
)  # fmt: skip
"""Settings that count something: less than 1 means nothing."""

NESTED = ("network", "save", "train", "model", "logging", "sample")


@dataclass
class Setup:
    """One process. data: section -> key -> value; at: (section, key) -> path in the file."""

    doc: Doc
    name: str
    bare: bool
    base: Path_
    process: dict[str, Any]
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    at: dict[tuple[str, str], Path_] = field(default_factory=dict)

    def value(self, section: str, key: str) -> Any:
        """The value of a key, None when the file does not set it."""
        return self.data.get(section, {}).get(key)

    def line(self, section: str, key: str = "") -> int | None:
        """Line of a key, of its section, or of the process."""
        path = self.at.get((section, key))
        return self.doc.line(*(path or (*self.base, section)))

    def comment(self, section: str, key: str) -> str:
        """The comment behind a key."""
        path = self.at.get((section, key))
        return self.doc.comment(*path) if path else ""

    def count(self, section: str, key: str, default: int) -> int:
        """A positive whole number; the trainer's default when absent or wrong."""
        found = whole(self.value(section, key))
        return default if found is None or found < 1 else found

    def real(self, section: str, key: str) -> float | None:
        """A finite number, else None."""
        return number(self.value(section, key))

    def flag(self, section: str, key: str, default: bool = False) -> bool:
        """A switch."""
        found = self.value(section, key)
        return found if isinstance(found, bool) else default

    def text(self, section: str, key: str) -> str:
        """A text, else ""."""
        found = self.value(section, key)
        return found.strip() if isinstance(found, str) else ""

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The data sets that are mappings."""
        listed = self.process.get("datasets")
        return [d for d in listed if isinstance(d, dict)] if isinstance(listed, list) else []

    def dataset_line(self, index: int, key: str = "") -> int | None:
        """Line of a data set or of its key."""
        path = (*self.base, "datasets", index)
        return self.doc.line(*path, key) if key else self.doc.line(*path)


def arch(setup: Setup) -> str:
    """The architecture that is meant: the file's, else by the model's name."""
    stated = setup.text("model", "arch").split(":")[0]
    name = setup.text("model", "name_or_path").lower()
    if stated in ARCHS or (stated and "qwen" not in name):
        return stated
    if "edit-25" in name:
        return "qwen_image_edit_plus"
    if "qwen" not in name and not setup.flag("model", "is_qwen"):
        return ""
    return "qwen_image_edit" if "edit" in name else "qwen_image"


def is_aitoolkit(data: Any) -> bool:
    """A file with `job`/`config`, or one that has the sections of one."""
    if not isinstance(data, dict):
        return False
    if "job" in data or isinstance(get(data, "config", "process"), list):
        return True
    here = [s for s in BARE_SECTIONS if s in data and s != "datasets"]
    return len(here) >= 2 or ("model" in data and ("datasets" in data or "network" in data))


def setups(doc: Doc, found: Findings) -> list[Setup]:
    """The processes of a file; what keeps it from starting is told."""
    data: dict[str, Any] = doc.data
    if "job" not in data or not isinstance(data.get("config"), dict):
        return [_bare(doc, found)]
    if data["job"] in OTHER_JOBS:
        found.add(
            "other-job",
            doc.line("job"),
            f"The job `{data['job']}` of ai-toolkit trains nothing: there is nothing to check",
            "job: extension, with a process of type diffusion_trainer",
        )
        return []
    name = get(data, "config", "name")
    if not isinstance(name, str) or not name:
        found.add(
            "no-name",
            doc.line("config"),
            "The run does not start: config file must have a config.name key",
            "config.name: my_char_v1 (it names the folder and the files)",
        )
    processes = get(data, "config", "process")
    if not isinstance(processes, list) or not any(isinstance(p, dict) for p in processes):
        found.add(
            "no-process",
            doc.line("config", "process"),
            "There is no process: nothing is trained",
            "config.process: a list with one diffusion_trainer",
        )
        return []
    made = []
    for index, process in enumerate(processes):
        if isinstance(process, dict):
            base: Path_ = ("config", "process", index)
            made.append(_job(doc, found, str(name or "my_char"), base, process))
    return made


def _job(doc: Doc, found: Findings, name: str, base: Path_, process: dict[str, Any]) -> Setup:
    setup = Setup(doc, name, False, base, process)
    kind = process.get("type")
    if kind not in PROCESS_TYPES:
        found.add(
            "unknown-process",
            doc.line(*base, "type"),
            f"ai-toolkit has no process type {kind!r} for LoRAs",
            "type: diffusion_trainer",
        )
    for section, misplaced in _misplaced(process).items():
        for key, value in misplaced.items():
            _tell(doc, found, section, key, value, (*base, section, key), "train")
    top = {k: v for k, v in process.items() if k not in _misplaced(process)}
    check_section(doc, found, "process", top, base)
    for section in NESTED:
        rows = process.get(section)
        if isinstance(rows, dict):
            check_section(doc, found, section, rows, (*base, section))
            _take(setup, section, rows, (*base, section))
        elif rows is not None:
            _no_mapping(doc, found, section, (*base, section))
    _check_lists(setup, found)
    for section, key in COUNTS:
        value = number(setup.value(section, key))
        if value is not None and value < 1:
            found.add(
                "wrong-type",
                setup.line(section, key),
                f"`{section}.{key}` wants a number of 1 or more, it has {value:g}",
                f"Write a positive {key}, or leave it out for the trainer's default.",
            )
    return setup


def _misplaced(process: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sections that guides have and ai-toolkit has not, e.g. `optimizer:`."""
    return {s: process[s] for s in ("optimizer", "training") if isinstance(process.get(s), dict)}


def _no_mapping(doc: Doc, found: Findings, section: str, path: Path_) -> None:
    found.add(
        "wrong-type",
        doc.line(*path),
        f"`{section}` must hold keys",
        f"Write `{section}:` and its keys below, indented.",
    )


def _take(setup: Setup, section: str, rows: dict[str, Any], path: Path_) -> None:
    for key, value in rows.items():
        setup.data.setdefault(section, {})[key] = value
        setup.at[section, key] = (*path, key)


def _check_lists(setup: Setup, found: Findings) -> None:
    """Keys of data sets, samples and the nested settings of `train`."""
    listed = setup.process.get("datasets")
    if listed is not None and not isinstance(listed, list):
        found.add(
            "wrong-type",
            setup.doc.line(*setup.base, "datasets"),
            "`datasets` must be a list",
            "Write `datasets:` and below it `- folder_path: ...`.",
        )
    for index, row in enumerate(listed if isinstance(listed, list) else []):
        path = (*setup.base, "datasets", index)
        if isinstance(row, dict):
            check_section(setup.doc, found, "datasets", row, path)
        else:
            _no_mapping(setup.doc, found, f"datasets[{index}]", path)
    samples = setup.value("sample", "samples")
    for index, row in enumerate(samples if isinstance(samples, list) else []):
        if isinstance(row, dict):
            check_section(
                setup.doc, found, "samples", row, (*setup.base, "sample", "samples", index)
            )
    for nested in ("ema_config", "validation_config"):
        rows = setup.value("train", nested)
        if isinstance(rows, dict):
            check_section(setup.doc, found, nested, rows, (*setup.at["train", nested],))


def _bare(doc: Doc, found: Findings) -> Setup:
    """A file without `job`: it cannot start; its keys are read as what they mean."""
    data: dict[str, Any] = doc.data
    found.add(
        "no-job",
        1 + doc.offset,
        "The run does not start: `ValueError: config file must have a job key`; ai-toolkit reads "
        "job, config.name and config.process only",
        "Put it below config.process[0], as in the mended file.",
    )
    setup = Setup(doc, "my_char_v1", True, (), {})
    inner = data.get("config")
    here = {**inner, **data} if isinstance(inner, dict) else data
    known = sections()
    for section, rows in here.items():
        if section in ("datasets", "trigger_word", "training_folder", "device"):
            setup.process[section] = rows
        if not isinstance(rows, dict) or section == "config":
            continue
        for key, value in rows.items():
            path = (section, key) if section in data else ("config", section, key)
            target = MOVES.get(f"{section}.{key}", f"{section}.{key}")
            if section not in known or key not in known[section]:
                check = section if section in known else _home(section)
                _tell(doc, found, section, key, value, path, check)
            if target is None:
                setup.at["train", "epochs"] = path
                setup.data.setdefault("train", {})["epochs"] = value
            elif "[]" not in target and target.count(".") == 1:
                place, name = target.split(".")
                setup.data.setdefault(place, {})[name] = value
                setup.at[place, name] = path
    if isinstance(setup.process.get("datasets"), list):
        _check_lists(setup, found)
    return setup


def _home(section: str) -> str:
    return "train" if section in ("training", "optimizer") else "process"


def _tell(
    doc: Doc, found: Findings, section: str, key: str, value: Any, path: Path_, check: str
) -> None:
    """A key of a bare file that nothing reads, at its line, with the place it belongs to."""
    if f"{section}.{key}" in MOVES or section in sections():
        where = check if section in sections() else section
        _unknown_key(doc, found, where, key, value, path)
        return
    target = f"{check}.{key}" if key in sections().get(check, {}) else None
    found.add(
        "moved-key" if target else "unknown-key",
        doc.line(*path),
        f"`{section}.{key}` is no key of ai-toolkit: it is ignored in silence",
        f"{target}: {value}" if target else "Remove it.",
    )


def _unknown_key(
    doc: Doc, found: Findings, section: str, key: str, value: Any, path: Path_
) -> None:
    what, instead, rule = unknown(section, key, value, sections().get(section, {}))
    found.add(rule, doc.line(*path), what, instead)
