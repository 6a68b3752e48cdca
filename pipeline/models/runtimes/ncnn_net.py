"""The convolutions of a chain as a network of ncnn: its list of layers, and its weights.

Both formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. To be imported
only where `ncnn` can be.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import ncnn
import numpy as np

from pipeline.models.runtimes.chain import Chain, Convolution
from pipeline.models.runtimes.keras_weights import F32Array, KerasWeights

_INPUT, _OUTPUT = "pixels", "maps"
_IMPRECISE = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_int8_inference",
    "use_int8_packed",
    "use_int8_storage",
    "use_int8_arithmetic",
    "use_vulkan_compute",
    # Winograd's F(6×6, 3×3) rounds worse than F(4×4, 3×3), and takes twice its memory.
    "use_winograd63_convolution",
)
"""Options of ncnn that trade precision; those of half precision are on by default."""

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class NcnnError(Exception):
    """A function of ncnn returned an error code."""


class Convolutions:
    """The maps of a chain: (channels, h, w) float32 → (filters, h', w') float32.

    Threads may call it at the same time: each computes alone, and lets go of the interpreter's
    lock.
    """

    def __init__(self, chain: Chain, weights: KerasWeights) -> None:
        """Load the weights: layer by layer, so that memory has no second copy.

        Raises:
            DamagedArtifactError: the weights are not those of this chain.
            NcnnError: ncnn does not take them.
        """
        self._net = ncnn.Net()
        self._net.opt.num_threads = 1
        for option in _IMPRECISE:  # before the weights, which it converts as they come
            setattr(self._net.opt, option, False)
        _check(self._net.load_param_mem(layer_list(chain)), "load_param")
        _check(self._net.load_model(_WeightReader(_weight_data(chain, weights))), "load_model")

    def __call__(self, scaled: F32Array) -> F32Array:
        """Convolve one photo, whose pixels are scaled and C-contiguous."""
        extractor = self._net.create_extractor()
        # It borrows the array's memory, which the caller keeps until the end.
        _check(extractor.input(_INPUT, ncnn.Mat(scaled)), "input")
        code, output = extractor.extract(_OUTPUT)
        _check(code, "extract")
        return np.array(output)  # a copy: the other is freed


def layer_list(chain: Chain) -> str:
    """Return the text of a `.param` file: a line for each layer, with the names of its maps."""
    (height, width), channels = chain.input_size, len(chain.offset)
    source, size = _INPUT, f"0={width} 1={height} 2={channels}"
    lines = [f"Input {source} 0 1 {source} {size} {_size_hint(width, height, channels)}"]
    for number, layer in enumerate(chain.maps, 1):
        target = _OUTPUT if number == len(chain.maps) else f"maps{number}"
        if isinstance(layer, Convolution):
            kind, parameters = "Convolution", _convolution(layer, channels)
            channels = layer.filters
        else:
            kind, parameters = "Pooling", "0=0 1=2 2=2 5=1"  # the largest, 2×2, stride 2, valid
            height, width = height // 2, width // 2
        hint = _size_hint(width, height, channels)
        lines.append(f"{kind} layer{number} 1 1 {source} {target} {parameters} {hint}")
        source = target
    return "\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""])


def _size_hint(width: int, height: int, channels: int) -> str:
    """The size of a layer's maps; without it, ncnn keeps kernels in the forms for any size."""
    return f"-23330=4,3,{width},{height},{channels}"


def _convolution(layer: Convolution, channels: int) -> str:
    """Filters, kernel, padding, whether there is a bias, the kernel's numbers, activation."""
    bias, relu = int(layer.bias), int(layer.activation == "relu")
    size = layer.filters * channels * 9
    return f"0={layer.filters} 1=3 4=1 5={bias} 6={size} 9={relu}"


def _weight_data(chain: Chain, weights: KerasWeights) -> Iterator[F32Array]:
    """What a `.bin` file holds, in pieces as long as those that ncnn reads."""
    channels = len(chain.offset)
    for layer in chain.convolutions:
        shapes = [(3, 3, channels, layer.filters), (layer.filters,)][: 1 + layer.bias]
        kernel, *bias = weights.arrays(layer.name, *shapes)
        yield np.zeros(1, np.float32)  # four bytes of zeros say that raw float32 follows
        yield kernel.transpose(3, 2, 0, 1)
        yield from bias
        channels = layer.filters


class _WeightReader(ncnn.DataReader):  # type: ignore[misc]  # ncnn has no types
    """Gives weights to ncnn without a file, which would be a second copy of them.

    Not `load_model_mem`: it returns no code, and keeps pointers into memory that its Python
    binding has freed.
    """

    def __init__(self, pieces: Iterator[F32Array]) -> None:
        super().__init__()
        self._pieces = pieces

    def read(self, buffer: Any, size: int) -> int:
        """Copy the next piece into a buffer of `size` bytes; return how many were written."""
        piece = next(self._pieces, None)
        if piece is None or piece.nbytes != size:
            return 0  # which ncnn takes for the end of a truncated file
        memory = (ctypes.c_float * piece.size).from_address(_pointer(buffer, None))
        np.copyto(np.ctypeslib.as_array(memory).reshape(piece.shape), piece)
        return size


def _check(code: int, function: str) -> None:
    if code:
        raise NcnnError(f"ncnn's {function} failed with code {code}")
