"""Keras on TensorFlow: imported at the first use, quietly, and the host process left as it was.

    from pipeline.models.keras_runtime import keras, tf

costs nothing; the first attribute that is read imports both libraries.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from threading import Lock
from typing import Any

import numpy as np

from pipeline.cache_dirs import environment, temporary_cache_dirs
from pipeline.errors import ConfigError

Compiled = Callable[[Any], Any]
"""Takes a batch; returns a tensor, or several by their names."""

_LAYER_NAMES = "object_name_uids"  # where Keras counts the names that it has given

_import_lock = Lock()


class _LazyModule:
    """A library that is imported when one of its attributes is read for the first time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: Any = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            _import_quietly()
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)


keras: Any = _LazyModule("keras")
tf: Any = _LazyModule("tensorflow")


@cache
def _import_quietly() -> None:
    """Import Keras and TensorFlow; environment variables are set for the import only.

    Raises:
        ConfigError: the host process has imported Keras with another backend.
    """
    variables = {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }
    with _import_lock, environment(variables), temporary_cache_dirs(), _native_stderr_held():
        backend = importlib.import_module("keras").backend.backend()
        if backend != "tensorflow":
            raise ConfigError(
                f"Keras runs on {backend} in this process, imgsearch needs it on TensorFlow",
                hint="set KERAS_BACKEND=tensorflow before Keras is imported",
            )
        tensorflow = importlib.import_module("tensorflow")
        # Ampere GPUs would multiply in 10 bits of precision: other vectors than a CPU's.
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)


def compiled(function: Compiled, shape: tuple[int, ...], dtype: Any = "float32") -> Compiled:
    """Compile a function of tensors (n, *shape) at its first call: unused, it costs nothing.

    rebuild = compiled(lambda photos: network(photos, training=False), (64, 64, 3))
    """

    # TensorFlow counts how often a function is compiled, and warns: not of all of them as one.
    @wraps(function)
    def traced(batch: Any) -> Any:
        with _our_conventions():
            return function(batch)

    signature = [tf.TensorSpec((None, *shape), dtype)]
    compiled_: Compiled = tf.function(traced, input_signature=signature, autograph=False)
    return compiled_


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Hold back what native code writes to stderr, and show it only if the block fails.

    While TensorFlow is loaded its C++ side logs that there is no GPU and which instructions it
    uses, heeding no setting until it is loaded (TensorFlow issue 100442).
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def fresh_names_and_seeds(seed: int = 0) -> Iterator[None]:
    """Build networks in this block that have the same layer names and initial weights each time.

    Keras seeds initial weights by Python's `random`, and numbers names by the layers made so far.
    After the block, both go on in the host process as if nothing had been built. Within it images
    are channels last and numbers float32, whatever the user's `keras.json` says.
    """
    _import_quietly()  # which draws random numbers itself
    from keras.src.backend.common import global_state  # no public API keeps the counts of names

    python, numpy = random.getstate(), np.random.get_state()
    names = global_state.get_global_attribute(_LAYER_NAMES)
    random.seed(seed)
    np.random.seed(seed)
    global_state.set_global_attribute(_LAYER_NAMES, None)
    try:
        with _our_conventions():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        global_state.set_global_attribute(_LAYER_NAMES, names)


@contextmanager
def _our_conventions() -> Iterator[None]:
    """Hold Keras, within the block, to channels last and float32."""
    data_format, floatx = keras.config.image_data_format(), keras.config.floatx()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_image_data_format(data_format)
        keras.config.set_floatx(floatx)


@contextmanager
def deterministic_ops() -> Iterator[None]:
    """Have TensorFlow compute the same bits each time, within the block."""
    _import_quietly()
    from tensorflow.python.framework import config  # the public API cannot switch it off again

    was_enabled = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not was_enabled:
            config.disable_op_determinism()


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Give the layers that are made in the block a policy: `float32`, `mixed_float16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
