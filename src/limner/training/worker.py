"""A process of a team that only computes: `python -m limner.training.worker`.

In: project folder, run, rank, the team's folder, the leader's process id. It opens the same run,
encodes nothing (the leader has filled the cache), takes its share of every batch and does what the
leader says. It writes no record and no file, and ends when its leader does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from limner.errors import LimnerError
from limner.events import collect
from limner.project import Project
from limner.training import recover, state
from limner.training.config import RunConfig
from limner.training.parallel import Team
from limner.training.work import Work, encoded, make_trainer, open_work

LOOK_S = 1.0


def main(arguments: list[str]) -> int:
    """Follow the leader until it says the end; the exit code."""
    root, version, rank, folder, leader = arguments
    threading.Thread(target=_watch, args=(int(leader),), daemon=True).start()
    project = Project.open(Path(root))
    run = project.store.run(int(version))
    if run is None:
        raise LimnerError(f"There is no run {version}", where=root)
    config = RunConfig.from_json(run.config["run"])
    work = open_work(project, run, config, rank=int(rank))
    collect(encoded(work))
    (Path(folder) / f"ready_{rank}").touch()
    team = Team(int(rank), config.processes, Path(folder) / "meeting", config.device)
    try:
        follow(work, team)
    finally:
        team.close()
    return 0


def _watch(leader: int) -> None:
    """End this process when its leader is gone, wherever it waits at that moment."""
    while os.getppid() == leader:
        time.sleep(LOOK_S)
    os._exit(3)


def follow(work: Work, team: Team) -> None:
    """Load, step and end as the leader says."""
    trainer = make_trainer(work, team)
    while True:
        said = team.hear()
        if said["do"] == "end":
            return
        if said["do"] == "load":
            state.load_or_start(trainer, Path(said["file"]), work.config)
            recover.apply(trainer, recover.from_record(said))
            continue
        if said["do"] == "fetch":
            if trainer.engine is not None:
                trainer.engine.swap.give(int(said["block"]))
            continue
        try:
            trainer.step(int(said["step"]))
        except MemoryError:
            continue  # the leader has heard it too and says what changes


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LimnerError as error:
        print(error.what, file=sys.stderr)
        sys.exit(3)
