"""Search a collection: Milvus proposes rows, and their vectors on the disk say how far they are.

Milvus computes in float32, and may put rows in another order than `flat` does. So some rows more
are asked for, until it is certain that no other row can be nearer than the k-th. Let d be the
largest true distance among the rows that were returned. Any other row has a computed square that is
not smaller than the computed square of each of them, and each square is off by at most e; hence its
true square is at least d² − 2e.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from pipeline.catalog.condition_tree import Tree
from pipeline.errors import QueryError, VectorDatabaseError
from pipeline.index.base import F32Matrix, F32Vector, F64Vector, Ids, Neighbors, VectorIndex
from pipeline.index.milvus.collection import ROW, VECTOR, Collection
from pipeline.index.milvus.expression import rows_expression, to_expression
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.rounding import MAX_FLOAT32, expanded_square_error, flush_error
from pipeline.index.vectors import distances_to, distinct

MAX_LIMIT = 16_384
"""Rows that Milvus returns for a query at most."""
MAX_ROW_LIST = 10_000
"""Rows that are listed one by one in a filter; where more are allowed, a condition is needed."""
EXTRA_ROWS = 8  # asked for beyond k, by which it is known that no other row is nearer
GROWTH = 4  # times as many rows, where that was not enough
QUERY_BLOCK = 64  # queries of a request
MAX_REPLY_ROWS = 1 << 17  # of all queries of a request


class MilvusIndex:
    """The index of one collection, beside the same vectors on the disk."""

    def __init__(
        self,
        server: MilvusServer,
        collection: Collection,
        index: VectorIndex,
        expression: str | None = None,
    ) -> None:
        """Search a collection; where only some rows are allowed, by an expression.

        That is "" where Milvus cannot filter by the condition, and None where there is none.
        """
        self._server, self._collection, self._index = server, collection, index
        self._expression = expression
        self._is_exact = collection.promise is None
        self.rows, self.dim = index.rows, index.dim
        self.vectors = index.vectors

    def close(self) -> None:
        """Close the connection, and the index on the disk."""
        with ExitStack() as stack:
            stack.callback(self._index.close)
            stack.callback(self._server.close)

    def narrowed(self, condition: Tree) -> MilvusIndex:
        """Return one for searches among rows that meet a condition, of which Milvus is told.

        It shares the connection: do not close it.
        """
        expression = to_expression(condition, self._collection.stale) or ""
        return MilvusIndex(self._server, self._collection, self._index, expression)

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return the nearest rows as `flat` does, by (distance in float64, row).

        Where the collection promises recall, some may be missing, and others be in their place.

        Raises:
            VectorDatabaseError: the server does not answer, or does not hold what it should.
            QueryError: more rows are allowed than can be listed, and few of them are near.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        scope = self._scope(allowed)
        k = min(k, self.rows if scope.kept is None else len(scope.kept))
        is_few = scope.is_listed and scope.kept is not None and not self._is_exact
        if is_few or not (k and len(queries)) or k > MAX_LIMIT - EXTRA_ROWS:
            # So few that they are compared, or more than Milvus returns.
            return self._index.search(queries, k, allowed)
        distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        verified = np.zeros(len(queries), np.int64)
        open_queries, limit, are_short = np.arange(len(queries)), k + EXTRA_ROWS, False
        while len(open_queries) and limit < GROWTH * MAX_LIMIT:
            limit, asked = GROWTH * limit, min(limit, scope.size, MAX_LIMIT)
            proposed = [*self._propose(queries[open_queries], asked, scope)]
            answers = [
                self._certain(queries[query], k, candidates, scope, len(candidates) < asked)
                for query, candidates in zip(open_queries.tolist(), proposed, strict=True)
            ]
            for query, answer in zip(open_queries.tolist(), answers, strict=True):
                if answer is not None:
                    distances[query], rows[query], verified[query] = answer
            is_open = [answer is None for answer in answers]
            are_short = all(len(proposed[n]) < asked for n in np.flatnonzero(is_open))
            open_queries = open_queries[is_open]
        if len(open_queries):
            rest = self._on_disk(queries[open_queries], k, scope, are_short)
            distances[open_queries], rows[open_queries] = rest.distances, rest.rows
            verified[open_queries] = rest.verified
        return Neighbors(distances, rows, verified)

    def _scope(self, allowed: Ids | None) -> _Scope:
        if allowed is None:
            return _Scope("", self.rows, None)
        allowed = distinct(allowed, self.rows)
        if len(allowed) <= MAX_ROW_LIST:
            return _Scope(rows_expression(allowed.tolist()), len(allowed), allowed)
        return _Scope(self._expression or "", self.rows, allowed, is_listed=False)

    def _propose(self, queries: F32Matrix, limit: int, scope: _Scope) -> Iterator[Ids]:
        """Yield for each query the `limit` rows that are nearest by what Milvus computes."""
        share = len(scope.kept) / self.rows if scope.expression and scope.kept is not None else 1.0
        block = max(1, min(QUERY_BLOCK, MAX_REPLY_ROWS // limit))
        for start in range(0, len(queries), block):
            found = self._server.call(
                "search",
                self._collection.name,
                list(queries[start : start + block]),
                filter=scope.expression,
                limit=limit,
                anns_field=VECTOR,
                output_fields=[ROW],
                search_params=self._collection.search_parameters(limit, share),
                consistency_level="Bounded",
                seconds=self._server.settings.timeout,
            )
            for hits in found:
                rows = np.array(hits.ids, np.int64)
                self._check(rows, limit, scope)
                yield rows

    def _check(self, rows: Ids, limit: int, scope: _Scope) -> None:
        is_strange = len(rows) and not 0 <= rows.min() <= rows.max() < self.rows
        is_complete = len(rows) == limit or not (self._is_exact and scope.is_listed)
        if is_strange or not is_complete:
            raise VectorDatabaseError(
                f"{self._collection.name} does not hold the rows that it should",
                where=self._server.settings.uri,
                hint="drop that collection, and run `imgsearch build`",
            )

    def _certain(
        self, query: F32Vector, k: int, candidates: Ids, scope: _Scope, is_all: bool
    ) -> tuple[F64Vector, Ids, int] | None:
        """The k nearest of the candidates; None where other rows may be nearer, or to be found.

        With `is_all` there are no other rows. Where recall is promised, it does not matter.
        """
        distances = distances_to(query, self.vectors(candidates))
        order = np.lexsort((candidates, distances))
        farthest = float(distances.max(initial=0.0))
        if scope.kept is not None and not scope.is_listed:
            order = order[np.isin(candidates[order], scope.kept)]
        order = order[:k]
        if len(order) < k:
            return None
        if self._is_exact and not is_all and len(candidates) < scope.size:
            norms = 2 * float(np.linalg.norm(query.astype(np.float64))) + farthest
            error = expanded_square_error(self.dim, norms) + flush_error(self.dim)
            beyond = farthest**2 - 2 * error
            if not distances[order[-1]] ** 2 < beyond < MAX_FLOAT32:
                return None
        return distances[order], candidates[order], len(candidates)

    def _on_disk(self, queries: F32Matrix, k: int, scope: _Scope, are_short: bool) -> Neighbors:
        """Compare all rows that are allowed, where Milvus returns too few of them.

        HNSW may give fewer than it is asked for, though more meet a filter: paths end at those that
        do not.
        """
        if scope.is_listed or self._expression is None or are_short:
            return self._index.search(queries, k, scope.kept)
        raise QueryError(
            f"the condition allows more than {MAX_ROW_LIST:,} photos, of which fewer than {k} are"
            f" among the {MAX_LIMIT:,} nearest that Milvus returns",
            hint="use a narrower condition, or one of =, <, >, in and between, joined by and",
        )


@dataclass(frozen=True)
class _Scope:
    """Among which rows to search, and what Milvus is told of them."""

    expression: str
    size: int
    """How many rows meet the expression at most."""
    kept: Ids | None
    """Rows that may be returned, ascending; None: all."""
    is_listed: bool = True
    """Whether those rows are exactly the ones that meet the expression."""
