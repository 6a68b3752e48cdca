"""A long training says early how long it will take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.models.autoencoder import build
from pipeline.models.autoencoder.duration import DurationNote
from pipeline.models.autoencoder.fit import Examples, Fit
from tests.models.autoencoder.test_training import Notes, settings


class Clock:
    """Each look at it takes some seconds."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(
    ("seconds_a_batch", "epochs", "said"),
    [
        (5.0, 100, ["ae: an epoch takes about 6 minutes, 100 epochs up to 10 hours; try less"]),
        (20.0, 3, ["ae: an epoch takes about 24 minutes, 3 epochs up to 72 minutes; try less"]),
        (1.0, 51, ["ae: an epoch takes about 72 seconds, 51 epochs up to 61 minutes; try less"]),
        (1.0, 49, []),
        (0.001, 1_000, []),
    ],
)
def test_a_run_of_more_than_an_hour_is_noted_once(
    seconds_a_batch: float, epochs: int, said: list[str]
) -> None:
    notes: list[str] = []
    clock = Clock(seconds_a_batch)
    batch_done = DurationNote(notes.append, "ae", 72 * 16, epochs, hint="try less", clock=clock)
    for batch in range(144):
        batch_done(16)
        if clock.now < 10 + seconds_a_batch:  # the first batch, which compiles, does not count
            assert not notes, batch
    assert notes == said


@pytest.mark.parametrize("hint", ["", "a hint"])
def test_a_fit_notes_its_duration_in_the_first_epoch(hint: str, tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    training = settings(batch_size=2, epochs=2).training
    notes = Notes()

    def make() -> object:
        return build("strided", 32, 2)

    fit = Fit("ae", make, training, tmp_path, notes, hint=hint, clock=Clock(3600))
    fit.run(Examples(photos[:6]), Examples(photos[6:]))
    said = "ae: an epoch takes about 3 hours, 2 epochs up to 6 hours"
    assert notes.said[0] == (f"{said}; {hint}" if hint else said)
    assert len([text for text in notes.said if "takes about" in text]) == 1
