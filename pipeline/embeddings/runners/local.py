"""All work is done in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

from pipeline.embeddings.runners.base import OpenEmbedder
from pipeline.embeddings.shards import ShardPhotos, ShardResult
from pipeline.progress import Advance

if TYPE_CHECKING:
    from pipeline.download.storing import DownloadJob, End


class LocalRunner:
    """Does everything here: `LocalRunner().embed(open_embedder, shards, advance)`."""

    def embed(
        self, open_embedder: OpenEmbedder, shards: Iterable[ShardPhotos], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Like `Runner.embed`, shard after shard."""
        with open_embedder() as embedder:
            yield from embedder.embed_shards(shards, advance)

    def fetch(self, urls: Iterable[str], job: DownloadJob, end: End) -> None:
        """Like `Runner.fetch`."""
        from pipeline.download.storing import fetch_here

        fetch_here(urls, job, end)
