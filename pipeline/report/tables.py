"""Results → tables and lines for a terminal. Nothing is printed here; every text is made safe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pipeline.report.text import cell, counted, cut, plain, size

if TYPE_CHECKING:  # so that printing loads no library that computing needs
    from pipeline.evaluation.comparison import Comparison, QueryComparison
    from pipeline.evaluation.results import Evaluation, Scores
    from pipeline.search.result import FusedHit, Hit

Renderable = Table | Text
MAX_LABELS = 20  # in the table by label; JSON has all
MAX_LABEL_LENGTH = 80  # characters
MAX_PAIRS = 10  # mutual nearest neighbors, of a comparison


def evaluation_tables(evaluation: Evaluation) -> Iterator[Renderable]:
    """Yield how good each engine is: overall, by label, in reconstruction, and what it costs.

    for table in evaluation_tables(evaluate(config)): console.print(table)
    """
    yield from map(cell, _conditions(evaluation))
    means = (
        (s.name, *(f"{e.mean:.3f} ({e.low:.3f}–{e.high:.3f})" for e in s.scores.values()))
        for s in evaluation.systems
    )
    headings = ("ranked by", *evaluation.systems[0].scores)
    yield _table(headings, means, "Means with 95 % intervals")
    yield from map(cell, _weights(evaluation))
    if evaluation.stages:
        yield _stages(evaluation)
    yield from map(cell, _held_out(evaluation))
    yield _by_label(evaluation)
    if evaluation.reconstructions:
        errors = (
            (r.engine, f"{r.dim}", f"{r.photos:,}", f"{r.mse:.5f}", f"{r.pca_mse:.5f}")
            for r in evaluation.reconstructions
        )
        yield _table(("engine", "dim", "photos held out", "squared error", "PCA's"), errors)
    if evaluation.costs:
        yield _costs(evaluation)


def comparison_tables(comparison: Comparison, limit: int | None = None) -> Iterator[Renderable]:
    """Yield what the queries add up to, behind the lists, side by side, of the first `limit`."""
    for query in comparison.answers[:limit]:
        yield _lists(query, comparison.k)
    if limit is not None and len(comparison.answers) > limit:
        left_out = counted(len(comparison.answers) - limit, "more query")
        yield cell(f"lists of {left_out}: see --lists and --json")
    for a in comparison.agreements:
        line = f"overlap@{comparison.k} {a.overlap:.3f}, rank-biased overlap {a.rbo:.3f}"
        yield cell(f"mean of {' / '.join(a.engines)}: {line}")
    for names, queries in comparison.right.items():
        who = f"only {names}" if names and "+" not in names else names.replace("+", " and ")
        yield cell(f"right by {comparison.label}: {who or 'none'}: {counted(queries, 'query')}")
    for pair in comparison.near_identical[:MAX_PAIRS]:
        same = ", which share a photo" if pair.same_photo else ""
        yield cell(f"mutual nearest neighbors under every engine: {' and '.join(pair.keys)}{same}")
    if len(comparison.near_identical) > MAX_PAIRS:
        left_out = counted(len(comparison.near_identical) - MAX_PAIRS, "more pair")
        yield cell(f"mutual nearest neighbors: {left_out}: see --json")


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]], title: str = "") -> Table:
    table = Table(title=title or None, title_justify="left")
    for heading in headings:
        table.add_column(cell(heading))
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def _conditions(evaluation: Evaluation) -> Iterator[str]:
    """Say what the numbers are of."""
    asked = f"photos of {evaluation.query_set}" if evaluation.query_set else "items"
    yield (
        f"{evaluation.catalog}: {evaluation.scored:,} {asked} asked for others of their"
        f" {evaluation.label} among {counted(evaluation.items, 'item')};"
        f" {evaluation.unanswerable:,} had nothing to find"
    )
    if evaluation.excluded_items:
        why = "an index has not got them, or no photo of theirs can be read"
        yield f"{evaluation.excluded_items:,} labeled items are not ranked: {why}"
    for reason, rejected in evaluation.rejected.items():
        yield f"left out of the query set: {counted(rejected, 'photo')} ({reason})"
    if evaluation.similar_labels:
        labels = [
            " / ".join(cut(name, MAX_LABEL_LENGTH) for name in names)
            for names in evaluation.similar_labels
        ]
        more = f", and {len(labels) - MAX_LABELS:,} more" if len(labels) > MAX_LABELS else ""
        yield f"labels that differ only by case or blanks: {', '.join(labels[:MAX_LABELS])}{more}"
    same = {"photo": evaluation.same_photo, "product": evaluation.same_product}
    for what, excluded in same.items():
        if excluded.pairs:
            queries = counted(excluded.queries, "query")
            items = f"{counted(excluded.pairs, 'item')} of the lists of {queries}"
            yield f"left out, as they show the same {what} as the query: {items}"


def _weights(evaluation: Evaluation) -> Iterator[str]:
    """Say how the engines were fused, if by weights."""
    if evaluation.fusion_weights:
        by_engine = []
        for name in evaluation.fusion_weights[0]:
            weights = sorted(one[name] for one in evaluation.fusion_weights)
            low, high = weights[0], weights[-1]
            by_engine.append(f"{name} {low:.2f}" + (f" to {high:.2f}" if low < high else ""))
        yield f"fused by weights, fitted to other folds: {', '.join(by_engine)}"


def _stages(evaluation: Evaluation) -> Table:
    rows = []
    for stage in evaluation.stages:
        chosen = f" ({', '.join(dict.fromkeys(stage.chosen))})" if stage.chosen else ""
        gains = (f"{e.mean:+.3f} ({e.low:+.3f} to {e.high:+.3f})" for e in stage.gains.values())
        rows.append((f"{stage.stage}{chosen}", stage.of, f"{stage.queries:,}", *gains))
    headings = ("stage", "beside", "queries", *evaluation.stages[0].gains)
    return _table(headings, rows, "Gains by stage, paired by query, with 95 % intervals")


def _held_out(evaluation: Evaluation) -> Iterator[str]:
    """Say which scores flatter, and what they are over the queries not trained on."""
    from pipeline.evaluation.results import LabelHeldOut

    for engine, held_out in evaluation.held_out.items():
        if not held_out.trained_on:
            continue
        of_source = ""
        if isinstance(held_out, LabelHeldOut) and held_out.source_scores:
            of_source = f"; there {held_out.source} has {_means(held_out.source_scores)}"
        others = counted(held_out.queries, "query")
        yield (
            f"{engine} {held_out.relation} {held_out.trained_on:,} of these queries, which flatters"
            f" it; without them, on {others}: {_means(held_out.scores) or 'none'}{of_source}"
        )


def _means(scores: Scores | None) -> str:
    return ", ".join(f"{metric} {estimate.mean:.3f}" for metric, estimate in (scores or {}).items())


def _by_label(evaluation: Evaluation) -> Table:
    labels = [(label, count) for label, count in evaluation.labels.items() if count.queries]
    labels.sort(key=lambda label: -label[1].queries)
    rows = []
    for label, count in labels[:MAX_LABELS]:
        means = (f"{system.by_label[label]['P@3'].mean:.3f}" for system in evaluation.systems)
        name = cut(label, MAX_LABEL_LENGTH)
        rows.append((name, f"{count.items:,}", f"{count.queries:,}", *means))
    systems = (system.name for system in evaluation.systems)
    table = _table((evaluation.label, "items", "queries", *systems), rows, "P@3 by label")
    if len(labels) > MAX_LABELS:
        table.caption = f"and {len(labels) - MAX_LABELS:,} more: see --json"
    return table


def _costs(evaluation: Evaluation) -> Table:
    rows = []
    for cost in evaluation.costs:
        speeds = (cost.embedding.photos_per_second, cost.embedding.decoded_per_second)
        sizes = size(cost.vector_bytes), size(cost.build_bytes)
        times = f"{cost.lookup_ms:.2f} ms", f"{cost.query_ms:.1f} ms"
        per_second = (f"{speed:,.1f}" for speed in speeds)
        rows.append((cost.engine, *per_second, *sizes, *times, f"{cost.recall_at_10:.4f}"))
    names = ("engine", "photos/s", "decoded/s", "vector", "index", "lookup", "query", "recall@10")
    return _table(names, rows)


def _lists(query: QueryComparison, k: int) -> Table:
    """One query's lists, a column for each engine and one for the fused list."""
    from pipeline.search.fusion import FUSED

    label = f" ({query.label})" if query.label else ""
    title = Text(plain(f"Nearest to {query.query}{label}"), "table.title")
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("rank", justify="right")
    lists: dict[str, Sequence[Hit | FusedHit]] = {**query.lists, FUSED: query.fused}
    for name in lists:
        is_right = (query.right or {}).get(name)
        mark = "" if is_right is None else " (right)" if is_right else " (wrong)"
        table.add_column(cell(name + mark))
    for rank, row in enumerate(zip_longest(*lists.values()), 1):
        items = [hit.item if hit else None for hit in row]
        cells = (f"{item.name} · {item.category} · {item.id}" if item else "" for item in items)
        table.add_row(*map(cell, (f"{rank}", *cells)))
    agreements = (
        f"{' / '.join(a.engines)}: overlap@{k} {a.overlap:.2f}, RBO {a.rbo:.2f}"
        for a in query.agreements
    )
    table.caption = Text("\n".join(map(plain, agreements)), "table.caption")
    return table
