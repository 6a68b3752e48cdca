"""Ranked items → an engine's answer: hits with their records, photos and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.catalog.catalog import Catalog
from pipeline.index.builds import Build
from pipeline.index.calibration import Calibration
from pipeline.index.recall import PromisedRecall
from pipeline.publish.tuning import Refine
from pipeline.search.query import EncodedQuery
from pipeline.search.ranking import RankedItem
from pipeline.search.refining import RefinedList
from pipeline.search.result import EngineResult, Hit


@dataclass(frozen=True)
class EngineAnswers:
    """Makes the answers of one engine."""

    engine: str
    catalog: Catalog
    build: Build
    calibration: Calibration
    no_match_percentile: float
    recall: PromisedRecall | None
    warning: str | None

    def result(self, query: EncodedQuery, found: RefinedList, refined: Refine) -> EngineResult:
        """Return the answer to a query, given what was found and how its order was refined."""
        hits = [self._hit(rank, item, query) for rank, item in enumerate(found.items, 1)]
        return EngineResult(
            self.engine,
            tuple(hits),
            self.is_no_match(hits, query.ood_percentile),
            query.ood_percentile,
            self.build.path.name,
            self.build.fingerprint,
            self.warning,
            query.region,
            self.recall,
            None if refined == "off" else refined,
            found.searched,
        )

    def is_no_match(self, hits: Sequence[Hit], ood_percentile: float | None = None) -> bool:
        """Whether the catalog shows nothing like a query with these hits.

        That is, whether its nearest hit is further away, or its photo further out of distribution,
        than `no_match_percentile` percent of the catalog's own photos.
        """
        if not hits:
            return False
        nearest = min(hits, key=lambda hit: hit.distance)
        percentiles = (nearest.percentile, ood_percentile)
        limit = self.no_match_percentile
        return any(percentile is not None and percentile > limit for percentile in percentiles)

    def _hit(self, rank: int, ranked: RankedItem, query: EncodedQuery) -> Hit:
        item, distance, row, similar = ranked
        distance = distance if distance > query.rounding else 0.0
        record = self.catalog.item(item)
        if record is None:
            raise self.catalog.damaged(f"it has no item {item}, which is in {self.build.path}")
        sha256 = self.build.photos[row].tobytes()
        photo = self.catalog.photo_path(sha256, item)
        percentile = None
        if query.is_calibrated:
            percentile = self.calibration.percentile(distance, record.category)
        return Hit(rank, distance, percentile, record, photo, sha256.hex(), similar)
