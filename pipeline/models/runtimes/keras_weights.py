"""Weights in a file of Keras, read without Keras and without a copy."""

from __future__ import annotations

import mmap
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged

F32Array = npt.NDArray[np.float32]


class KerasWeights:
    """The arrays of a `….weights.h5` file, by the names of their layers.

    They are mapped into memory, not read: memory holds what was touched since the last `release`,
    and that is the system's cache of the file, which processes share. They may be used after the
    file is closed or deleted.

        with KerasWeights(file) as weights:
            kernel, bias = weights.arrays("fc1", (25088, 4096), (4096,))
    """

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            DamagedArtifactError: it is missing, truncated, or of another format.
        """
        self._path = file
        try:
            self._file = h5py.File(file, "r")
            layers = [layer["vars"] for layer in self._file["layers"].values()]
            self._layers = {layer.attrs["name"]: layer for layer in layers}
            with file.open("rb") as opened:
                self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, KeyError) as error:
            raise damaged(file, "it is no file of Keras weights") from error

    def __enter__(self) -> KerasWeights:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.release()

    def release(self) -> None:
        """Have the system take back the memory; what is touched again comes from its cache."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def arrays(self, layer: str, *shapes: tuple[int, ...]) -> list[F32Array]:
        """Return a layer's arrays, read-only float32.

        Raises:
            DamagedArtifactError: the layer is not there, or has others than of these shapes.
        """
        group = self._layers.get(layer, {})
        datasets = [group[name] for name in sorted(group, key=int)]
        if [dataset.shape for dataset in datasets] != list(shapes):
            raise damaged(
                self._path, f"the weights of layer {layer!r} are not those of the network"
            )
        return [self._array(dataset) for dataset in datasets]

    def _array(self, dataset: h5py.Dataset) -> F32Array:
        offset = dataset.id.get_offset()  # None where HDF5 stores an array in chunks
        if offset is None or dataset.dtype != np.dtype("<f4"):
            return np.asarray(dataset, np.float32)
        return np.frombuffer(self._map, "<f4", dataset.size, offset).reshape(dataset.shape)
