"""All engines' answers to one query → one `SearchResult`, with a fused list if asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.catalog.conditions import Condition
from pipeline.errors import NoLookError, PipelineError, QueryError
from pipeline.images import AUTO
from pipeline.search.engine_fusion import EngineFusion
from pipeline.search.fused_list import first_fused
from pipeline.search.fusion import DEPTH, fuse
from pipeline.search.query import Query, describe
from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult, TextHit
from pipeline.search.spec import SearchSpec
from pipeline.search.word_hits import TEXT

_NO_REGION = "no plain background was found, so the whole photo was searched with"


@dataclass(frozen=True)
class Combiner:
    """Puts answers to the queries of one search together."""

    spec: SearchSpec
    k: int
    fusion: EngineFusion | None
    """What makes one list of all; None if that is not asked for."""
    publication: int
    notes: Sequence[str]
    """What holds for every answer."""

    @property
    def depth(self) -> int:
        """How many hits of each list are needed."""
        return self.k if self.fusion is None else max(self.k, DEPTH)

    def combine(
        self, query: Query, results: Sequence[EngineResult | PipelineError]
    ) -> SearchResult | PipelineError:
        """Return the answer to a query; the first error of an engine stands for all."""
        answers: dict[str, EngineResult] = {}
        for result in results:
            if isinstance(result, EngineResult):
                answers[result.engine] = result
            elif not isinstance(result, NoLookError) or self.spec.examples:
                return result
        try:
            text, word_notes = self.spec.words.answer(query, self.depth, self.spec.examples)
        except QueryError as error:
            return error
        lists: dict[str, Sequence[Hit | TextHit]] = {n: found.hits for n, found in answers.items()}
        lists |= {} if text is None else {TEXT: text}
        return SearchResult(
            describe(query),
            self.publication,
            {name: result.first(self.k) for name, result in answers.items()},
            None if self.fusion is None else self._fused(self.fusion, lists, answers),
            (*self._notes(answers, any(lists.values())), *word_notes, *self.notes),
            None if text is None else text[: self.k],
        )

    def _fused(
        self,
        fusion: EngineFusion,
        lists: Mapping[str, Sequence[Hit | TextHit]],
        answers: Mapping[str, EngineResult],
    ) -> tuple[FusedHit, ...]:
        """All lists as one."""
        count = sum(map(len, lists.values()))
        # A list of words has no distances that could be weighed.
        fused = fuse(lists, count) if TEXT in lists else fusion.fuse(answers, count)
        return first_fused(fused, self.k, self.spec.filter.words, self.spec.filter.duplicates)

    def _notes(self, answers: Mapping[str, EngineResult], has_hits: bool) -> tuple[str, ...]:
        is_auto, regions = self.spec.region == AUTO, [one.region for one in answers.values()]
        return (
            *([_NO_REGION] if is_auto and not any(regions) else []),
            *(self.fusion.notes if self.fusion else ()),
            *_notes_of(self.spec.condition, has_hits),
        )


def _notes_of(condition: Condition | None, has_hits: bool) -> tuple[str, ...]:
    if condition is None:
        return ()
    return (*condition.notes, *(() if has_hits else condition.suggestions))
