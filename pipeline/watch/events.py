"""A hint that a folder has changed, from the system's events, where it has any to give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

_GATHER_MS = 200  # how long events are collected before they are told


@contextmanager
def hints(
    folder: Path, hint: Event, note: Callable[[str], None], *, has_tree: bool
) -> Iterator[None]:
    """Set `hint`, within the block, when something in a folder changes; the user clears it.

    With `has_tree` also for folders below it. Nothing follows from its not being set: network
    drives and some mounts tell of no changes that others make. Where the system gives no events,
    as when its limit of watched folders is exhausted, that is noted, from another thread.

        with hints(Path("photos"), hint, print, has_tree=True): hint.wait(timeout=15)
    """
    ended = Event()

    def listen() -> None:
        try:
            _listen(folder, hint, ended, has_tree=has_tree)
        except (OSError, RuntimeError) as error:  # RuntimeError: of the library's own
            reason = " ".join(str(error).split())
            note(f"no events of the system ({reason}): changes are found by looking alone")

    # A daemon: the library looks at `ended` only now and then, and nobody should wait for that.
    Thread(target=listen, name="watch-events", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _listen(folder: Path, hint: Event, ended: Event, *, has_tree: bool) -> None:
    from watchfiles import watch

    for _ in watch(
        folder,
        watch_filter=None,
        debounce=_GATHER_MS,
        step=_GATHER_MS,
        stop_event=ended,
        force_polling=False,  # that is listing, which is done anyway, and less often
        recursive=has_tree,
        ignore_permission_denied=True,
    ):
        hint.set()
