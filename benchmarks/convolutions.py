"""VGG16's fc1 by ncnn and by Keras: photos a second and peak memory, each in its own process.

The processes take turns, so that a machine that gets slower during the run slows both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.models.keras_runtime import keras
from pipeline.models.runtimes import ncnn
from pipeline.models.store import WEIGHTS

ROUNDS = 3
MEASURE = """
import json, re, sys, time
from pathlib import Path
import numpy as np
folder = Path(sys.argv[2])
pixels = np.load(folder / "pixels.npy")
began = time.perf_counter()
if sys.argv[1] == "ncnn":
    from pipeline.models.runtimes.ncnn import open_network
    network = open_network(folder)
else:
    from pipeline.models.keras_runtime import compiled, keras, tf
    model = keras.models.load_model(folder / "network.keras", compile=False)
    network = compiled(lambda batch: model(tf.cast(batch, tf.float32), training=False),
                       pixels.shape[1:], tf.uint8)
network(pixels[:1])
first = time.perf_counter() - began
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
network(pixels)
began = time.perf_counter()
vectors = np.asarray(network(pixels))
rate = len(pixels) / (time.perf_counter() - began)
np.save(folder / f"{sys.argv[1]}.npy", vectors)
peak_batch = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
print(json.dumps([rate, first, int(peak[1]) / 1e3, int(peak_batch[1]) / 1e3]))
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Measure a batch of 32 photos of random pixels, with random weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        best: dict[str, list[float]] = {}
        for _round in range(ROUNDS):
            for runtime in ("keras", "ncnn"):
                rate, *costs = _measured(runtime, folder)
                before = best.get(runtime, [0.0, *costs])
                best[runtime] = [max(rate, before[0]), *map(min, costs, before[1:])]
        weights = (folder / WEIGHTS).stat().st_size / 1e6
        expected, found = (np.load(folder / f"{runtime}.npy") for runtime in ("keras", "ncnn"))
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    rows: list[dict[str, object]] = [
        {
            "runtime": runtime,
            "photos a second ÷ Keras": round(rate / best["keras"][0], 2),
            "load and one photo ÷ Keras": round(first / best["keras"][1], 2),
            "peak of one photo ÷ weights": round(peak / weights, 2),
            "peak of batches ÷ Keras": round(peak_batch / best["keras"][3], 2),
        }
        for runtime, (rate, first, peak, peak_batch) in best.items()
    ]
    rows[-1]["largest difference ÷ largest entry"] = f"{difference:.1e}"
    return rows


def _write(folder: Path) -> None:
    """A model's folder with VGG16 up to fc1, and photos."""
    keras.utils.set_random_seed(0)
    vgg = keras.applications.VGG16(weights=None)
    features = keras.models.clone_model(keras.Model(vgg.input, vgg.get_layer("fc1").output))
    pixels = keras.Input(vgg.input_shape[1:])
    network = keras.Model(pixels, features(keras.applications.vgg16.preprocess_input(pixels)))
    features.save_weights(folder / WEIGHTS)
    ncnn.export(network, folder)
    network.save(folder / "network.keras")
    photos = np.random.default_rng(0).integers(0, 256, (32, *vgg.input_shape[1:]), np.uint8)
    np.save(folder / "pixels.npy", photos)


def _measured(runtime: str, folder: Path) -> list[float]:
    """Photos a second, seconds until the first vector, and the peak then and later, in MB."""
    command = [sys.executable, "-c", MEASURE, runtime, str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rates: list[float] = json.loads(ran.stdout.splitlines()[-1])
    return rates
