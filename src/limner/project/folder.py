"""The project folder: making it, opening it, and the paths in it."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from limner.errors import InputError, NotAProjectError, StoreError, UsageError
from limner.project import files, yamlfile
from limner.project.store import Store

if TYPE_CHECKING:
    from limner.project.settings import Character

INBOX = "inbox"
"""Where pictures made elsewhere are put for `limner inbox`, in a project that lives by them."""

STAGE_FOLDERS = ("shots", "takes", "dataset", "models", "logs", "renders", "release")
CHARACTER_FILE = "character.yaml"
DATABASE_FILE = "limner.db"
ASKED_FILE = "renders/asked.json"
"""What the newest evaluation was asked for: evaluation writes it, status reads it."""


class Project:
    """One character's folder. Use `Project.create` or `Project.open`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        name: str,
        trigger: str,
        class_word: str,
        likeness: str,
        consent: dict[str, str] | None = None,
        description: str = "",
        source: str = "atelier",
    ) -> Project:
        """Make the folder with character.yaml, limner.db and the stage folders.

        source: where its pictures come from, as `source.name` takes it. Raises InputError for a
        wrong value, UsageError when something is there already.
        """
        file = root / CHARACTER_FILE
        if file.exists() or _has_records(root / DATABASE_FILE):
            raise UsageError(
                "There is a project here already",
                where=str(root),
                fix="Choose another folder with --dir, or work with this one.",
            )
        consent_text = ""
        if consent:
            lines = "".join(
                f"  {k}: {json.dumps(v, ensure_ascii=False)}\n" for k, v in consent.items()
            )
            consent_text = f"consent:\n{lines}"
        text = yamlfile.TEMPLATE.format(
            name=json.dumps(name, ensure_ascii=False),
            trigger=json.dumps(trigger),
            class_word=json.dumps(class_word),
            likeness=likeness,
            consent=consent_text,
            description=json.dumps(description, ensure_ascii=False),
            source=yamlfile.source_lines(source),
        )
        yamlfile.validate(yamlfile.parse(text, file), None)
        try:
            for folder in (*STAGE_FOLDERS, *([INBOX] if source == INBOX else [])):
                (root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.explain_os_error(error, root) from None
        Store(root / DATABASE_FILE).close()
        files.write_text(file, text)  # last: a folder with character.yaml is a whole project
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> Project:
        """Open a folder. Raises NotAProjectError when it is none."""
        if not root.is_dir():
            raise NotAProjectError(
                "This is a file, no folder" if root.is_file() else "There is no such folder",
                where=str(root),
                fix="Make one with `limner new`.",
            )
        if not (root / CHARACTER_FILE).is_file() or not (root / DATABASE_FILE).is_file():
            missing = [f for f in (CHARACTER_FILE, DATABASE_FILE) if not (root / f).is_file()]
            raise NotAProjectError(
                f"This folder is no Limner project ({' and '.join(missing)} missing)",
                where=str(root),
                fix="Go to a project with `limner -C DIR ...`, or make one with `limner new`.",
            )
        if (root / DATABASE_FILE).stat().st_size == 0:  # SQLite would take it for a new one
            raise StoreError(
                "limner.db is empty: its records are lost, the pictures are not",
                where=str(root / DATABASE_FILE),
                fix="Take the file from an archive (NAME.limner.zip) or another backup.",
            )
        return cls(root)

    @cached_property
    def character(self) -> Character:
        """The validated character.yaml. Raises InputError with line and field."""
        return yamlfile.load(self.root / CHARACTER_FILE)

    @cached_property
    def store(self) -> Store:
        """The database. Raises StoreError."""
        return Store(self.root / DATABASE_FILE)

    def folder(self, stage: str) -> Path:
        """A stage's folder, made if it is missing."""
        path = self.root / stage
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.explain_os_error(error, path) from None
        return path

    def relative(self, path: Path) -> str:
        """A path inside the project as it is written in records."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def path(self, relative: str) -> Path:
        """A recorded path as a file. Raises InputError when it would leave the project."""
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise InputError("A recorded path leaves the project folder", where=relative)
        return path

    def change_character(self, **updates: object) -> Character:
        """Set keys of character.yaml (dots as double underscores), comments kept."""
        dotted = {key.replace("__", "."): value for key, value in updates.items()}
        character = yamlfile.change(self.root / CHARACTER_FILE, dotted)
        self.__dict__.pop("character", None)
        return character

    def exclusive(self, stage: str) -> AbstractContextManager[None]:
        """Hold a stage for this process. Raises UsageError when another process works on it."""
        return files.exclusive(self.root / ".limner" / f"{stage}.lock", f"`{stage}`")


def _has_records(database: Path) -> bool:
    """Whether a database without character.yaml holds work; an empty one is a making cut short."""
    if not database.exists():
        return False
    store = Store(database)
    try:
        return any(store.counts().values())
    finally:
        store.close()
