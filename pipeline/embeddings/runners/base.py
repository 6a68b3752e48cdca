"""What a runner is: it has shards embedded, by one embedder or by many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.embeddings.shards import Embedder, ShardPhotos, ShardResult
from pipeline.progress import Advance

OpenEmbedder = Callable[[], AbstractContextManager[Embedder]]
"""Loads a model. It is sent to other processes, so it can be pickled; what it returns cannot."""


class Runner(Protocol):
    """Has shards embedded."""

    def embed(
        self, open_embedder: OpenEmbedder, shards: Iterable[ShardPhotos], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Yield what became of each shard, in any order; `shards` is read as far as needed.

            for result in runner.embed(engine.open_embedder, shards, ignored): ...

        Raises what `Embedder.embed_shards` does.
        """
