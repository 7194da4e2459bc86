"""The project: one character's folder, its records and its database.

1. A project is a folder a person can read: character.yaml, limner.db and a folder a stage.
2. `Project.create` makes one, `Project.open` opens one; both give character, store and paths.
3. Records (shots, takes, measures, decisions, ...) live in limner.db, written only by `Store`.
4. Files are written whole (`files.write_*`); a stage holds `project.exclusive(...)` while it works.
5. Everything a stage hands to another goes through these records and files.
"""

from limner.project.folder import STAGE_FOLDERS, Project
from limner.project.store import Store

__all__ = ["STAGE_FOLDERS", "Project", "Store"]
