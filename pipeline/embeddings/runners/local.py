"""All work is done in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from pipeline.embeddings.runners.base import OpenEmbedder
from pipeline.embeddings.shards import ShardPhotos, ShardResult
from pipeline.progress import Advance


class LocalRunner:
    """Does everything here: `LocalRunner().embed(engine.open_embedder, shards, advance)`."""

    def embed(
        self, open_embedder: OpenEmbedder, shards: Iterable[ShardPhotos], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Like `Runner.embed`, shard after shard."""
        with open_embedder() as embedder:
            yield from embedder.embed_shards(shards, advance)
