"""Networks in ONNX Runtime: every network that was exported, on every CPU, without TensorFlow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged
from pipeline.concurrency import cores
from pipeline.models.runtimes.base import F32Array


def runtime() -> str:
    """Return the runtime's name and version, without importing it."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')}"


class OnnxNetwork:
    """A network with one input and one output, both of which begin with the batch.

    Each row is computed by itself, on one core: so its result does not depend on the rows beside
    it. Several rows are computed on all cores.

        vectors = OnnxNetwork(folder / "encoder.onnx")(pixels)
    """

    def __init__(self, file: Path) -> None:
        """Open a file; raises a DamagedArtifactError if it is no network."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # it raises what it also logs
        # Packed, matrices would be in memory twice; for a single row they are no faster.
        options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                file, options, providers=["CPUExecutionProvider"]
            )
        except _errors() as error:
            raise damaged(file, "it is no network that ONNX Runtime can run") from error
        self.runtime = runtime()
        (self._input,), (self._output,) = self._session.get_inputs(), self._session.get_outputs()
        self._cores = cores()
        self._threads = ThreadPoolExecutor(self._cores)  # starts none before they are needed

    def __call__(self, batch: npt.NDArray[Any]) -> F32Array:
        """(n, …) of the network's input → (n, …) float32, C-contiguous; n may be 0."""
        result = np.empty((len(batch), *self._output.shape[1:]), np.float32)
        parts = np.array_split(np.arange(len(batch)), min(self._cores, max(1, len(batch))))

        def run(rows: npt.NDArray[np.int64]) -> None:
            for row in rows:
                (result[row : row + 1],) = self._session.run(
                    None, {self._input.name: batch[row : row + 1]}
                )

        if len(parts) == 1:
            run(parts[0])
        else:
            list(self._threads.map(run, parts))
        return result


def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidGraph", "InvalidProtobuf", "InvalidArgument", "NotImplemented")
    return tuple(getattr(state, name) for name in (*names, "NoSuchFile", "RuntimeException"))
