"""Pictures of a training: its losses by epoch, and photos beside what is rebuilt of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.cache_dirs import redirect_cache_dirs


def pairs(originals: npt.NDArray[np.uint8], rebuilt: npt.NDArray[np.uint8], file: Path) -> None:
    """Write originals above their reconstructions; both (n, h, w, 3) uint8."""
    gap = 4
    count, height, width, _ = originals.shape
    size = (count * (width + gap) + gap, 2 * (height + gap) + gap)
    picture = Image.new("RGB", size, "white")
    for column in range(count):
        left = gap + column * (width + gap)
        picture.paste(Image.fromarray(originals[column]), (left, gap))
        picture.paste(Image.fromarray(rebuilt[column]), (left, 2 * gap + height))
    scale = max(1, 128 // height)
    picture.resize((size[0] * scale, size[1] * scale), Image.Resampling.NEAREST).save(file)


def loss_curve(training: Sequence[float], validation: Sequence[float], file: Path) -> None:
    """Plot mean squared errors by epoch, with the best validation loss marked."""
    redirect_cache_dirs()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    epochs = range(1, len(validation) + 1)
    marker = "o" if len(validation) == 1 else None
    axes.plot(epochs, training, label="training", color="#8e8e93", marker=marker)
    axes.plot(epochs, validation, label="validation", color="#0071e3", marker=marker)
    best = int(np.argmin(validation))
    axes.plot(best + 1, validation[best], "o", color="#0071e3")
    axes.annotate(
        f"best: {validation[best]:.5f}",
        (best + 1, validation[best]),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if best else "left",
    )
    axes.set(xlabel="epoch", ylabel="mean squared error", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(file, format="png", metadata={"Software": None})
