"""Search a collection: Milvus proposes rows, and their vectors on the disk say how far they are.

Milvus computes in float32, and may put rows in another order than `flat` does. So some rows more
are asked for, until it is certain that no other row can be nearer than the k-th. Let d be the
largest true distance among the rows that were returned. Any other row has a computed square that is
not smaller than the computed square of each of them, and each square is off by at most e; hence its
true square is at least d² − 2e.

Where recall is promised, Milvus looks into some lists of near vectors. How far away the k-th of
what it finds there is says how many it takes (`probing`); if that is more, it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from pipeline.catalog.condition_tree import Tree
from pipeline.errors import QueryError, VectorDatabaseError
from pipeline.index.base import (
    Answer,
    F32Matrix,
    F32Vector,
    Ids,
    Neighbors,
    VectorIndex,
    joined,
)
from pipeline.index.milvus.collection import ROW, VECTOR, Collection
from pipeline.index.milvus.expression import rows_expression, to_expression
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.milvus.steps import Found, Scope, Step
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
READY_SECONDS = 2.0  # to say whether searches are answered: who asks does not wait long


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
        self._server, self.collection, self._index = server, collection, index
        self._expression = expression
        self.rows, self.dim = index.rows, index.dim
        self.vectors = index.vectors

    def close(self) -> None:
        """Close the connection, and the index on the disk."""
        with ExitStack() as stack:
            stack.callback(self._index.close)
            stack.callback(self._server.close)

    def ensure_ready(self) -> None:
        """Ask for one row, which those that search must have: much sooner than a search may take.

        Raises:
            VectorDatabaseError: they do not answer, or it is not there.
        """
        name, seconds = self.collection.name, min(READY_SECONDS, self._server.settings.timeout)
        rows = self._server.call("query", name, filter=rows_expression([0]), seconds=seconds)
        if self.rows and not rows:
            raise self._strange()

    def narrowed(self, condition: Tree) -> MilvusIndex:
        """Return one for searches among rows that meet a condition, of which Milvus is told.

        It shares the connection: do not close it.
        """
        expression = to_expression(condition, self.collection.stale) or ""
        return MilvusIndex(self._server, self.collection, self._index, expression)

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return the nearest rows as `flat` does, by (distance in float64, row).

        Where the collection promises recall and all rows are allowed, some may be missing, and
        others be in their place.

        Raises:
            VectorDatabaseError: the server does not answer, or does not hold what it should.
            QueryError: more rows are allowed than can be listed, and few of them are near.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        scope = self._scope(allowed)
        k = min(k, self.rows if scope.kept is None else len(scope.kept))
        if not (k and len(queries)) or k > MAX_LIMIT - EXTRA_ROWS:  # more than Milvus returns
            return self._index.search(queries, k, allowed)
        answers = self._answers(queries, k, scope)
        return joined(answers, queries, k, lambda rest: self._index.search(rest, k, scope.kept))

    def rows_within(self, queries: F32Matrix, limit: int, lists: int) -> Iterator[Ids]:
        """Yield for each query the rows that are nearest by what Milvus computes, in some lists."""
        return self._propose(queries, Step(limit, lists), self._scope(None))

    def _answers(self, queries: F32Matrix, k: int, scope: Scope) -> list[Answer | None]:
        """Ask until each answer is certain, or as good as promised; None: Milvus has no more."""
        answers: list[Answer | None] = [None] * len(queries)
        waiting = {self._first_step(k, scope): list(range(len(queries)))}
        while waiting:
            step, asking = waiting.popitem()
            proposed = self._propose(queries[asking], step, scope)
            for query, rows in zip(asking, proposed, strict=True):
                found = self._compare(queries[query], rows, k, scope)
                following = self._next_step(step, queries[query], found, k, scope)
                if following == step:
                    answers[query] = found.distances, found.rows, found.proposed
                elif following is not None:
                    waiting.setdefault(following, []).append(query)
        return answers

    def _scope(self, allowed: Ids | None) -> Scope:
        if allowed is None:
            return Scope("", self.rows, None)
        allowed = distinct(allowed, self.rows)
        if len(allowed) <= MAX_ROW_LIST:
            return Scope(rows_expression(allowed.tolist()), len(allowed), allowed)
        return Scope(self._expression or "", self.rows, allowed, is_listed=False)

    def _first_step(self, k: int, scope: Scope) -> Step:
        """Ask for a few more than k, of as many lists as most queries take."""
        collection, levels = self.collection, self.collection.levels
        is_usual = levels and scope.kept is None
        lists = levels[len(levels) // 2].lists if is_usual else collection.lists
        return Step(min(k + EXTRA_ROWS, scope.size, MAX_LIMIT), lists)

    def _next_step(
        self, step: Step, query: F32Vector, found: Found, k: int, scope: Scope
    ) -> Step | None:
        """What to ask for next: the same where the answer stands, None where there is no more.

        Raises:
            QueryError: more may be there than Milvus returns.
        """
        is_all, lists = found.proposed < step.limit, self.collection.lists
        if step.lists < lists:
            kth = float(found.distances[-1]) if len(found.rows) == k else np.inf
            needed = self.collection.lists_within(kth)
            return step if needed <= step.lists else step._replace(lists=needed)
        if len(found.rows) == k and (is_all or self._is_certain(query, found, scope)):
            return step
        limit = min(GROWTH * step.limit, scope.size, MAX_LIMIT)
        if is_all or limit == step.limit:
            self._refuse_if(not is_all, k, scope)
            return None
        return step._replace(limit=limit)

    def _propose(self, queries: F32Matrix, step: Step, scope: Scope) -> Iterator[Ids]:
        """Yield for each query the rows that are nearest by what Milvus computes."""
        block = max(1, min(QUERY_BLOCK, MAX_REPLY_ROWS // step.limit))
        for start in range(0, len(queries), block):
            found = self._server.call(
                "search",
                self.collection.name,
                list(queries[start : start + block]),
                filter=scope.expression,
                limit=step.limit,
                anns_field=VECTOR,
                output_fields=[ROW],
                search_params=self.collection.search_parameters(step.lists),
                consistency_level="Bounded",
                seconds=self._server.settings.timeout,
            )
            for hits in found:
                rows = np.array(hits.ids, np.int64)
                self._check(rows, step, scope)
                yield rows

    def _check(self, rows: Ids, step: Step, scope: Scope) -> None:
        is_strange = len(rows) and not 0 <= rows.min() <= rows.max() < self.rows
        is_exact = step.lists == self.collection.lists
        is_complete = len(rows) == step.limit or not (is_exact and scope.is_listed)
        if is_strange or not is_complete:
            raise self._strange()

    def _strange(self) -> VectorDatabaseError:
        return VectorDatabaseError(
            f"{self.collection.name} does not hold the rows that it should",
            where=self._server.settings.uri,
            hint="drop that collection, and run `imgsearch build`",
        )

    def _compare(self, query: F32Vector, candidates: Ids, k: int, scope: Scope) -> Found:
        """Find the k nearest of the candidates that are allowed."""
        distances = distances_to(query, self.vectors(candidates))
        order = np.lexsort((candidates, distances))
        if scope.kept is not None and not scope.is_listed:
            order = order[np.isin(candidates[order], scope.kept)]
        farthest = float(distances.max(initial=0.0))
        order = order[:k]
        return Found(distances[order], candidates[order], farthest, len(candidates))

    def _is_certain(self, query: F32Vector, found: Found, scope: Scope) -> bool:
        """Whether no row that was not proposed can be nearer than those that were found."""
        if found.proposed == scope.size:
            return True
        norms = 2 * float(np.linalg.norm(query.astype(np.float64))) + found.farthest
        error = expanded_square_error(self.dim, norms) + flush_error(self.dim)
        beyond = found.farthest**2 - 2 * error
        return bool(found.distances[-1] ** 2 < beyond < MAX_FLOAT32)

    def _refuse_if(self, are_more: bool, k: int, scope: Scope) -> None:
        """Refuse what is not looked up on the disk: where a condition is known, it takes long."""
        if are_more and not scope.is_listed and self._expression is not None:
            raise QueryError(
                f"the condition allows more than {MAX_ROW_LIST:,} photos, of which fewer than {k}"
                f" are among the {MAX_LIMIT:,} nearest that Milvus returns",
                hint="use a narrower condition, or one of =, <, >, in and between, joined by and",
            )
