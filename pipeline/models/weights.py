"""The weights of a Keras network on disk."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import damaged, replacing
from pipeline.models.store import WEIGHTS, ModelFolder


def weights_digest(network: Any) -> str:
    """SHA-256 over a Keras network's weights in their order: shapes, types and values."""
    sha256 = hashlib.sha256()
    for array in network.get_weights():
        sha256.update(f"{array.shape}{array.dtype}".encode())
        sha256.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return sha256.hexdigest()


def save_weights(network: Any, file: Path) -> None:
    """Write a network's weights in Keras's format, `….weights.h5`.

    Raises:
        OSError: they cannot be written. They are put together in memory: HDF5 crashes after an
            error of the disk.
    """
    from keras.src.saving import saving_lib  # Keras's public functions write to paths only

    data = io.BytesIO()
    store = saving_lib.H5IOStore(data, mode="w")
    saving_lib._save_state(
        network, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    store.close()
    with replacing(file) as unfinished:
        unfinished.write_bytes(data.getbuffer())


def load_weights(network: Any, folder: ModelFolder) -> None:
    """Fill a network with a model folder's weights.

    Raises:
        DamagedArtifactError: the file does not fit the network, or holds other weights than those
            that the model's fingerprint was computed from.
        OSError: it cannot be opened.
    """
    file = folder.check(WEIGHTS)
    try:
        network.load_weights(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk: HDF5's own have no number
            raise
        raise damaged(file, "its weights cannot be read, or do not fit the network") from error
    if weights_digest(network) != folder.manifest["weights"]:
        raise damaged(file, "these are not the weights that its manifest names")
