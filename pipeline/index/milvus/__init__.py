"""An index that a Milvus server searches, and that is exact all the same.

The vectors stay in segments on the disk, as those of `flat`. Beside them the server has a
collection for each published index, which never changes: what it finds near is compared again, in
float64 and with the vectors of the disk, so that distances are those of `flat` to the last bit.

    server        one connection: retries within a deadline, one-line errors, credentials
    collection    what there is of one index
    columns       items' columns, as a collection has them
    expression    a condition → what Milvus can filter by
    index         searches
    steps         what it asks for, and what it finds
    probing       how far to look, to keep a promise of recall
    writing       insert, flush, index, load
    checking      count, compare
"""

from __future__ import annotations

from pipeline.catalog.condition_tree import Tree
from pipeline.config import MilvusSettings
from pipeline.index.base import VectorIndex
from pipeline.index.milvus.collection import Collection


def serve(
    settings: MilvusSettings, collection: Collection | None, index: VectorIndex
) -> VectorIndex:
    """Let Milvus search what the index of a build holds, if it has a collection of it.

    Closing what is returned closes the index: `serve(config.index.milvus, collection, index)`.
    """
    if collection is None:
        return index
    from pipeline.index.milvus.index import MilvusIndex
    from pipeline.index.milvus.server import MilvusServer

    return MilvusIndex(MilvusServer(settings), collection, index)


def ensure_ready(index: VectorIndex) -> None:
    """Make sure that Milvus answers for an index, if it searches it: `ensure_ready(index)`.

    Raises:
        VectorDatabaseError: it does not, or has not loaded it.
    """
    from pipeline.index.milvus.index import MilvusIndex

    if isinstance(index, MilvusIndex):
        index.ensure_ready()


def narrowed(index: VectorIndex, condition: Tree | None) -> VectorIndex:
    """Return an index for searches by a condition, so that Milvus is told of it."""
    if condition is None:
        return index
    from pipeline.index.milvus.index import MilvusIndex

    return index.narrowed(condition) if isinstance(index, MilvusIndex) else index
