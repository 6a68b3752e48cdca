"""Relevance feedback: a query is moved toward examples of what is wanted, and away from others.

After Rocchio (Relevance feedback in information retrieval, 1971), but relative to the query and not
to the origin, which means nothing where distances are Euclidean: with m the mean of the query and
of what is liked, and u that of what is not, the query becomes m + AWAY (m - u).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError, QueryError
from pipeline.search.encoding import QueryEncoder
from pipeline.search.query import EncodedQuery

F32Matrix = npt.NDArray[np.float32]
F64Matrix = npt.NDArray[np.float64]

AWAY = 0.5
"""How far a query moves away from what is not liked, as a share of its distance from that."""


@dataclass(frozen=True)
class Feedback:
    """Examples as vectors of one engine; they are not found themselves."""

    liked: F32Matrix
    """(n, dim) float32; n may be 0."""
    unliked: F32Matrix
    """The same."""
    items: tuple[int, ...] = ()
    is_normalized: bool = False
    """Whether the engine's vectors have unit length."""

    def applied(self, query: EncodedQuery | PipelineError) -> EncodedQuery | PipelineError:
        """Return a query moved by the examples, or why it cannot be; an error stays as it is."""
        if isinstance(query, PipelineError) or not self.items:
            return query
        vectors = rocchio(query.vectors.vectors, self.liked, self.unliked)
        if self.is_normalized:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            if not norms.all():
                return QueryError("the examples cancel each other out", hint="give other ones")
            vectors = vectors / norms
        exclude = (*query.vectors.exclude, *self.items)
        moved = query.vectors._replace(vectors=vectors, exclude=exclude)
        return query._replace(vectors=moved, rounding=0.0)


def read_feedback(like: Sequence[int], unlike: Sequence[int], encoder: QueryEncoder) -> Feedback:
    """Look up items in the index of an engine; one counts by the mean of its photos.

    Raises:
        QueryError: there is no such item, or one is liked and unliked.
    """
    if both := set(like) & set(unlike):
        raise QueryError(f"item {min(both)} is an example of both what is wanted and what is not")
    return Feedback(
        _means(encoder, like),
        _means(encoder, unlike),
        (*like, *unlike),
        encoder.is_normalized,
    )


def rocchio(queries: F32Matrix, liked: F32Matrix, unliked: F32Matrix) -> F32Matrix:
    """(m, dim) queries, (n, dim) liked and (u, dim) unliked → the m queries, moved: float32.

    rocchio(query[np.newaxis], shirts, ties)
    """
    moved: F64Matrix = (queries.astype(np.float64) + liked.sum(axis=0)) / (1 + len(liked))
    if len(unliked):
        moved += AWAY * (moved - unliked.mean(axis=0))
    result: F32Matrix = moved.astype(np.float32)
    return result


def _means(encoder: QueryEncoder, items: Sequence[int]) -> F32Matrix:
    means = [encoder.vectors_of(item).mean(axis=0) for item in items]
    return np.array(means, np.float32).reshape(-1, encoder.dim)
