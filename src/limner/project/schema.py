"""The database's schema as a list of forward migrations; `PRAGMA user_version` counts them.

A released migration is never edited: a change is a new entry at the end.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    # 1: the spine
    """
    CREATE TABLE shots (
        id TEXT PRIMARY KEY, position INTEGER NOT NULL, attributes TEXT NOT NULL,
        prompt TEXT NOT NULL, seed INTEGER NOT NULL, face_visible INTEGER NOT NULL DEFAULT 1,
        state TEXT NOT NULL DEFAULT 'open', hint TEXT NOT NULL DEFAULT '');
    CREATE TABLE takes (
        id INTEGER PRIMARY KEY, shot_id TEXT NOT NULL REFERENCES shots(id), source TEXT NOT NULL,
        attempt INTEGER NOT NULL, seed INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
        request TEXT NOT NULL DEFAULT '{}', path TEXT, sha256 TEXT, width INTEGER, height INTEGER,
        labels TEXT NOT NULL DEFAULT '{}', error TEXT, created_at TEXT NOT NULL,
        finished_at TEXT, UNIQUE (shot_id, source, attempt));
    CREATE TABLE measures (
        take_id INTEGER NOT NULL REFERENCES takes(id), name TEXT NOT NULL, value REAL,
        unit TEXT NOT NULL DEFAULT '', reason TEXT, tool TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (take_id, name));
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY, take_id INTEGER NOT NULL REFERENCES takes(id),
        verdict TEXT NOT NULL, reasons TEXT NOT NULL, author TEXT NOT NULL,
        created_at TEXT NOT NULL);
    CREATE TABLE captions (
        id INTEGER PRIMARY KEY, take_id INTEGER NOT NULL REFERENCES takes(id), text TEXT NOT NULL,
        author TEXT NOT NULL, dropped TEXT NOT NULL DEFAULT '[]', created_at TEXT NOT NULL);
    CREATE TABLE datasets (
        version INTEGER PRIMARY KEY, path TEXT NOT NULL, lock_sha256 TEXT NOT NULL,
        lock TEXT NOT NULL, train TEXT NOT NULL, held_out TEXT NOT NULL,
        created_at TEXT NOT NULL);
    CREATE TABLE plans (
        version INTEGER PRIMARY KEY, dataset_version INTEGER NOT NULL REFERENCES datasets(version),
        data TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE TABLE runs (
        version INTEGER PRIMARY KEY, plan_version INTEGER NOT NULL REFERENCES plans(version),
        dataset_version INTEGER NOT NULL REFERENCES datasets(version), trainer TEXT NOT NULL,
        state TEXT NOT NULL, config TEXT NOT NULL, path TEXT NOT NULL, error TEXT,
        created_at TEXT NOT NULL, finished_at TEXT);
    CREATE TABLE checkpoints (
        run_version INTEGER NOT NULL REFERENCES runs(version), step INTEGER NOT NULL,
        path TEXT NOT NULL, sha256 TEXT NOT NULL, data TEXT NOT NULL DEFAULT '{}',
        PRIMARY KEY (run_version, step));
    CREATE TABLE grids (
        version INTEGER PRIMARY KEY, run_version INTEGER NOT NULL REFERENCES runs(version),
        settings TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE TABLE renders (
        id INTEGER PRIMARY KEY, grid_version INTEGER NOT NULL REFERENCES grids(version),
        key TEXT NOT NULL, phase TEXT NOT NULL, arm TEXT NOT NULL, step INTEGER,
        strength REAL NOT NULL, prompt_id TEXT NOT NULL, prompt TEXT NOT NULL,
        seed INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending', path TEXT, sha256 TEXT,
        UNIQUE (grid_version, key));
    CREATE TABLE scores (
        render_id INTEGER NOT NULL REFERENCES renders(id), name TEXT NOT NULL, value REAL,
        unit TEXT NOT NULL DEFAULT '', reason TEXT, tool TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (render_id, name));
    CREATE TABLE verdicts (
        version INTEGER PRIMARY KEY, grid_version INTEGER NOT NULL REFERENCES grids(version),
        data TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE TABLE releases (
        version INTEGER PRIMARY KEY, verdict_version INTEGER NOT NULL, path TEXT NOT NULL,
        data TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, stage TEXT NOT NULL, kind TEXT NOT NULL,
        data TEXT NOT NULL DEFAULT '{}');
    """,
    # 2: the newest decision and caption of a take are asked for all the time
    """
    CREATE INDEX decisions_of_take ON decisions(take_id, id);
    CREATE INDEX captions_of_take ON captions(take_id, id);
    CREATE INDEX takes_of_shot ON takes(shot_id, id);
    CREATE INDEX renders_of_grid ON renders(grid_version, state);
    """,
)
