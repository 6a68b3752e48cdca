"""One search by one engine, stage by stage: prepare → encode → move → refine and rank → hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from pipeline.concurrency import ordered_map
from pipeline.config.schema import EmbeddingSettings
from pipeline.errors import PipelineError
from pipeline.publish.tuning import Refine
from pipeline.search.encoding import QueryEncoder
from pipeline.search.engine_answers import EngineAnswers
from pipeline.search.feedback import Feedback
from pipeline.search.query import EncodedQuery, Query
from pipeline.search.ranking import Ranking
from pipeline.search.refining import RefinedList, Refiner
from pipeline.search.result import EngineResult
from pipeline.search.spec import SearchSpec
from pipeline.search.tiers import rank_tiers


@dataclass(frozen=True)
class EngineSearch:
    """What is done with each batch of the queries of a search."""

    spec: SearchSpec
    k: int
    encoder: QueryEncoder
    feedback: Feedback
    ranking: Ranking
    refine: Refine
    answers: EngineAnswers
    settings: EmbeddingSettings

    def run(self, queries: Iterable[Query]) -> Iterator[EngineResult | PipelineError]:
        """Yield the answer to each query, or why it has none; memory holds one batch."""
        waiting = iter(queries)
        while batch := list(islice(waiting, self.settings.batch_size)):
            encoded = [self.feedback.applied(query) for query in self._encoded(batch)]
            found = iter(self._found([q for q in encoded if isinstance(q, EncodedQuery)]))
            yield from (next(found) if isinstance(q, EncodedQuery) else q for q in encoded)

    def _encoded(self, queries: Sequence[Query]) -> list[EncodedQuery | PipelineError]:
        look = self.spec.words.ranking if self.spec.look else None
        prepare = partial(self.encoder.prepare, region=self.spec.region, look=look)
        prepared = ordered_map(prepare, queries, self.settings.decoders, ahead=len(queries))
        return self.encoder.encode(list(prepared))

    def _found(self, queries: Sequence[EncodedQuery]) -> list[EngineResult]:
        lists, refined = self._ranked(queries)
        return [
            self.answers.result(query, found, refined)
            for query, found in zip(queries, lists, strict=True)
        ]

    def _ranked(self, queries: Sequence[EncodedQuery]) -> tuple[list[RefinedList], Refine]:
        """What is found for each query, and how that was refined."""
        vectors, words = [query.vectors for query in queries], self.ranking.filter.words
        if words is None:
            refiner = Refiner(self.ranking, self.refine)
            return refiner.rank(vectors, self.k), refiner.refine
        # Whose tiers an order by vectors alone would mix.
        ranked = rank_tiers(self.ranking, words.tiers(), vectors, self.k)
        return [RefinedList(q, items) for q, items in zip(vectors, ranked, strict=True)], "off"
