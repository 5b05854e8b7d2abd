"""What the command line prints: errors as their text, and for long work a progress bar with an
estimate on a terminal, plain lines elsewhere."""

import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from rich import progress
from rich.console import Console

from comodo.core.errors import ComodoError
from comodo.core.redaction import redacted


class _RedactingConsole(Console):
    """A console that prints no secrets."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(redacted(o) if isinstance(o, str) else o for o in objects), **options)


console = _RedactingConsole(highlight=False, soft_wrap=not sys.stdout.isatty())
results = _RedactingConsole(highlight=False, soft_wrap=not sys.stdout.isatty())
"""For what a command is run for, such as its table: also printed where `console` is quiet."""
error_console = _RedactingConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
"""For what ends a command, so that results that are piped or stored have only results."""

_verbose = False


def be_quiet(requested: bool = True) -> None:
    """Prints from now on only results and errors."""
    console.quiet = requested


def be_verbose(requested: bool) -> None:
    """Shows from now on also what libraries log, and the tracebacks of errors."""
    global _verbose
    _verbose = requested


def is_verbose() -> bool:
    return _verbose


T = TypeVar("T")
Watcher = Callable[[str, int, int, float | None], None]
"""Takes the name of some work, how much of how much is done, and the seconds left, if known."""

UPDATE_SECONDS = 0.1  # at least, between two updates of a progress bar
# At least and at most, between two lines where there is no terminal. The latter is exceeded by an
# item that takes longer.
MIN_LINE_SECONDS, MAX_LINE_SECONDS = 5.0, 60.0
_watchers: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Calls the watcher with what `track` shows, while the block runs."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def track(
    items: Iterable[tuple[T, int]], total: int, what: str, note: Callable[[], str] = str
) -> Iterator[T]:
    """Yields the items, which come with their sizes, while showing how much of `total` is done;
    `what` names the work ("prepare demo"), `note` says what else is known of it by then."""
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left:"),
        progress.TimeRemainingColumn(),
    )
    is_hidden = not console.is_terminal
    start = updated = last_line = time.monotonic()
    done, next_line = 0, 0.1
    for watcher in _watchers:
        watcher(what, done, total, None)
    if is_hidden:
        console.print(f"{what}: 0/{total}")
    with progress.Progress(*columns, console=console, disable=is_hidden) as bar:
        task = bar.add_task(what, total=total)
        for item, size in items:
            yield item
            done += size
            now = time.monotonic()
            if now - updated < UPDATE_SECONDS and done < total:
                continue
            updated, spent = now, now - start
            left = spent * (total - done) / max(done, 1)
            known = f", {note()}" if note() else ""
            bar.update(task, completed=done, description=f"{what}{known}")
            for watcher in _watchers:
                watcher(what, done, total, left)
            wait = MIN_LINE_SECONDS if done >= next_line * total else MAX_LINE_SECONDS
            if is_hidden and now - last_line >= wait:
                console.print(
                    f"{what}: {done}/{total}, {spent:.0f} s, about {left:.0f} s left{known}"
                )
                last_line, next_line = now, done / total + 0.1


class Terminated(KeyboardInterrupt):
    """SIGTERM, as from `docker stop` or at a batch system's time limit."""


@contextmanager
def handling(handler: Callable[[int, Any], None], *signals: int) -> Iterator[None]:
    """Handles these signals while the block runs in the main thread; others may not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def show_interrupted() -> None:
    error_console.print("interrupted; the same command continues from here", style="yellow")


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # some send it twice, to a process and to its group
    raise Terminated


@contextmanager
def show_errors(resumes: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Prints errors of the package and of the file system on stderr, without a traceback; ends the
    command, also at Ctrl-C and at SIGTERM. Any other error is a bug and keeps its traceback.
    `resumes`: whether the command, run again, continues where it was interrupted."""
    try:
        with handling(_terminate, signal.SIGTERM):
            yield
    except KeyboardInterrupt as interrupt:
        if resumes():
            show_interrupted()
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        raise typer.Exit(128 + number) from None
    except Exception as error:
        text = str(error)
        if not isinstance(error, ComodoError | OSError):
            # A Ray worker's error comes wrapped; Ray Data keeps only the text of its traceback.
            if not (wrapped := re.search(r"^comodo(?:\.\w+)+: (.+)$", text, re.MULTILINE)):
                raise
            text = wrapped[1]
        if _verbose:
            error_console.print("".join(traceback.format_exception(error)), markup=False)
        error_console.print(text, style="red", markup=False)
        raise typer.Exit(getattr(error, "exit_status", 1)) from None
