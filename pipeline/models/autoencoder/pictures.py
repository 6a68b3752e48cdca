"""Pictures of a training: its losses by epoch, and photos beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.cache_dirs import temporary_cache_dirs
from pipeline.models.base import U8Batch

_GRAY, _BLUE = "#8e8e93", "#0071e3"


def save_pairs(originals: U8Batch, rebuilt: U8Batch, file: Path) -> None:
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


def save_losses(loss: Sequence[float], val_loss: Sequence[float], file: Path) -> None:
    """Write the losses of each epoch as a PNG file, with the lowest validation loss in figures."""
    with temporary_cache_dirs():
        from matplotlib.figure import Figure
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    plot_losses(axes, loss, val_loss)
    best = int(np.argmin(val_loss))
    axes.annotate(
        f"best: {val_loss[best]:.5f}",
        (best + 1, val_loss[best]),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if best else "left",
    )
    axes.grid(visible=True, which="both", alpha=0.25)
    figure.savefig(file, format="png", metadata={"Software": None})


def plot_losses(
    axes: Any,
    loss: Sequence[float],
    val_loss: Sequence[float],
    *,
    color: str = _GRAY,
    val_color: str = _BLUE,
) -> None:
    """Plot the losses of each epoch into matplotlib axes, with the best epoch marked."""
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(val_loss) + 1)
    marker = "o" if len(val_loss) == 1 else None
    axes.plot(epochs, loss, label="training", color=color, marker=marker)
    axes.plot(epochs, val_loss, label="validation", color=val_color, marker=marker)
    best = int(np.argmin(val_loss))
    axes.plot(best + 1, val_loss[best], "o", color=val_color)
    axes.set(xlabel=f"epoch (best: {best + 1})", ylabel="loss", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
