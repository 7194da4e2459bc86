"""A base held in halves by two processes: each has half of the bytes, both have the same result."""

from __future__ import annotations

import multiprocessing
import traceback
from pathlib import Path
from typing import Any

import torch
from test_engine import EXACT, LAYERS, adapted, far, inputs, run

from limner.training.fast import Choice, install
from limner.training.parallel import Team


def _member(rank: int, meeting: Path, said: Any) -> None:
    try:
        torch.set_num_threads(1)
        made, weights = adapted()
        data = inputs()
        engine = install(made, Choice(whole=LAYERS))
        expected = run(made, weights, data)
        engine.remove()
        team = Team(rank, 2, meeting, "cpu")
        ring = install(made, Choice(shard=True, ring=2), team=team).swap
        kept = sum(t.untyped_storage().nbytes() for b in ring.tensors.values() for t in b)
        with team.together():
            for _ in range(2):  # the second step begins with what the first left
                ring.forget()
                found = run(made, weights, data)
                assert torch.equal(found[0], expected[0])
                assert far(found[1], expected[1]) < EXACT
        assert ring.late == 2, "all but the first block of each step were under way before"
        if rank == 0:  # alone, as for losses and samples; the other one is told what to give
            with torch.no_grad():
                assert torch.equal(made(**data, return_dict=False)[0][:, :24], expected[0])
            team.say(do="end")
        else:
            while (order := team.hear())["do"] == "fetch":
                ring.give(order["block"])
        with team.together():
            ring.forget()
            assert torch.equal(run(made, weights, data)[0], expected[0])
            share = sum(h.numel() for h in ring.host.values())
            ring.close()  # every tensor whole again
        whole = sum(t.nbytes for b in ring.tensors.values() for t in b)
        assert whole / 2 <= share < whole / 2 * 1.1 and kept < whole / 100
        said.put("")
        team.close()
    except BaseException:
        said.put(traceback.format_exc())


def test_two_processes_hold_half_of_the_base_each(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    folder = tmp_path / "team"
    folder.mkdir()
    members = [
        context.Process(target=_member, args=(rank, folder / "meeting", said)) for rank in range(2)
    ]
    for member in members:
        member.start()
    heard = [said.get(timeout=200) for _ in members]
    for member in members:
        member.join(timeout=60)
    assert heard == ["", ""], "\n".join(heard)
