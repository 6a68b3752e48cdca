"""What an evaluation is to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import QueryError
from pipeline.evaluation.experiment import QUERY_BLOCK
from pipeline.evaluation.pixels import Preprocessing

PCA_PREPROCESSING = Preprocessing((64, 64), "bilinear")


@dataclass(frozen=True)
class EvaluationOptions:
    """What to measure, and how."""

    label: str = "category"
    """The column of the catalog whose value says what is relevant."""
    queries: int | None = None
    """Items that are queries, chosen at random; None: all of them."""
    query_set: Path | None = None
    """A folder or CSV file of labeled photos that are the queries, instead of the items."""
    product: str | None = None
    """A column whose value items of one product share: they do not find each other."""
    engines: tuple[str, ...] = ()
    """None: every one that is configured."""
    cost: bool = True
    """Whether to measure times as well."""
    resamples: int = 1000
    """Draws of the queries, for the intervals."""
    seed: int = 7
    pca_dim: int = 16
    """Components of the baseline PCA, where no autoencoder's latent says how many."""
    pca_preprocessing: Preprocessing = PCA_PREPROCESSING
    """What that PCA sees of photos."""
    ablate: bool = False
    """Whether to measure what each stage of a search gains."""
    query_block: int = QUERY_BLOCK
    """Queries ranked at a time."""

    def check(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            QueryError: a number is below 1, or options do not go together.
        """
        for name, number in (("queries", self.queries), ("resamples", self.resamples)):
            if number is not None and number < 1:
                raise QueryError(f"{name} is {number}", hint="give at least 1")
        if self.query_set is not None:
            for name, value, why in (
                ("--queries", self.queries, "all photos of a query set are queries"),
                ("--product", self.product, "photos of a query set are no products"),
            ):
                if value is not None:
                    raise QueryError(f"{name} does not go with --query-set", hint=why)
