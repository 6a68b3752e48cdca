"""The results of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.evaluation.cost import Cost
from pipeline.evaluation.exclusions import ExcludedCount
from pipeline.evaluation.intervals import Estimate
from pipeline.evaluation.reconstruction import Reconstruction
from pipeline.evaluation.retriever import Kind

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
    """A trained engine on only those queries that it was not trained on."""

    trained_on: int
    """Scored queries of which it was trained on a photo: their scores flatter it."""
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
    """The folder or file of the queries; None if items of the catalog were the queries."""
    items: int
    """The gallery: labeled items that every engine's index has."""
    excluded_items: int
    """Labeled, available items that are not in the gallery: an index lacks them, or their photos
    can no longer be read."""
    queries: int
    """All queries: those that were scored and the unanswerable ones add up to it."""
    scored: int
    unanswerable: int
    """Queries of whose label there is no item to find; they are in no average."""
    rejected: Mapping[str, int]
    """Photos of the query set that are no queries: why → how many."""
    same_photo: ExcludedCount
    product: str | None
    """The column that says what is one product; None if none was given."""
    same_product: ExcludedCount
    labels: Mapping[str, LabelCount]
    systems: tuple[System, ...]
    held_out: Mapping[str, HeldOut]
    """Trained engine → its scores on photos that it was not trained on."""
    reconstructions: tuple[Reconstruction, ...]
    costs: tuple[Cost, ...]
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; what `imgsearch evaluate --json` prints."""
        return asdict(self)
