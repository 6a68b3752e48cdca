"""How long a training will take, said early: after a few batches, not after a few hours."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_MEASURED_SECONDS = 10.0
MIN_NOTED_SECONDS = 3600.0


class DurationNote:
    """Measures the first batches; notes once how long all epochs take, if more than an hour.

    Call it with the number of photos of each batch, as soon as the batch is done. `photos` are
    those of an epoch, `epochs` those still to be done.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        name: str,
        photos: int,
        epochs: int,
        *,
        hint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.note, self.name, self.hint, self.clock = note, name, hint, clock
        self.photos, self.epochs = photos, epochs
        self.measured_photos = 0
        self.measured_since: float | None = None
        self.is_done = False

    def __call__(self, photos: int) -> None:
        """Count a finished batch."""
        if self.is_done:
            return
        if self.measured_since is None:  # the first batch includes compilation
            self.measured_since = self.clock()
            return
        self.measured_photos += photos
        seconds = self.clock() - self.measured_since
        if seconds < MIN_MEASURED_SECONDS:
            return
        self.is_done = True
        epoch = seconds / self.measured_photos * self.photos
        if epoch * self.epochs > MIN_NOTED_SECONDS:
            run = f"{self.epochs} epochs up to {_in_words(epoch * self.epochs)}"
            hint = f"; {self.hint}" if self.hint else ""
            self.note(f"{self.name}: an epoch takes about {_in_words(epoch)}, {run}{hint}")


def _in_words(seconds: float) -> str:
    """5400 → 90 minutes; 7200 → 2 hours."""
    units = {"hours": 3600, "minutes": 60, "seconds": 1}
    unit = next((unit for unit, size in units.items() if seconds >= 2 * size), "seconds")
    return f"{seconds / units[unit]:.0f} {unit}"
