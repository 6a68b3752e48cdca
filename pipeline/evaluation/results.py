"""The results of an evaluation: what is told of it, and the scores of each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.evaluation.ablation import StageGain
from pipeline.evaluation.cost import Cost
from pipeline.evaluation.exclusions import ExcludedCount
from pipeline.evaluation.intervals import Estimate
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.reconstruction import Reconstruction, ReconstructionSample
from pipeline.evaluation.retriever import Kind
from pipeline.index.base import F64Array, F64Matrix, Ids

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

    @property
    def relation(self) -> str:
        """What it has to do with the queries that flatter it, to be followed by their number."""
        return "was trained on photos of"


@dataclass(frozen=True)
class LabelHeldOut(HeldOut):
    """The same of an engine that learned the values of a column from the items' labels."""

    learned: str
    """The column."""
    source: str
    """The engine whose vectors it learned from."""
    source_scores: Scores | None
    """That engine's over the same queries; None if there are none, or if it was not evaluated."""

    @property
    def relation(self) -> str:
        """What it has to do with the queries that flatter it."""
        return f"learned {self.learned} from items of"


@dataclass(frozen=True)
class FusionHeldOut(HeldOut):
    """The same of a fusion, some of whose engines learned from the items' labels."""

    @property
    def relation(self) -> str:
        """What it has to do with the queries that flatter it."""
        return "has engines that learned from the labels of"


@dataclass(frozen=True)
class Evaluation:
    """How good each engine of a catalog is at finding items of the query's label."""

    catalog: str
    publication: int
    """The number of the publication that was measured."""
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
    """Rows and photos of the query set that are no queries: why → how many."""
    same_photo: ExcludedCount
    product: str | None
    """The column that says what is one product; None if none was given."""
    same_product: ExcludedCount
    labels: Mapping[str, LabelCount]
    similar_labels: tuple[tuple[str, ...], ...]
    """Labels of items or queries that differ only by case or blanks, and so are not one label."""
    systems: tuple[System, ...]
    held_out: Mapping[str, HeldOut]
    """Trained engine → its scores on photos that it was not trained on."""
    reconstructions: tuple[Reconstruction, ...]
    costs: tuple[Cost, ...]
    resamples: int
    seed: int
    fusion_weights: tuple[Mapping[str, float], ...] = ()
    """Engine → its weight in the fusion, for each fold of the queries, fitted to the other folds;
    none where engines are fused by ranks."""
    stages: tuple[StageGain, ...] = ()
    """What each stage of a search gains, if that was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; what `imgsearch evaluate --json` prints."""
        content = asdict(self)
        measured = {name: content.pop(name) for name in ("fusion_weights", "stages")}
        return content | {name: value for name, value in measured.items() if value}


@dataclass(frozen=True)
class EvaluationDetails:
    """An evaluation, and what it summarizes."""

    evaluation: Evaluation
    items: Ids | None
    """(queries,) int64: the item of each scored query; None if they are photos of a query set."""
    scores: F64Array
    """(queries, engines, metrics) float64: the scores of each scored query by each engine, in the
    order of `METRICS`."""
    reconstructions: Sequence[ReconstructionSample]

    def of(self, metric: str) -> F64Matrix:
        """Return (queries, engines) float64, the scores by one of `METRICS`: `of("mAP")`."""
        return self.scores[:, :, list(METRICS).index(metric)]
