"""How good engines are, and where they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.console.output import cell, cut, plain, size, stdout, talk

if TYPE_CHECKING:
    from pipeline.compare import Comparison
    from pipeline.evaluate import Evaluation
    from pipeline.fusion import Fused
    from pipeline.search import Neighbour

_LABEL = 80  # characters of one
_SHOWN_LABELS = 20  # in the table; JSON has all


def print_evaluation(found: Evaluation) -> None:
    """Print how good each engine is: overall, by label, rebuilding photos, and what it costs."""
    out = stdout()
    for line in _conditions(found):
        out.print(cell(line))
    metrics = list(found.systems[0].scores)
    table = Table("ranked by", *metrics, title="Means with 95 % intervals", title_justify="left")
    for system in found.systems:
        cells = [f"{e.mean:.3f} ({e.low:.3f}–{e.high:.3f})" for e in system.scores.values()]
        table.add_row(*map(cell, (system.name, *cells)))
    out.print(table)
    for line in _held_out(found):
        out.print(cell(line))
    _print_labels(out, found)
    if found.reconstructions:
        table = Table("engine", "numbers", "photos held out", "squared error", "PCA's")
        for r in found.reconstructions:
            errors = (f"{r.mse:.5f}", f"{r.pca_mse:.5f}")
            table.add_row(*map(cell, (r.engine, f"{r.numbers}", f"{r.photos:,}", *errors)))
        out.print(table)
    if found.costs:
        table = Table("engine", "photos/s", "decoded/s", "vector", "index", "lookup", "query")
        table.add_column("recall@10")
        for c in found.costs:
            table.add_row(
                cell(c.engine),
                f"{c.embedding.photos_per_second:,.1f}",
                f"{c.embedding.decoded_per_second:,.1f}",
                size(c.vector_bytes),
                size(c.build_bytes),
                f"{c.lookup_ms:.2f} ms",
                f"{c.query_ms:.1f} ms",
                f"{c.recall_at_10:.4f}",
            )
        out.print(table)
    for system in found.systems:
        if system.warning and system.kind == "engine":
            talk(system.warning)


def _conditions(found: Evaluation) -> Iterator[str]:
    """Say what the numbers are of."""
    asked = f"photos of {found.query_set}" if found.query_set else "items"
    yield (
        f"{found.catalogue}: {found.scored:,} {asked} asked for others of their {found.label} among"
        f" {found.items:,} items; {found.nothing_to_find:,} had nothing to find"
    )
    if found.left_aside:
        why = "an index has not got them, or no photo of theirs can be read"
        yield f"{found.left_aside:,} labelled items are not ranked: {why}"
    for reason, photos in found.rejected.items():
        yield f"{photos:,} photos were no queries: {reason}"
    for what, left_out in (("photo", found.same_photo), ("product", found.same_product)):
        if left_out.pairs:
            yield (
                f"of the same {what}, and so left out: {left_out.pairs:,} items of the lists of"
                f" {left_out.queries:,} queries"
            )


def _held_out(found: Evaluation) -> Iterator[str]:
    """Say which scores flatter, and what they are without that."""
    for engine, one in found.held_out.items():
        if one.trained_on:
            yield (
                f"{engine} was trained on photos of {one.trained_on:,} of these queries, which"
                f" flatters it; on the {one.queries:,} others: "
                + (", ".join(f"{k} {e.mean:.3f}" for k, e in (one.scores or {}).items()) or "none")
            )


def _print_labels(out: Console, found: Evaluation) -> None:
    table = Table(title="P@3 by label", title_justify="left")
    for heading in (found.label, "items", "queries", *(system.name for system in found.systems)):
        table.add_column(cell(heading))
    most = sorted(found.labels.items(), key=lambda one: -one[1].queries)
    asked = [(label, count) for label, count in most if count.queries]
    for label, count in asked[:_SHOWN_LABELS]:
        means = [f"{system.by_label[label]['P@3'].mean:.3f}" for system in found.systems]
        cells = (cut(label, _LABEL), f"{count.items:,}", f"{count.queries:,}", *means)
        table.add_row(*map(cell, cells))
    if len(asked) > _SHOWN_LABELS:
        table.caption = f"and {len(asked) - _SHOWN_LABELS:,} more: see --json"
    out.print(table)


def print_comparison(found: Comparison) -> None:
    """Print each query's lists side by side, and what they add up to."""
    from pipeline.fusion import FUSED

    out = stdout()
    for answers in found.answers:
        label = f" ({answers.label})" if answers.label else ""
        title = Text(plain(f"Nearest to {answers.query}{label}"), "table.title")
        table = Table(title=title, title_justify="left")
        table.add_column("rank", justify="right")
        lists: dict[str, Sequence[Neighbour | Fused]] = {**answers.lists, FUSED: answers.fused}
        for name in lists:
            verdict = answers.right and answers.right.get(name)
            mark = {True: " (right)", False: " (wrong)"}.get(verdict, "")  # type: ignore[arg-type]
            table.add_column(cell(name + mark), overflow="fold")
        for rank, row in enumerate(zip_longest(*lists.values()), 1):
            cells = (f"{n.name} · {n.category} · {n.id}" if n else "" for n in row)
            table.add_row(*map(cell, (f"{rank}", *cells)))
        alike = (
            f"{' / '.join(a.engines)}: overlap@{found.k} {a.overlap:.2f}, RBO {a.rbo:.2f}"
            for a in answers.agreements
        )
        table.caption = Text("\n".join(map(plain, alike)), "table.caption")
        table.caption_justify = "left"
        out.print(table)
    for a in found.agreements:
        line = f"overlap@{found.k} {a.overlap:.3f}, rank-biased overlap {a.rbo:.3f}"
        out.print(cell(f"mean of {' / '.join(a.engines)}: {line}"))
    for names, queries in found.right.items():
        who = f"only {names}" if names and "+" not in names else names.replace("+", " and ")
        out.print(cell(f"right by {found.label}: {who or 'none'}: {queries:,} queries"))
    for pair in found.near_identical:
        same = ", which share a photo" if pair.same_photo else ""
        keys = " and ".join(pair.keys)
        out.print(cell(f"each other's nearest by every engine: {keys}{same}"))
    for warning in found.warnings.values():
        talk(warning)
