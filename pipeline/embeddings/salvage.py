"""Save what is intact of a damaged segment, so that only the rest has to be embedded again."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from pipeline.artifacts import remove
from pipeline.embeddings.flat_file import FlatFile
from pipeline.embeddings.segment import READ_ROWS, SegmentStore, row_checksums
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import DamagedArtifactError


def salvage(folder: Path, embeddings: Path) -> None:
    """Remove a damaged segment; vectors that are what was written become shards again.

    `embeddings` has a folder of shards for each model.

        salvage(engine.builds.segments.folder / name, engine.folder / "embeddings")

    Raises:
        OSError: it cannot be read, or the shards cannot be written.
    """
    with suppress(DamagedArtifactError):  # nothing of it can be trusted
        segment = SegmentStore(folder.parent).open(folder.name)
        hashes, checksums = segment.hashes, segment.checksums
        store = EmbeddingStore(embeddings / segment.manifest["fingerprint"])
        with closing(FlatFile(segment.file)) as file:
            for start in range(0, segment.rows, READ_ROWS):
                rows = np.arange(start, min(start + READ_ROWS, segment.rows))
                vectors = file.read(rows)
                intact = rows[(row_checksums(vectors) == checksums[rows]).all(axis=1)]
                if len(intact):
                    store.write([*map(bytes, hashes[intact])], vectors[intact - start])
    remove(folder)
