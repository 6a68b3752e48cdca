"""The weights of a Keras network on disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import damaged
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
        OSError: there is no room for them. HDF5 finds out too late to say so in one line.
    """
    size = sum(weight.nbytes for weight in network.get_weights()) + 2**20
    if shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    network.save_weights(file)


def load_weights(network: Any, folder: ModelFolder) -> None:
    """Fill a network with a model folder's weights.

    Raises:
        DamagedArtifactError: the file does not fit the network, or holds other weights than those
            that the model's fingerprint was computed from.
    """
    file = folder.check(WEIGHTS)
    try:
        network.load_weights(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise damaged(file, "its weights cannot be read, or do not fit the network") from error
    if weights_digest(network) != folder.manifest["weights"]:
        raise damaged(file, "these are not the weights that its manifest names")
