"""Results → charts, as SVG that takes the colors and the font of the page around it."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.cache_dirs import temporary_cache_dirs
from pipeline.evaluation.baselines import RANDOM
from pipeline.evaluation.results import Evaluation, System
from pipeline.models.autoencoder.pictures import plot_losses
from pipeline.report.data import EngineSummary, TrainingHistory
from pipeline.report.text import cut

METRIC = "P@3"  # what the charts of quality show
MAX_LABELS = 20  # on one chart
MAX_LABEL_LENGTH = 24  # characters
WIDTH = 5.0  # inches of 72 units: a chart fills a phone at about its own size
BINS = 40
_OFFSET: Any = {"textcoords": "offset points"}

# Stand-ins for the page's own colors, light or dark.
_INK, _QUIET, _LINE = "#010101", "#020202", "#030303"
_SERIES = tuple(f"#0400{n:02x}" for n in range(1, 9))
_VARIABLES = {_INK: "--ink", _QUIET: "--quiet", _LINE: "--line"} | {
    color: f"--s{n}" for n, color in enumerate(_SERIES, 1)
}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 11.5,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "grid.color": _LINE,
    "legend.frameon": False,
}


def colors(names: Sequence[str]) -> dict[str, str]:
    """Give each system a stand-in for its color; the ninth has the color of the first."""
    return {name: _SERIES[i % len(_SERIES)] for i, name in enumerate(names)}


def css_color(stand_in: str) -> str:
    """Return the page's own color for a stand-in."""
    return f"var({_VARIABLES[stand_in]})"


def quality_and_cost(evaluation: Evaluation, color: Mapping[str, str]) -> str:
    """P@3 of each engine, with its interval, against the time of a query; baselines as lines."""

    def draw(axes: Any) -> None:
        systems = {system.name: system for system in evaluation.systems}
        times = {cost.engine: cost.query_ms for cost in evaluation.costs}
        fastest = min(times, key=times.__getitem__)
        for name, ms in times.items():
            e = systems[name].scores[METRIC]
            error = [[e.mean - e.low], [e.high - e.mean]]
            axes.errorbar(ms, e.mean, error, fmt="o", ms=8, capsize=4, color=color[name])
            # To the left of the fastest engine and to the right of others, where there is room.
            side, offset = ("right", -9) if name == fastest else ("left", 9)
            place = {"xytext": (offset, 0), **_OFFSET}
            axes.annotate(name, (ms, e.mean), **place, ha=side, va="center")
        for name, system in systems.items():
            if name not in times:
                mean = system.scores[METRIC].mean
                axes.axhline(mean, color=color[name], linestyle=":", linewidth=1.5)
                place = {"xycoords": ("axes fraction", "data"), "xytext": (-2, 3), **_OFFSET}
                axes.annotate(name, (1, mean), **place, ha="right", color=_QUIET)
        axes.set(xlabel="milliseconds a query, from the photo's file", ylabel=METRIC, xscale="log")
        axes.set(ylim=(0, 1.04), xlim=(min(times.values()) / 12, max(times.values()) * 12))
        _plain_numbers(axes.xaxis)
        axes.grid(visible=True, axis="y", alpha=0.6)

    return _svg("quality-cost", "Quality against cost", draw, 3.6)


def quality_by_label(evaluation: Evaluation, color: Mapping[str, str]) -> str:
    """P@3 of each system for each label, those with most queries on top."""
    counts = evaluation.labels
    by_queries = sorted(counts, key=lambda label: (-counts[label].queries, label))
    labels = [label for label in by_queries if counts[label].queries][:MAX_LABELS]
    shown = [system for system in evaluation.systems if system.name != RANDOM]

    def draw(axes: Any) -> None:
        places = np.arange(len(labels))[::-1]
        axes.hlines(places, 0, 1, color=_LINE, linewidth=1)
        for system in shown:
            means = [system.by_label[label][METRIC].mean for label in labels]
            axes.plot(means, places, **_dots(system), color=color[system.name], label=system.name)
        # One line each; in matplotlib `$` begins a formula.
        names = [cut(" ".join(label.split()), MAX_LABEL_LENGTH) for label in labels]
        axes.set_yticks(places, [name.replace("$", r"\$") for name in names])
        axes.set(xlabel=METRIC, xlim=(-0.03, 1.03), ylim=(-0.7, len(labels) - 0.3))
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        axes.figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2, columnspacing=1.2)

    height = 0.9 + 0.27 * len(labels) + 0.24 * ((len(shown) + 1) // 2)  # the legend has 2 columns
    return _svg("quality-label", f"Quality by {evaluation.label}", draw, height)


def training_curve(name: str, history: TrainingHistory, color: str) -> str:
    """The losses of each epoch, with the best one marked."""

    def draw(axes: Any) -> None:
        plot_losses(axes, history.loss, history.validation, color=_QUIET, val_color=color)
        _plain_numbers(axes.yaxis)
        axes.grid(visible=True, which="major", alpha=0.6)

    return _svg(f"training-{name}", f"Training of {name}", draw, 3.2)


def distances(engine: EngineSummary, color: str) -> str:
    """How far from its nearest neighbor a photo is, and beyond which distance it has no good match.

    The dashed line is the limit by all distances, triangles are those of categories that are judged
    by their own distances.
    """

    def draw(axes: Any) -> None:
        axes.hist(engine.distances, bins=BINS, color=color)
        if limits := list(engine.category_limits.values()):
            style = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 3}
            axes.plot(limits, [0] * len(limits), "^", color=_INK, gid="category-limits", **style)
        if engine.limit is not None:
            axes.axvline(engine.limit, color=_INK, linestyle="--", linewidth=1.2)
            place = {"xycoords": ("data", "axes fraction"), "xytext": (-4, -2), **_OFFSET}
            axes.annotate("no good match →", (engine.limit, 1), **place, ha="right", va="top")
        axes.set(xlabel="distance to the nearest neighbor", ylabel="photos")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(left=0)

    return _svg(f"distances-{engine.name}", f"Distances of {engine.name}", draw, 2.8)


def _dots(system: System) -> dict[str, Any]:
    """How a system is marked: engines by full dots, what they are compared with by hollow ones."""
    if system.kind == "engine":
        return {"marker": "o", "linestyle": "none", "markersize": 8}
    dots = {"marker": "D" if system.kind == "fusion" else "s", "linestyle": "none", "markersize": 6}
    return {**dots, "markerfacecolor": "none", "markeredgewidth": 1.6}


def _plain_numbers(axis: Any) -> None:
    """Write 30 and 0.03 on a logarithmic axis, not powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(lambda value, _: f"{value:.10g}")
    axis.set_minor_formatter(NullFormatter())


def _svg(salt: str, title: str, draw: Callable[[Any], None], height: float) -> str:
    """Draw a figure as an SVG element to stand in a page; `salt` keeps its ids apart."""
    with temporary_cache_dirs():
        import matplotlib
        from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        # The page's fonts draw the text. For the room that it takes, boxes are good enough.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
