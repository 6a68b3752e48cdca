"""All engines' answers to a query → one list, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

from pipeline.publish.tuning import FittedFusion
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.fusion import fuse
from pipeline.search.result import EngineResult, FusedHit
from pipeline.search.weighting import fuse_weighted


class EngineFusion:
    """Fuses the lists of open engines: by ranks, or by the weights of their publication."""

    def __init__(self, engines: Mapping[str, EngineSearcher]) -> None:
        self._engines = engines

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of a fused list."""
        one = next(iter(self._engines.values()))
        is_as_wanted = one.config.search.fusion != "weighted" or self.weights
        if is_as_wanted or len(self._engines) == 1:
            return ()
        number = one.publication.number
        return (f"fused by ranks: publication {number} has no weights; run `imgsearch publish`",)

    @cached_property
    def weights(self) -> FittedFusion | None:
        """The weights that the lists are fused by; None: they are fused by ranks."""
        one = next(iter(self._engines.values()))
        tuning = one.publication.tuning
        return tuning.fusion if tuning and one.config.search.fusion == "weighted" else None

    def fuse(self, answers: Mapping[str, EngineResult], k: int) -> tuple[FusedHit, ...]:
        """Fuse the answers to one query, each of `fusion.DEPTH` hits, or k if that is more."""
        lists = {name: answer.hits for name, answer in answers.items()}
        if self.weights is None or len(lists) == 1:
            return fuse(lists, k)
        distances = {
            name: partial(self._engines[name].item_distances.to, query=answer.searched)
            for name, answer in answers.items()
            if answer.searched
        }
        return fuse_weighted(lists, k, self.weights, distances)
