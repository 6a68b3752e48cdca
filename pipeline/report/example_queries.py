"""Example queries: which items to search with, and what each engine answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.agreement import rank_biased_overlap
from pipeline.evaluation.exclusions import SharedValues
from pipeline.evaluation.results import EvaluationDetails
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item
from pipeline.search.result import EngineResult, Hit

F64Vector = npt.NDArray[np.float64]
ItemsByReason = Mapping[str, Sequence[int]]  # why they are shown → items to search with

QUERIES_PER_REASON = 2
MAX_HITS = 6  # shown of each engine
SEARCH_DEPTH = 20  # more than are shown, as those that share a photo with the query are left out
SAMPLE_SIZE = 200  # items searched with, where there are no scores to choose by
LIST_DEPTH = 10  # of their hits, to see how much the engines agree


@dataclass(frozen=True)
class JudgedHit:
    """A hit, and whether it has the query's label; None if the query has none."""

    hit: Hit
    is_right: bool | None


@dataclass(frozen=True)
class ExampleQuery:
    """An item of the catalog as a query, and the answers of several engines."""

    reason: str  # why this query is shown
    item: int
    name: str
    label: str | None
    photo: Path | None
    hits: Mapping[str, Sequence[JudgedHit]]
    """Engine → its nearest items, of those that do not share a photo with the query."""
    no_match: Sequence[str]  # the engines that have no good match for it


def example_queries(
    searchers: Sequence[EngineSearcher],
    labels: Mapping[int, str],
    details: EvaluationDetails | None,
    seed: int,
) -> tuple[ExampleQuery, ...]:
    """Choose queries by their scores, or by distances if there are none, and answer them."""
    chosen = choose_by_score(details, labels) if details else choose_by_distance(searchers, seed)
    photos = SharedValues(searchers[0].catalog.photo_item_pairs())
    return tuple(
        _answer(searchers, reason, item, labels, photos.sharing(item))
        for reason, items in chosen.items()
        for item in items
    )


def choose_by_score(details: EvaluationDetails, labels: Mapping[int, str]) -> ItemsByReason:
    """Choose by nDCG@10, which looks at what a person sees: the first hits, in their order.

    An item is chosen once; none is if the queries were not items of the catalog.
    """
    if details.items is None:
        return {}
    scores = details.of("nDCG@10")
    mean = scores.mean(axis=1)
    reasons: dict[str, F64Vector] = {
        "Typical": np.abs(mean - np.median(mean)),
        "Best": -mean,
        "Worst": mean,
    }
    names = [s.name for s in details.evaluation.systems if s.kind == "engine"]
    if len(names) > 1:
        ordered = np.sort(scores, axis=1)
        lead = ordered[:, -1] - ordered[:, -2]
        for engine, name in enumerate(names):
            is_ahead = (scores.argmax(axis=1) == engine) & (lead > 0)
            reasons[f"{name} ahead of all others"] = np.where(is_ahead, -lead, np.inf)
    return _lowest(details.items, reasons, labels)


def choose_by_distance(searchers: Sequence[EngineSearcher], seed: int) -> ItemsByReason:
    """Choose by how near the nearest hit is, and by how little the engines' lists agree."""
    indexed = (set(searcher.build.ids[:, 1].tolist()) for searcher in searchers)
    items = np.array(sorted(set.intersection(*indexed)), np.int64)
    random = np.random.default_rng(seed)
    items = np.sort(random.choice(items, min(SAMPLE_SIZE, len(items)), replace=False))
    queries = [Item(item) for item in items.tolist()]
    results = [searcher.search_all(queries, LIST_DEPTH) for searcher in searchers]
    nearest, agreement = np.full((2, len(items)), np.inf)
    for row, answers in enumerate(zip(*results, strict=True)):
        lists = [one.hits for one in answers if isinstance(one, EngineResult) and one.hits]
        if len(lists) == len(searchers):
            nearest[row] = np.mean([hits[0].percentile or 0.0 for hits in lists])
            first, *others = [[hit.item.id for hit in hits] for hits in lists]
            if others:
                agreement[row] = min(rank_biased_overlap(first, other) for other in others)
    answered = nearest[np.isfinite(nearest)]
    reasons = {
        "Typical": np.abs(nearest - (np.median(answered) if len(answered) else 0)),
        "Nearest to another": nearest,
        "Furthest from all others": np.where(np.isfinite(nearest), -nearest, np.inf),
        "Most disputed": agreement,
    }
    return _lowest(items, reasons, {})


def _lowest(
    items: npt.NDArray[np.int64], values_of: Mapping[str, F64Vector], labels: Mapping[int, str]
) -> ItemsByReason:
    """The items of the lowest finite values for each reason, none of them twice; ties by item.

    Those of one reason have different labels, if there are any to choose from.
    """
    used: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for reason, values in values_of.items():
        order = items[np.lexsort((items, values))][: np.isfinite(values).sum()].tolist()
        free = [item for item in order if item not in used]
        picked = free[:1]
        for _ in range(QUERIES_PER_REASON - 1):
            shown = {labels.get(item) for item in picked}
            rest = [item for item in free if item not in picked]
            picked += [item for item in rest if labels.get(item) not in shown][:1] or rest[:1]
        used.update(picked)
        if picked:
            chosen[reason] = picked
    return chosen


def _answer(
    searchers: Sequence[EngineSearcher],
    reason: str,
    item: int,
    labels: Mapping[int, str],
    same_photo: set[int],
) -> ExampleQuery:
    """Search with one item by every engine; items of `same_photo` are left out."""
    catalog, label = searchers[0].catalog, labels.get(item)
    record = catalog.item(item)
    name = (record.name or record.key) if record else str(item)
    judged, no_match = {}, []
    for searcher in searchers:
        hits = searcher.search(Item(item), SEARCH_DEPTH).hits
        hits = tuple(hit for hit in hits if hit.item.id not in same_photo)[:MAX_HITS]
        judged[searcher.name] = [
            JudgedHit(hit, None if label is None else labels.get(hit.item.id) == label)
            for hit in hits
        ]
        if searcher.is_no_match(hits):
            no_match.append(searcher.name)
    return ExampleQuery(reason, item, name, label, catalog.item_photo(item), judged, no_match)
