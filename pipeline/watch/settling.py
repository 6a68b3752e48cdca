"""Which changes have settled, and when to build: decided from looks and the time, and nothing else.

A file has settled when it is the same in two looks that are `quiet` seconds apart, and if it is a
photo that was written just now, when it decodes as well. A file that is gone has settled when it
has been gone for as long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline.watch.look import FileState, Look


@dataclass(frozen=True)
class Settled:
    """A look, and which of its changes are not to be read yet."""

    look: Look
    unsettled: Collection[str] = ()
    """Paths that are being written, moved or removed: what is known of them stays."""


class Settling:
    """Compares each look with the last one, and with what was built last.

        settling = Settling(quiet=3, at_most=60)
        settling.add(look, now=time.monotonic())
        if settled := settling.due(time.monotonic()): ...

    All times are in seconds of one clock.
    """

    def __init__(
        self, quiet: float, at_most: float, essential: Collection[str] = frozenset()
    ) -> None:
        """Begin with nothing built; nothing is due before all `essential` paths have settled."""
        self._quiet, self._at_most, self._essential = quiet, at_most, essential
        self._built: dict[str, FileState] = {}
        self._last: Look = {}
        self._changed: dict[str, float] = {}
        """Path that differs from what was built → when it was first seen as it is now."""
        self._incomplete: set[str] = set()
        """Changed paths that do not decode as they are now."""
        self._waiting_since = 0.0
        """When the first change was seen that is not built, if there is one."""
        self._has_failed = False

    @property
    def is_pending(self) -> bool:
        """Whether anything differs from what was built last, or that build failed."""
        return bool(self._changed) or self._has_failed

    def add(self, look: Look, now: float) -> bool:
        """Take in a look; return whether it differs from the last one."""
        if look == self._last:
            return False
        if not self._changed:
            self._waiting_since = now
        for path in _differences(look, self._last):
            self._changed[path] = now
            self._incomplete.discard(path)
        self._last = look
        self._forget_unchanged()
        return True

    def young(self, now: float) -> list[str]:
        """Return settled paths that may still be written, after a pause: see whether they decode.

        After `at_most` seconds nobody is taken to be writing them any more.
        """
        return [
            path
            for path, since in self._changed.items()
            if self._quiet <= now - since < self._at_most
            and path in self._last
            and path not in self._incomplete
        ]

    def mark_incomplete(self, paths: Collection[str]) -> None:
        """Let paths wait until they change, or have been the same for `at_most` seconds."""
        self._incomplete.update(paths)

    def due(self, now: float) -> Settled | None:
        """Return what to build, if it is time to.

        It is when all changes have settled, or when the first of them is `at_most` seconds old and
        any has, or when the last build failed.
        """
        moving = {path for path, since in self._changed.items() if now - since < self._quiet}
        held = {p for p in self._incomplete if now - self._changed[p] < self._at_most}
        if not (self._has_failed or self._changed.keys() - moving - held):
            return None
        if not moving.isdisjoint(self._essential):
            return None
        if moving and now - self._waiting_since < self._at_most:
            return None
        return Settled(self._last, moving | held)

    def built(self, settled: Settled, now: float) -> None:
        """Note that the catalog is now as it was `settled`."""
        kept = {path: self._built[path] for path in settled.unsettled if path in self._built}
        fresh = {p: state for p, state in settled.look.items() if p not in settled.unsettled}
        self._built = fresh | kept
        self._forget_unchanged()
        self._waiting_since = now
        self._has_failed = False

    def failed(self) -> None:
        """Note that a build failed: what the catalog is like now is not known."""
        self._has_failed = True

    def _forget_unchanged(self) -> None:
        changed = self._changed
        same = [path for path in changed if self._last.get(path) == self._built.get(path)]
        for path in same:
            del changed[path]
            self._incomplete.discard(path)


def _differences(a: Look, b: Look) -> Iterator[str]:
    yield from (path for path, state in a.items() if b.get(path) != state)
    yield from (path for path in b if path not in a)
