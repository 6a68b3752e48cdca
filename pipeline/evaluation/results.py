"""What an evaluation found: the shapes of its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.evaluation.cost import Cost
from pipeline.evaluation.exclusions import LeftOut
from pipeline.evaluation.intervals import Estimate
from pipeline.evaluation.reconstruction import Reconstruction
from pipeline.evaluation.retriever import Kind

__all__ = ["Cost", "Estimate", "Evaluation", "HeldOut", "LabelCount", "LeftOut", "Scores", "System"]

Scores = Mapping[str, Estimate]
"""Each of `metrics.METRICS` → its mean over queries, with its 95 % interval."""


@dataclass(frozen=True)
class System:
    """One way of ranking: an engine, their fusion or a baseline."""

    name: str
    kind: Kind
    scores: Scores
    by_label: Mapping[str, Scores]
    """The same over the queries of one label, for each label that has any."""
    warning: str | None
    """What to know before believing the scores."""


@dataclass(frozen=True)
class LabelCount:
    """How often a label occurs."""

    items: int
    """In the gallery."""
    queries: int
    """Queries with it that were scored."""


@dataclass(frozen=True)
class HeldOut:
    """A trained engine on those queries alone that it was not trained on."""

    trained_on: int
    """Scored queries of which it was trained on a photo: they flatter it."""
    queries: int
    """The others."""
    scores: Scores | None
    """Over the others; None if there are none."""


@dataclass(frozen=True)
class Evaluation:
    """How good each engine of a catalog is at finding items of the query's label."""

    catalog: str
    label: str
    """The column that the labels come from."""
    query_set: str | None
    """The folder or file of the queries; None if the items themselves were asked with."""
    items: int
    """The gallery: labeled items that every engine's index has."""
    excluded_items: int
    """Labeled, available items that are not in the gallery: an index lacks them, or their photos
    can no longer be read."""
    queries: int
    """Queries asked; those that were scored and those with nothing to find add up to it."""
    scored: int
    nothing_to_find: int
    """Queries of whose label there is no item to find; they are in no average."""
    rejected: Mapping[str, int]
    """Photos of the query set that are no queries: why → how many."""
    same_photo: LeftOut
    product: str | None
    """The column that says what is one product; None if none was given."""
    same_product: LeftOut
    labels: Mapping[str, LabelCount]
    systems: tuple[System, ...]
    held_out: Mapping[str, HeldOut]
    """Trained engine → how it does on what it has not seen."""
    reconstructions: tuple[Reconstruction, ...]
    costs: tuple[Cost, ...]
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)
