"""An evaluation with the scores of each query, and reconstructed photos."""

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
    """An evaluation, and what it summarizes."""

    evaluation: Evaluation
    items: Ids | None
    """(queries,) int64: the item of each scored query; None if they are photos of a query set."""
    scores: F64Array
    """(queries, engines, metrics) float64: the scores of each scored query by each engine, in the
    order of `metrics.METRICS`."""
    reconstructions: Sequence[ReconstructionSample]

    def of(self, metric: str) -> F64Matrix:
        """Return (queries, engines) float64, the scores by one of `METRICS`: `of("mAP")`."""
        column: F64Matrix = self.scores[:, :, list(METRICS).index(metric)]
        return column
