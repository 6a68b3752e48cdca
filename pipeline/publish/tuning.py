"""What was measured when a publication was made, and decides how it answers: fusion, refining."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pipeline.config import Config

Refine = Literal["off", "expand", "rerank"]
Refining = Literal["off", "expand", "rerank", "measured"]


@dataclass(frozen=True)
class FittedFusion:
    """How much each engine's distances count where engines are fused: `search/weighting.py`."""

    scales: Mapping[str, float]
    """Engine → its typical distance: weights are of distances divided by it."""
    weights: tuple[Mapping[str, float], ...]
    """Engine → its weight, which add up to 1, for each set of engines that may be fused."""
    alone: Mapping[str, float]
    """Engine → nDCG@10 by itself, by which the best one is chosen."""

    def of(self, engines: Collection[str]) -> dict[str, float]:
        """Return the weight of each of some engines: `fitted.of(["vgg16", "autoencoder"])`.

        For a set that was not fitted, all weight is the best engine's.
        """
        for weights in self.weights:
            if weights.keys() == set(engines):
                return {name: weights[name] for name in engines}
        best = max(engines, key=lambda name: self.alone.get(name, -1.0))
        return {name: float(name == best) for name in engines}


@dataclass(frozen=True)
class MeasuredRefining:
    """What refines one engine's lists: what is surely better than leaving them, if anything is."""

    chosen: Refine
    gains: Mapping[str, Mapping[str, float]]
    """`expand` and `rerank` → the mean gain of `mAP`, where its interval begins (`low`) and ends
    (`high`), and the gain of `P@1`."""


@dataclass(frozen=True)
class Tuning:
    """What was measured on a publication's items, for settings that ask for it."""

    settings: Mapping[str, str | None]
    """What was asked for: see `tuning_settings`."""
    label: str | None
    """The column that said what is right; None: views of photos had to find these."""
    queries: int
    """Items that were searched with."""
    fusion: FittedFusion | None = None
    refine: Mapping[str, MeasuredRefining] | None = None
    """Engine → what refines its lists."""
    unmeasured: int = 0
    """Items that were added, changed and removed since: what was measured before still stands."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return what `asdict` was called on; raises a TypeError or KeyError for anything else."""
        fusion = content["fusion"]
        fitted = fusion and FittedFusion(**fusion | {"weights": tuple(fusion["weights"])})
        refine = content["refine"]
        measured = refine and {name: MeasuredRefining(**one) for name, one in refine.items()}
        return cls(**{**content, "fusion": fitted, "refine": measured})


def tuning_settings(config: Config) -> dict[str, str | None]:
    """Return the settings that have to be measured before they can answer; none by default."""
    search = config.search
    wanted: dict[str, str | None] = {}
    if search.fusion == "weighted" and len(config.engines) > 1:
        wanted["fusion"] = search.fusion
    if search.refine == "measured":
        wanted["refine"] = search.refine
    return wanted | {"label": search.label} if wanted else {}
