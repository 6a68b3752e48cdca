"""What a runner is: it has photos embedded and downloaded, by one process or by many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from pipeline.embeddings.shards import Embedder, ShardPhotos, ShardResult
from pipeline.progress import Advance

if TYPE_CHECKING:  # it imports a web client, which queries do without
    from pipeline.download.storing import DownloadJob, End

OpenEmbedder = Callable[[], AbstractContextManager[Embedder]]
"""Loads a model. It is sent to other processes, so it can be pickled; what it returns cannot."""


class Runner(Protocol):
    """Has photos embedded and downloaded; what they became is told to the process that asks."""

    def embed(
        self, open_embedder: OpenEmbedder, shards: Iterable[ShardPhotos], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Yield what became of each shard, in any order; `shards` is read as far as needed.

            for result in runner.embed(partial(open_embedder, engine), shards, ignored): ...

        Raises what `Embedder.embed_shards` does.
        """

    def fetch(self, urls: Iterable[str], job: DownloadJob, end: End) -> None:
        """Fetch and store photos, and call `end` for each: a `FetchPhotos`.

        At no time does a host get more requests than `job.settings` allow, over all processes.

            runner.fetch(queue.urls(State.PENDING), job, run.end)

        Raises:
            OSError: the photos cannot be written.
        """
