"""Compare: queries + engines → their lists side by side, how far they agree, and who is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline.catalog.labels import values_of
from pipeline.config import Config
from pipeline.errors import PipelineError, QueryError
from pipeline.evaluation.agreement import overlap, rank_biased_overlap
from pipeline.evaluation.comparison import Agreement, Comparison, Pair, QueryComparison
from pipeline.evaluation.exclusions import SharedValues
from pipeline.search import searcher as search
from pipeline.search.engine_fusion import EngineFusion
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.fusion import DEPTH
from pipeline.search.query import Item, Query
from pipeline.search.result import EngineResult, Hit

Lists = Mapping[str, Sequence[Hit]]
"""Engine → its hits, nearest first."""


@dataclass(frozen=True)
class ComparisonOptions:
    """The queries, and how much of the answers to look at."""

    photos: tuple[Path, ...] = ()
    """Photos that are the queries; none: `sample` items of the catalog, chosen at random."""
    sample: int = 20
    k: int = 10
    """Neighbors to show, and to count an overlap of."""
    label: str = "category"
    """The column that says which neighbors of an item are right."""
    engines: tuple[str, ...] = ()
    """None: every one that is configured."""
    seed: int = 7


_DEFAULTS = ComparisonOptions()


def compare(config: Config, options: ComparisonOptions = _DEFAULTS) -> Comparison:
    """Query all engines alike, and compare what they answer: `compare(config).right`.

    Raises:
        QueryError: there are fewer than two engines, or there is no such engine or column.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `pipeline.open`.
    """
    names = list(dict.fromkeys(options.engines or config.engines))
    if len(names) < 2:
        raise QueryError(f"{names[0]} alone cannot be compared: name two engines or more")
    for name, number in (("k", options.k), ("sample", options.sample)):
        if number < 1:
            raise QueryError(f"{name} is {number}", hint="give at least 1")
    with search.open(config, names) as searcher:
        return _Comparer(config, options, list(searcher.engines.values())).run()


class _Comparer:
    def __init__(
        self, config: Config, options: ComparisonOptions, searchers: Sequence[EngineSearcher]
    ) -> None:
        self.config, self.options, self.searchers = config, options, searchers
        self.catalog = searchers[0].catalog
        self.labels = values_of(self.catalog, options.label)
        self.photos = SharedValues(self.catalog.photo_item_pairs())
        self.depth = max(options.k, DEPTH)
        self.fusion = EngineFusion({searcher.name: searcher for searcher in searchers})

    def run(self) -> Comparison:
        """Search with all queries, and summarize."""
        queries: list[Query] = list(self.options.photos) or [Item(item) for item in self._sample()]
        searches = [searcher.search_all(queries, self.depth) for searcher in self.searchers]
        answers: list[QueryComparison] = []
        failed: dict[str, str] = {}
        pairs: dict[tuple[int, int], Pair] = {}
        for query, *results in zip(queries, *searches, strict=True):
            found: dict[str, EngineResult] = {}
            for result in results:
                if isinstance(result, PipelineError):
                    failed[str(query)] = str(result)
                    break
                found[result.engine] = result
            else:
                lists = {name: result.hits for name, result in found.items()}
                answers.append(self._compare(query, lists, found))
                if isinstance(query, Item):
                    pairs |= {pair.items: pair for pair in self._pairs(query.id, lists)}
        verdicts = [answer.right for answer in answers if answer.right is not None]
        right = Counter("+".join(filter(verdict.get, verdict)) for verdict in verdicts)
        return Comparison(
            self.config.catalog,
            self.searchers[0].publication.number,
            self.options.label if self.labels else None,
            self.options.k,
            tuple(answers),
            failed,
            _means([answer.agreements for answer in answers]),
            dict(right.most_common()),
            tuple(pairs[items] for items in sorted(pairs)),
            {s.name: s.warning for s in self.searchers if s.warning},
        )

    def _sample(self) -> list[int]:
        """Items that all engines have, by id."""
        indexed = (set(searcher.build.ids[:, 1].tolist()) for searcher in self.searchers)
        items = sorted(set.intersection(*indexed))
        random = np.random.default_rng(self.options.seed)
        return sorted(random.choice(items, min(self.options.sample, len(items)), False).tolist())

    def _compare(
        self, query: Query, lists: Lists, found: Mapping[str, EngineResult]
    ) -> QueryComparison:
        """Compare the engines' answers to one query."""
        item = query.id if isinstance(query, Item) else None
        label = None if item is None else self.labels.get(item)
        k = self.options.k
        ids = {name: [hit.item.id for hit in hits] for name, hits in lists.items()}
        agreements = [
            Agreement((a, b), overlap(ids[a], ids[b], k), rank_biased_overlap(ids[a], ids[b]))
            for a, b in combinations(ids, 2)
        ]
        return QueryComparison(
            str(query) if item is None else self._key(item),
            item,
            label,
            {name: hits[:k] for name, hits in lists.items()},
            self.fusion.fuse(found, k),
            self._right(item, label, lists) if item is not None and label else None,
            agreements,
        )

    def _right(self, item: int, label: str, lists: Lists) -> dict[str, bool] | None:
        """Engine → whether the nearest item of another photo has the label."""
        same_photo = self.photos.sharing(item)
        nearest = {
            name: next((hit.item.id for hit in hits if hit.item.id not in same_photo), None)
            for name, hits in lists.items()
        }
        if None in nearest.values():
            return None
        return {name: self.labels.get(other or 0) == label for name, other in nearest.items()}

    def _pairs(self, item: int, lists: Lists) -> list[Pair]:
        """An item's mutual nearest neighbors under every engine.

        More than one only if several are equally near by all engines.
        """
        pairs = []
        for other in sorted(set.intersection(*map(_nearest, lists.values()))):
            back = (searcher.search(Item(other), self.depth).hits for searcher in self.searchers)
            if all(item in _nearest(hits) for hits in back):
                first, second = sorted((item, other))
                pairs.append(
                    Pair(
                        (first, second),
                        (self._key(first), self._key(second)),
                        (self.labels.get(first), self.labels.get(second)),
                        {name: hits[0].distance for name, hits in lists.items()},
                        self.photos.is_shared(first, second),
                    )
                )
        return pairs

    def _key(self, item: int) -> str:
        return record.key if (record := self.catalog.item(item)) else str(item)


def _nearest(hits: Sequence[Hit]) -> set[int]:
    """The items that are as near as the nearest one."""
    return {hit.item.id for hit in hits if hit.distance == hits[0].distance}


def _means(all_agreements: Sequence[Sequence[Agreement]]) -> tuple[Agreement, ...]:
    """Average each pair of engines over the queries."""
    return tuple(
        Agreement(
            of_pair[0].engines,
            float(np.mean([agreement.overlap for agreement in of_pair])),
            float(np.mean([agreement.rbo for agreement in of_pair])),
        )
        for of_pair in zip(*all_agreements, strict=True)
    )
