"""Which queries tell the most of engines: typical ones, the best, the worst, and the disputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.agreement import rank_biased_overlap
from pipeline.evaluation.details import EvaluationDetails
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item
from pipeline.search.result import EngineResult

F64Vector = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Chosen = Mapping[str, Sequence[int]]
"""Why → the items that ask."""

_EACH = 2  # queries of each kind
_SAMPLE = 200  # items that are asked, where there are no scores
_DEPTH = 10  # of their lists


def by_score(evidence: EvaluationDetails, labels: Mapping[int, str]) -> Chosen:
    """Choose by nDCG@10, which looks at what a person sees: the first neighbors, in their order.

    An item is chosen once. Nothing is, where a query set was asked with.
    """
    if evidence.items is None:
        return {}
    scores = evidence.of("nDCG@10")
    mean = scores.mean(axis=1)
    kinds: dict[str, F64Vector] = {
        "Typical": np.abs(mean - np.median(mean)),
        "Best": -mean,
        "Worst": mean,
    }
    names = [s.name for s in evidence.evaluation.systems if s.kind == "engine"]
    if len(names) > 1:
        ordered = np.sort(scores, axis=1)
        lead = ordered[:, -1] - ordered[:, -2]
        for at, name in enumerate(names):
            is_ahead = (scores.argmax(axis=1) == at) & (lead > 0)
            kinds[f"{name} ahead of all others"] = np.where(is_ahead, -lead, np.inf)
    return _lowest(evidence.items, kinds, labels)


def by_distance(searchers: Sequence[EngineSearcher], seed: int) -> Chosen:
    """Choose by how near the nearest neighbor is, and by how little the engines' lists agree."""
    indexed = (set(searcher.build.ids[:, 1].tolist()) for searcher in searchers)
    items = np.array(sorted(set.intersection(*indexed)), np.int64)
    random = np.random.default_rng(seed)
    items = np.sort(random.choice(items, min(_SAMPLE, len(items)), replace=False))
    queries = [Item(item) for item in items.tolist()]
    answers = [list(searcher.search_all(queries, _DEPTH)) for searcher in searchers]
    nearest, agreement = np.full((2, len(items)), np.inf)
    for at, lists in enumerate(zip(*answers, strict=True)):
        found = [one.hits for one in lists if isinstance(one, EngineResult) and one.hits]
        if len(found) == len(searchers):
            nearest[at] = np.mean([one[0].percentile or 0.0 for one in found])
            first, *others = [[hit.item.id for hit in hits] for hits in found]
            if others:
                agreement[at] = min(rank_biased_overlap(first, other) for other in others)
    answered = nearest[np.isfinite(nearest)]
    kinds = {
        "Typical": np.abs(nearest - (np.median(answered) if len(answered) else 0)),
        "Nearest to another": nearest,
        "Furthest from all others": np.where(np.isfinite(nearest), -nearest, np.inf),
        "Most disputed": agreement,
    }
    return _lowest(items, kinds, {})


def _lowest(items: Ids, kinds: Mapping[str, F64Vector], labels: Mapping[int, str]) -> Chosen:
    """The items of the lowest finite values of each kind, none of them twice; ties by item.

    Those of one kind have different labels, if there are any to choose from.
    """
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for why, values in kinds.items():
        order = items[np.lexsort((items, values))][: np.isfinite(values).sum()].tolist()
        free = [item for item in order if item not in taken]
        own = free[:1]
        for _ in range(_EACH - 1):
            seen = {labels.get(item) for item in own}
            rest = [item for item in free if item not in own]
            own += [item for item in rest if labels.get(item) not in seen][:1] or rest[:1]
        taken.update(own)
        if own:
            chosen[why] = own
    return chosen
