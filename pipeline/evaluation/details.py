"""What stands behind an evaluation's numbers: each query's scores, and photos rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.reconstruction import ReconstructionSample
from pipeline.evaluation.results import Evaluation

F64Array = npt.NDArray[np.float64]
F64Matrix = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EvaluationDetails:
    """An evaluation, and what it was summed up from."""

    evaluation: Evaluation
    items: Ids | None
    """(queries,) int64: the item of each scored query; None if a query set was asked with."""
    scores: F64Array
    """(queries, engines, 6) float64: each scored query's metrics by each engine, in the order of
    `metrics.METRICS`."""
    rebuilt: Sequence[ReconstructionSample]

    def of(self, metric: str) -> F64Matrix:
        """(queries, engines) float64: one of `METRICS`."""
        column: F64Matrix = self.scores[:, :, METRICS.index(metric)]
        return column
