"""What an evaluation is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EvaluationOptions:
    """What to measure, and how."""

    label: str = "category"
    """The column of the catalog whose value tells what is relevant."""
    queries: int | None = None
    """Items that ask, chosen at random; None: all of them."""
    query_set: Path | None = None
    """A folder or CSV file of labeled photos to ask with, instead of the items."""
    product: str | None = None
    """A column whose value items of one product share: they do not find each other."""
    engines: tuple[str, ...] = ()
    """None: every one that is configured."""
    cost: bool = True
    """Whether to measure times as well."""
    resamples: int = 1000
    """Draws of the queries, for the intervals."""
    seed: int = 7
