"""Asking a running training to stop or to pause, from the keyboard or from another terminal.

In: signals, and one small file in the project. Out: what the loop reads between two steps. A run
always finishes the step it is in and writes its state first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from limner.project import Project
from limner.project.files import write_text

Asked = Literal["stop", "pause"]


def _file(project: Project) -> Path:
    return project.root / ".limner" / "training.ask"


def ask(project: Project, what: Asked | None) -> None:
    """Ask the run of this project to stop or pause after its step; None takes the wish back."""
    if what is None:
        _file(project).unlink(missing_ok=True)
    else:
        write_text(_file(project), what)


def asked(project: Project) -> Asked | None:
    """What was asked for, or None."""
    try:
        text = _file(project).read_text("utf-8").strip()
    except OSError:
        return None
    return "stop" if text == "stop" else "pause" if text == "pause" else None


class Keyboard:
    """Whether Ctrl-C or a termination signal came since the loop began."""

    def __init__(self) -> None:
        self.pressed = False


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The first Ctrl-C (or SIGTERM) is noted, a second one interrupts at once, as usual.

    In a thread other than the main one signals belong to the program around it: nothing changes.
    """
    state = Keyboard()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def note(_number: int, _frame: FrameType | None) -> None:
        if state.pressed:
            raise KeyboardInterrupt
        state.pressed = True

    for number in before:
        signal.signal(number, note)
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
