"""The project's database: the only place that writes limner.db.

SQLite in WAL mode, so that a CLI beside a web page neither corrupts nor deadlocks; every write is
one short immediate transaction. Rows come back as the frozen records of `limner.project.records`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from limner.errors import StoreError
from limner.project import records as R
from limner.project.schema import MIGRATIONS

BUSY_TIMEOUT_S = 20.0
_JSON_COLUMNS = {
    *("attributes", "request", "labels", "reasons", "dropped", "lock", "train", "held_out"),
    *("data", "config", "settings"),
}
T = TypeVar("T")


def now() -> str:
    """UTC time as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _encode(name: str, value: Any) -> Any:
    if name in _JSON_COLUMNS:
        return json.dumps(value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value


class Store:
    """Typed access to one project's database.

    Raises StoreError for a newer schema, a damaged file, a locked or unwritable one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._migrate()
        except sqlite3.Error as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Close the connection; the store cannot be used after."""
        self._db.close()

    def _migrate(self) -> None:
        have = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if have > len(MIGRATIONS):
            raise StoreError(
                f"This project was written by a newer Limner (schema {have}, here "
                f"{len(MIGRATIONS)})",
                where=str(self.path),
                fix="Update Limner: pip install --upgrade limner",
            )
        self._db.execute("PRAGMA foreign_keys = ON")
        if have == len(MIGRATIONS):
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("BEGIN IMMEDIATE")
        try:  # another process may have migrated while we waited for the lock
            have = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            for number, script in enumerate(MIGRATIONS[have:], start=have + 1):
                for statement in script.split(";"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number}")
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _explain(self, error: sqlite3.Error) -> StoreError:
        text = str(error)
        fixes = {
            "readonly": "Give write permission on the folder, or copy the project elsewhere.",
            "unable to open": "Check that the folder exists and can be written.",
            "locked": "Another process holds it for long; wait and run this again.",
            "full": "Free some space and run the same command again; what is done stays done.",
            "malformed": "Take it from an archive (NAME.limner.zip) or another backup; pictures "
            "are untouched.",
            "not a database": "Take it from an archive (NAME.limner.zip) or another backup.",
        }
        fix = next((f for key, f in fixes.items() if key in text), None)
        return StoreError(f"limner.db: {text}", where=str(self.path), fix=fix)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes of the block, or none. Blocks nest: the outer one commits."""
        if self._db.in_transaction:
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._explain(error) from None

    # ---- rows

    def _rows(self, record: type[T], sql: str, args: Sequence[Any] = ()) -> list[T]:
        try:
            rows = self._db.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from None
        names = [f.name for f in fields(record)]  # type: ignore[arg-type]
        return [record(**{n: self._decode(n, row[n]) for n in names}) for row in rows]

    @staticmethod
    def _decode(name: str, value: Any) -> Any:
        if name in _JSON_COLUMNS:
            return json.loads(value)
        return bool(value) if name == "face_visible" else value

    def _insert(self, table: str, values: dict[str, Any], *, replace: bool = False) -> int:
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        marks = ", ".join("?" * len(values))
        sql = f"{verb} INTO {table} ({', '.join(values)}) VALUES ({marks})"
        with self.transaction():
            cursor = self._db.execute(sql, [_encode(k, v) for k, v in values.items()])
        return int(cursor.lastrowid or 0)

    def _update(self, table: str, where: dict[str, Any], values: dict[str, Any]) -> None:
        sql = (
            f"UPDATE {table} SET {', '.join(f'{k} = ?' for k in values)} "
            f"WHERE {' AND '.join(f'{k} = ?' for k in where)}"
        )
        args = [_encode(k, v) for k, v in values.items()] + list(where.values())
        with self.transaction():
            self._db.execute(sql, args)

    def _next_version(self, table: str) -> int:
        row = self._db.execute(f"SELECT COALESCE(MAX(version), 0) + 1 FROM {table}").fetchone()
        return int(row[0])

    def counts(self) -> dict[str, int]:
        """Rows a table, for `status`."""
        names = [
            *("shots", "takes", "captions", "datasets", "plans", "runs", "checkpoints"),
            *("grids", "renders", "verdicts", "releases"),
        ]
        sql = "SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {n}) AS {n}" for n in names)
        try:
            return dict(self._db.execute(sql).fetchone())
        except sqlite3.Error as error:
            raise self._explain(error) from None

    # ---- shots and takes

    def replace_shots(self, shots: Iterable[R.Shot]) -> None:
        """Write a new plan in place of the old one. Shots with takes stay (the shots stage refuses
        before); raises StoreError where the new plan holds one of them."""
        with self.transaction():
            self._db.execute("DELETE FROM shots WHERE id NOT IN (SELECT shot_id FROM takes)")
            for shot in shots:
                self._insert("shots", {f.name: getattr(shot, f.name) for f in fields(shot)})

    def update_shot(self, shot_id: str, **values: Any) -> None:
        """Change fields of one shot."""
        self._update("shots", {"id": shot_id}, values)

    def shots(self, state: str | None = None) -> list[R.Shot]:
        """Shots by position, all or of one state."""
        where, args = ("WHERE state = ?", [state]) if state else ("", [])
        return self._rows(R.Shot, f"SELECT * FROM shots {where} ORDER BY position", args)

    def shot(self, shot_id: str) -> R.Shot | None:
        """One shot, or None."""
        found = self._rows(R.Shot, "SELECT * FROM shots WHERE id = ?", [shot_id])
        return found[0] if found else None

    def journal_take(self, shot_id: str, source: str, seed: int, request: dict[str, Any]) -> R.Take:
        """Write a pending take before anything is made or paid; `attempt` counts up a shot."""
        with self.transaction():
            row = self._db.execute(
                "SELECT COALESCE(MAX(attempt), 0) + 1 FROM takes WHERE shot_id = ? AND source = ?",
                [shot_id, source],
            ).fetchone()
            take_id = self._insert(
                "takes",
                {
                    "shot_id": shot_id,
                    "source": source,
                    "attempt": int(row[0]),
                    "seed": seed,
                    "request": request,
                    "created_at": now(),
                },
            )
        return self.take(take_id)

    def update_take(self, take_id: int, **values: Any) -> None:
        """Change fields of one take; finishing states get their time."""
        if values.get("state") in ("done", "failed"):
            values.setdefault("finished_at", now())
        self._update("takes", {"id": take_id}, values)

    def take(self, take_id: int) -> R.Take:
        """One take. Raises StoreError when there is none."""
        found = self._rows(R.Take, "SELECT * FROM takes WHERE id = ?", [take_id])
        if not found:
            raise StoreError(f"There is no take {take_id}", where=str(self.path))
        return found[0]

    def takes(self, *, shot_id: str | None = None, state: str | None = None) -> list[R.Take]:
        """Takes in shot order, filtered."""
        where = ["1"] + ["t.shot_id = ?"] * bool(shot_id) + ["t.state = ?"] * bool(state)
        return self._rows(
            R.Take,
            "SELECT t.* FROM takes t JOIN shots s ON s.id = t.shot_id "
            f"WHERE {' AND '.join(where)} ORDER BY s.position, t.id",
            [a for a in (shot_id, state) if a],
        )

    def kept(self) -> list[R.Take]:
        """Takes whose standing decision is keep, in shot order; at most one a shot."""
        standing = self.standing_decisions()
        found: dict[str, R.Take] = {}
        for take in self.takes(state="done"):
            decision = standing.get(take.id)
            if decision is not None and decision.verdict == "keep":
                found[take.shot_id] = take
        return list(found.values())

    # ---- measures, decisions, captions

    def put_measures(self, take_id: int, measures: Iterable[R.Measure]) -> None:
        """Write measures of a take; a name measured again replaces the old value."""
        self._put_values("measures", "take_id", take_id, measures)

    def measures(self, take_id: int) -> dict[str, R.Measure]:
        """Measures of a take by name."""
        return self._values("measures", "take_id", take_id)

    def _put_values(self, table: str, key: str, owner: int, values: Iterable[R.Measure]) -> None:
        with self.transaction():
            for value in values:
                row = {key: owner, **{f.name: getattr(value, f.name) for f in fields(value)}}
                self._insert(table, row, replace=True)

    def _values(self, table: str, key: str, owner: int) -> dict[str, R.Measure]:
        sql = f"SELECT * FROM {table} WHERE {key} = ? ORDER BY name"
        return {m.name: m for m in self._rows(R.Measure, sql, [owner])}

    def decide(
        self, take_id: int, verdict: R.Verdict3, reasons: list[str], author: R.Author
    ) -> None:
        """Add a decision; nothing is erased, so it can be undone."""
        self._insert(
            "decisions",
            {
                "take_id": take_id,
                "verdict": verdict,
                "reasons": reasons,
                "author": author,
                "created_at": now(),
            },
        )

    def undo_decision(self, take_id: int) -> R.Decision | None:
        """Take back the newest decision on a take and return it (None if there was none)."""
        with self.transaction():
            found = self.decisions(take_id)
            if found:
                self._db.execute("DELETE FROM decisions WHERE id = ?", [found[-1].id])
        return found[-1] if found else None

    def decisions(self, take_id: int) -> list[R.Decision]:
        """All decisions on a take, oldest first."""
        sql = "SELECT * FROM decisions WHERE take_id = ? ORDER BY id"
        return self._rows(R.Decision, sql, [take_id])

    def standing_decisions(self) -> dict[int, R.Decision]:
        """Take id -> the decision that counts: a person's newest, else the newest."""
        sql = "SELECT * FROM decisions ORDER BY (author = 'person'), id"
        return {d.take_id: d for d in self._rows(R.Decision, sql)}

    def put_caption(
        self,
        take_id: int,
        text: str,
        author: R.Author,
        dropped: list[dict[str, str]] | None = None,
    ) -> None:
        """Add a caption to a take's history."""
        row = {"take_id": take_id, "text": text, "author": author, "dropped": dropped or []}
        self._insert("captions", {**row, "created_at": now()})

    def captions(self) -> dict[int, R.Caption]:
        """Take id -> its newest caption."""
        return {c.take_id: c for c in self._rows(R.Caption, "SELECT * FROM captions ORDER BY id")}

    def caption_history(self, take_id: int) -> list[R.Caption]:
        """All captions of a take, oldest first."""
        sql = "SELECT * FROM captions WHERE take_id = ? ORDER BY id"
        return self._rows(R.Caption, sql, [take_id])

    # ---- numbered versions

    def _add_version(self, table: str, values: dict[str, Any]) -> int:
        with self.transaction():
            version = self._next_version(table)
            self._insert(table, {"version": version, **values, "created_at": now()})
        return version

    def _latest(self, record: type[T], table: str, version: int | None) -> T | None:
        where, args = ("WHERE version = ?", [version]) if version else ("", [])
        sql = f"SELECT * FROM {table} {where} ORDER BY version DESC LIMIT 1"
        found = self._rows(record, sql, args)
        return found[0] if found else None

    def add_dataset(self, **values: Any) -> int:
        """Add a dataset (fields of `records.Dataset` without version) and return its version."""
        return self._add_version("datasets", values)

    def dataset(self, version: int | None = None) -> R.Dataset | None:
        """A dataset by version, or the newest."""
        return self._latest(R.Dataset, "datasets", version)

    def add_plan(self, **values: Any) -> int:
        """Add a plan and return its version."""
        return self._add_version("plans", values)

    def plan(self, version: int | None = None) -> R.Plan | None:
        """A plan by version, or the newest."""
        return self._latest(R.Plan, "plans", version)

    def add_run(self, **values: Any) -> int:
        """Add a run and return its version."""
        return self._add_version("runs", values)

    def update_run(self, version: int, **values: Any) -> None:
        """Change fields of a run; finishing states get their time."""
        if values.get("state") in ("done", "failed", "stopped"):
            values.setdefault("finished_at", now())
        self._update("runs", {"version": version}, values)

    def run(self, version: int | None = None) -> R.Run | None:
        """A run by version, or the newest."""
        return self._latest(R.Run, "runs", version)

    def put_checkpoint(self, checkpoint: R.Checkpoint) -> None:
        """Write or replace one checkpoint."""
        row = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
        self._insert("checkpoints", row, replace=True)

    def checkpoints(self, run_version: int) -> list[R.Checkpoint]:
        """Checkpoints of a run by step."""
        sql = "SELECT * FROM checkpoints WHERE run_version = ? ORDER BY step"
        return self._rows(R.Checkpoint, sql, [run_version])

    def add_grid(self, **values: Any) -> int:
        """Add a grid and return its version."""
        return self._add_version("grids", values)

    def grid(self, version: int | None = None) -> R.Grid | None:
        """A grid by version, or the newest."""
        return self._latest(R.Grid, "grids", version)

    def add_renders(self, grid_version: int, cells: Iterable[dict[str, Any]]) -> None:
        """Journal cells of a grid; a key that is there already stays as it is."""
        with self.transaction():
            have = {
                row[0]
                for row in self._db.execute(
                    "SELECT key FROM renders WHERE grid_version = ?", [grid_version]
                )
            }
            for cell in cells:
                if cell["key"] not in have:
                    self._insert("renders", {"grid_version": grid_version, **cell})

    def update_render(self, render_id: int, **values: Any) -> None:
        """Change fields of one render."""
        self._update("renders", {"id": render_id}, values)

    def renders(self, grid_version: int, *, state: str | None = None) -> list[R.Render]:
        """Renders of a grid in the order they were asked for."""
        where, args = (" AND state = ?", [state]) if state else ("", [])
        sql = f"SELECT * FROM renders WHERE grid_version = ?{where} ORDER BY id"
        return self._rows(R.Render, sql, [grid_version, *args])

    def put_scores(self, render_id: int, scores: Iterable[R.Measure]) -> None:
        """Write scores of a render."""
        self._put_values("scores", "render_id", render_id, scores)

    def scores(self, render_id: int) -> dict[str, R.Measure]:
        """Scores of a render by name."""
        return self._values("scores", "render_id", render_id)

    def add_verdict(self, **values: Any) -> int:
        """Add a verdict and return its version."""
        return self._add_version("verdicts", values)

    def verdict(self, version: int | None = None) -> R.VerdictRecord | None:
        """A verdict by version, or the newest."""
        return self._latest(R.VerdictRecord, "verdicts", version)

    def add_release(self, **values: Any) -> int:
        """Add a release and return its version."""
        return self._add_version("releases", values)

    def release(self, version: int | None = None) -> R.Release | None:
        """A release by version, or the newest."""
        return self._latest(R.Release, "releases", version)

    # ---- diary

    def log(self, stage: str, kind: str, **data: Any) -> None:
        """Add one line to the diary."""
        self._insert("events", {"at": now(), "stage": stage, "kind": kind, "data": data})

    def diary(self, stage: str | None = None, limit: int = 1000) -> list[R.EventRecord]:
        """Diary lines, oldest first, the newest `limit`."""
        where, args = ("WHERE stage = ?", [stage]) if stage else ("", [])
        sql = f"SELECT * FROM events {where} ORDER BY id DESC LIMIT ?"
        return self._rows(R.EventRecord, sql, [*args, limit])[::-1]
