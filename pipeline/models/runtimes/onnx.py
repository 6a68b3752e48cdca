"""Networks in ONNX Runtime: every network that was exported, on every CPU, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged
from pipeline.cache_dirs import environment
from pipeline.concurrency import cores
from pipeline.models.runtimes.base import F32Array


def runtime() -> str:
    """Return the runtime's name and version, without importing it."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')}"


Tensor = npt.NDArray[Any]
Step = Callable[[Tensor], Tensor]


def _unchanged(batch: Tensor) -> Tensor:
    return batch


def open_session(file: Path) -> Any:
    """Open a file to run it on one core; raises one of `errors` if it is no network."""
    onnxruntime = _import_quietly()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it raises what it also logs
    # Packed, matrices would be in memory twice; for a single row they are no faster.
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class OnnxNetwork:
    """A network with one input, which begins with the batch, as its output does.

    Each row is computed by itself, on one core: so its result does not depend on the rows beside
    it. Several rows are computed on all cores. `before` and `after` are what is done to the input
    and the output; `shape` is that of a row of the result, if the network does not say.

        vectors = OnnxNetwork(folder / "encoder.onnx")(pixels)
    """

    def __init__(
        self,
        file: Path,
        *,
        output: str | None = None,
        before: Step = _unchanged,
        after: Step = _unchanged,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Open a file; raises one of `errors` if it is no network."""
        self._session = open_session(file)
        self.runtime = runtime()
        self._input = self._session.get_inputs()[0].name
        first = self._session.get_outputs()[0]
        self._output = output or first.name
        self._before, self._after = before, after
        self._shape = tuple(first.shape[1:]) if shape is None else shape
        self._cores = cores()
        self._threads = ThreadPoolExecutor(self._cores)  # starts none before they are needed

    def __call__(self, batch: Tensor) -> F32Array:
        """(n, …) of the network's input → (n, …) float32, C-contiguous; n may be 0."""
        if len(batch) < 2:
            results = [self._run(batch)] if len(batch) else []
        else:
            results = list(self._threads.map(self._run, np.split(batch, len(batch))))
        if not results:
            return np.empty((0, *self._shape), np.float32)
        return np.concatenate(results, dtype=np.float32)

    def _run(self, row: Tensor) -> Tensor:
        (output,) = self._session.run([self._output], {self._input: self._before(row)})
        return self._after(output)


def open_published(file: Path) -> OnnxNetwork:
    """Open a network of a model folder; raises a DamagedArtifactError if it is none."""
    try:
        return OnnxNetwork(file)
    except errors() as error:
        raise damaged(file, "it is no network that ONNX Runtime can run") from error


@cache
def _import_quietly() -> Any:
    """Import ONNX Runtime without its telemetry.

    It would write an identifier of the device into the user's home, and send events over the
    network. The variable is read once, at the import; its Python function comes too late.
    """
    with environment({"ORT_DISABLE_TELEMETRY": "1"}):
        return import_module("onnxruntime")


def errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a file that it cannot read or run."""
    state = _import_quietly().capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidGraph", "InvalidProtobuf", "InvalidArgument", "NotImplemented")
    return tuple(getattr(state, name) for name in (*names, "NoSuchFile", "RuntimeException"))
