"""Keras and TensorFlow: imported late, and the host process left as it was."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.keras_runtime import (
    compiled,
    deterministic_ops,
    dtype_policy,
    fresh_names_and_seeds,
    keras,
)
from pipeline.models.weights import weights_digest


def run(code: str, **environment: str) -> str:
    """Run code in a process of its own; return what it prints on stdout."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_every_module_of_models_loads_no_tensorflow() -> None:
    code = """
import pkgutil, sys
import pipeline.models
for module in pkgutil.walk_packages(pipeline.models.__path__, "pipeline.models."):
    __import__(module.name)
print([name for name in ("tensorflow", "keras", "matplotlib", "sklearn") if name in sys.modules])
"""
    assert run(code) == "[]"


def test_keras_with_another_backend_is_refused_in_one_line() -> None:
    code = """
import sys, types
sys.modules["keras"] = types.ModuleType("keras")  # stands for one that runs on JAX
sys.modules["keras"].backend = types.SimpleNamespace(backend=lambda: "jax")
from pipeline.errors import ConfigError
from pipeline.models import keras_runtime
try:
    keras_runtime.tf.constant(1)
except ConfigError as error:
    print(error)
"""
    said = run(code)
    assert said.startswith("Keras runs on jax in this process")
    assert "KERAS_BACKEND=tensorflow" in said
    assert "\n" not in said


def test_networks_are_the_same_each_time_and_the_hosts_generators_go_on() -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    made = []
    for _ in range(2):
        with fresh_names_and_seeds(5):
            layer = keras.layers.Dense(3)
            layer.build((None, 2))
            made.append((layer.name, layer.get_weights()[0].tolist()))
    assert made[0] == made[1]
    assert made[0][0] == "dense"
    before = keras.layers.Dense(1).name
    with fresh_names_and_seeds(5):
        keras.layers.Dense(1)
    assert keras.layers.Dense(1).name != before  # a host's names stay distinct
    random.seed(1)
    np.random.seed(1)
    with fresh_names_and_seeds(5):
        random.random()
        np.random.random()
    assert (random.random(), np.random.random()) == expected


def test_settings_of_another_project_do_not_reach_into_a_network() -> None:
    def vectors() -> tuple[str, list[list[float]]]:
        with fresh_names_and_seeds(5), dtype_policy("float32"):
            photo = keras.Input((8, 8, 3))
            maps = keras.layers.Conv2D(4, 3)(photo)
            network = keras.Model(photo, keras.layers.GlobalAveragePooling2D()(maps))
        encode = compiled(lambda batch: network(batch, training=False), (8, 8, 3))
        pixels = np.random.default_rng(3).random((2, 8, 8, 3), np.float32)
        return weights_digest(network), np.asarray(encode(pixels)).tolist()

    expected = vectors()
    before = keras.config.image_data_format(), keras.config.floatx()
    try:
        for data_format, floatx in (("channels_first", "float16"), ("channels_last", "float64")):
            keras.config.set_image_data_format(data_format)
            keras.config.set_floatx(floatx)
            assert vectors() == expected
            assert (keras.config.image_data_format(), keras.config.floatx()) == (
                data_format,
                floatx,
            )
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_floatx(before[1])


@pytest.mark.parametrize("was_enabled", [False, True])
def test_deterministic_ops_end_with_their_block(was_enabled: bool) -> None:
    with deterministic_ops():
        pass  # TensorFlow is loaded
    from tensorflow.python.framework import config

    if was_enabled:
        config.enable_op_determinism()
    try:
        with suppress(KeyboardInterrupt), deterministic_ops():
            assert config.is_op_determinism_enabled()
            raise KeyboardInterrupt
        assert config.is_op_determinism_enabled() is was_enabled
    finally:
        config.disable_op_determinism()


def test_a_dtype_policy_ends_with_its_block() -> None:
    before = keras.config.dtype_policy()
    with suppress(KeyboardInterrupt), dtype_policy("mixed_float16"):
        assert keras.layers.Dense(1).compute_dtype == "float16"
        raise KeyboardInterrupt
    assert keras.config.dtype_policy() == before


def test_the_host_is_left_as_it_was_and_two_devices_train_as_one(tmp_path: Path) -> None:
    """In one process, because loading TensorFlow takes long; two CPUs stand for two GPUs."""
    code = """
import json, os, random, sys
from pathlib import Path
import numpy as np
environment = dict(os.environ)
from pipeline.config import AugmentSettings, PretrainedSettings, TrainingSettings
from pipeline.models import pretrained
from pipeline.models.autoencoder.fit import Examples, Fit
from pipeline.models.keras_runtime import keras, tf
from pipeline.models.store import ModelStore
from pipeline.progress import SILENT

keras.layers, tf.Tensor
loaded = dict(os.environ)
names = environment.keys() | loaded.keys()
changed = {name for name in names if environment.get(name) != loaded.get(name)}
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.config.set_dtype_policy("mixed_float16")
random.seed(3), np.random.seed(3)
before = random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy().name

def network():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(2)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Reshape((8, 8, 3))(keras.layers.Dense(192)(x)))

photos = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 3), np.uint8)

def fit(training, name):
    run = Fit("ae", network, training, Path(sys.argv[1], name), SILENT)
    return run.run(Examples(photos[:16]), Examples(photos[16:]))

trained, _ = fit(TrainingSettings(batch_size=8, epochs=1), "fit")
settings = PretrainedSettings(
    type="pretrained", network="MobileNet", weights="random", include_top=False,
    layer="conv_pw_1_relu", pooling="avg", input_size=32,
)
folder = pretrained.fetch("m", settings, ModelStore(Path(sys.argv[1], "model")))
encoder = pretrained.load_encoder(folder)
after = random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy().name
from tensorflow.python.framework import config
host = [
    keras.backend.backend(),
    sorted(changed - {"TF2_BEHAVIOR", "KMP_DUPLICATE_LIB_OK"}),
    before == after,
    config.is_op_determinism_enabled(),
    trained.compute_dtype,
    encoder.compute_dtype,
]

plain = AugmentSettings(flip=False, shift=0, zoom=0, noise=0)
training = TrainingSettings(
    batch_size=8, epochs=3, learning_rate=0.001, schedule="constant", augment=plain
)
devices = tf.config.list_logical_devices("CPU")
losses = []
for count in (1, 2):
    tf.config.list_logical_devices = lambda kind: devices[:count]
    _, history = fit(training, str(count))
    losses.append([history.loss, history.val_loss])
print(json.dumps([host, losses]))
"""
    code = code.replace("sys.argv[1]", repr(str(tmp_path)))
    host, losses = json.loads(run(code, KERAS_BACKEND="jax"))
    assert host == ["tensorflow", [], True, False, "float32", "float32"]
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-4)
    assert losses[1][1] == pytest.approx(losses[0][1], rel=1e-4)
    assert losses[0][0][2] < losses[0][0][0]
