"""A Keras network → an ONNX file of its graph, beside the weights that Keras has saved.

The file holds no large weights. ONNX lets a tensor stand in another file, at an offset, and an
array in Keras's HDF5 file is plain bytes at one: so the graph points into that file, and weights
are on the disk once. ONNX Runtime maps them into memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import write_atomic
from pipeline.models.keras_runtime import tf

_OPSET = 18
_MIN_EXTERNAL_BYTES = 2**14  # smaller arrays stand in the graph
Array = npt.NDArray[Any]


def export(network: Any, file: Path, weights_file: Path, dtype: str = "float32") -> None:
    """Write `network`, a `keras.Model` of one input, as `file`, in the folder of its weights.

    `dtype` is what the exported network takes; it casts that to float32.

        export(encoder, folder / "encoder.onnx", folder / "model.weights.h5", "uint8")
    """
    import onnx
    import tf2onnx

    variables = [*network.trainable_variables, *network.non_trainable_variables]
    inputs = [tf.TensorSpec((None, *network.input_shape[1:]), dtype, name="input")]
    inputs += [tf.TensorSpec(v.shape, v.dtype, f"weight{i}") for i, v in enumerate(variables)]
    function = tf.function(_of_weights(network), input_signature=inputs, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=inputs, opset=_OPSET)
    arrays = {f"weight{i}": np.asarray(variable) for i, variable in enumerate(variables)}
    for constant, placeholder in function.get_concrete_function().graph.captures:
        arrays[placeholder.name] = constant.numpy()
    _fill(model.graph, arrays, weights_file)
    _sort(model.graph)
    write_atomic(file, model.SerializeToString(deterministic=True), flush=False)
    onnx.checker.check_model(file)


def _of_weights(network: Any) -> Any:
    """A network as a function of its weights too: converted as constants, they would be copied."""
    trainable = len(network.trainable_variables)

    def call(batch: Any, *weights: Any) -> Any:
        photos = tf.cast(batch, tf.float32)
        parts = list(weights[:trainable]), list(weights[trainable:])
        return network.stateless_call(*parts, photos, training=False)[0]

    return call


def _fill(graph: Any, arrays: dict[str, Array], weights_file: Path) -> None:
    """Give the inputs of a graph that are in `arrays` their values, and remove those not used."""
    from onnx import numpy_helper

    used = {name for node in graph.node for name in node.input}
    stored = _stored(weights_file)
    for value in [value for value in graph.input if value.name in arrays]:
        graph.input.remove(value)
        if value.name in used:
            tensor = numpy_helper.from_array(arrays[value.name], value.name)
            offset = _offset(arrays[value.name], stored)
            if offset is not None:
                _point(tensor, weights_file.name, offset)
            graph.initializer.append(tensor)


def _stored(weights_file: Path) -> list[tuple[int, Array]]:
    """Where each large array of an HDF5 file begins, in bytes, and the array, mapped."""
    import h5py

    found: list[tuple[int, Array]] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes >= _MIN_EXTERNAL_BYTES:
            offset = item.id.get_offset()
            if offset is not None:  # not in chunks
                array = np.memmap(weights_file, item.dtype, "r", offset, item.shape)
                found.append((offset, array))

    with h5py.File(weights_file) as file:
        file.visititems(visit)
    return found


def _offset(array: Array, stored: list[tuple[int, Array]]) -> int | None:
    """Return where an array stands in the file, or None."""
    for offset, other in stored:
        if (array.dtype, array.shape) == (other.dtype, other.shape) and np.array_equal(
            array, other
        ):
            return offset
    return None


def _point(tensor: Any, location: str, offset: int) -> None:
    """Replace the values of a tensor by where they stand in a file beside the graph."""
    from onnx import TensorProto

    place = {"location": location, "offset": offset, "length": len(tensor.raw_data)}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))


def _sort(graph: Any) -> None:
    """Put nodes and weights in the order in which the output needs them, and number their names.

    The converter's order and names differ from one export of a network to the next.
    """
    (source,), (result,) = graph.input, graph.output
    names = {"": "", source.name: "input", result.name: "output"}

    def new(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    nodes = _nodes_in_order(graph)
    for number, node in enumerate(nodes):
        node.name = f"n{number}"
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
    for value in (source, result, *graph.initializer):
        value.name = new(value.name)
    for value in (source, result):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    order = {name: place for place, name in enumerate(names.values())}
    weights = sorted(graph.initializer, key=lambda weight: order[weight.name])
    for field, ordered in ((graph.node, nodes), (graph.initializer, weights)):
        del field[:]
        field.extend(ordered)
    del graph.value_info[:]
    graph.ClearField("doc_string")


def _nodes_in_order(graph: Any) -> list[Any]:
    """Nodes after those whose outputs they take, first of all what their first input needs."""
    makers = {name: node for node in graph.node for name in node.output}
    made: set[str] = set()
    nodes = []
    stack = [value.name for value in graph.output]
    while stack:
        name = stack[-1]
        missing = [i for i in makers[name].input if i in makers and i not in made]
        if name not in made and missing:
            stack.extend(reversed(missing))
            continue
        stack.pop()
        if name not in made:
            nodes.append(makers[name])
            made.update(makers[name].output)
    return nodes
