"""Building ONNX graphs, whose weights lie in one file that all graphs of a bundle share."""

import hashlib
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # the one that belongs to it
INLINE_BYTES = 1024  # smaller tensors stand in the graph itself: shapes have to
ALIGNMENT = 64  # bytes
# CPUs without VNNI add two products of 8 bits in 16, where 2 * 255 * 127 does not fit and 2 * 255 * 64 does.
LARGEST_WEIGHT = 64


class Weights:
    """The tensors of all graphs of a bundle. Equal ones are stored once, so weights that are shared stay so."""

    def __init__(self, file_name: str):
        self.file_name = file_name
        self.data = bytearray()
        self.offsets: Dict[bytes, int] = {}

    def add(self, array: np.ndarray) -> Tuple[int, int]:
        """Store an array; where it lies: offset and length in bytes."""
        content = array.tobytes()
        key = hashlib.sha256(content).digest()
        if key not in self.offsets:
            self.data.extend(bytes(-len(self.data) % ALIGNMENT))
            self.offsets[key] = len(self.data)
            self.data.extend(content)
        return self.offsets[key], len(content)


class Graph:
    """One graph in the making. Operators are pure, so that asking twice for the same one gives the first again.

    Args:
        weights: where large tensors go.
        int8: linear layers and embeddings in 8 bits.
    """

    def __init__(self, weights: Weights, int8: bool = False):
        self.weights, self.int8 = weights, int8
        self.nodes: List[onnx.NodeProto] = []
        self.initializers: Dict[str, onnx.TensorProto] = {}
        self.inputs: List[onnx.ValueInfoProto] = []
        self.outputs: List[onnx.ValueInfoProto] = []
        self.made: Dict[str, Tuple[str, ...]] = {}
        self.names: Dict[str, str] = {}  # of the outputs, by what they were called in the making

    def input(self, name: str, dtype: int, shape: Sequence[Any]) -> str:
        """Declare an input; names in its shape stand for lengths that vary."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: int, shape: Sequence[Any]) -> None:
        """Declare an output, and which value it has."""
        self.names[value] = name
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def ops(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> Tuple[str, ...]:
        """The results of an operator with several of them."""
        key = repr((kind, list(inputs), outputs, sorted(attributes.items())))
        if key not in self.made:
            names = tuple(f"{kind}_{len(self.made)}_{index}" for index in range(outputs))
            self.nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
            self.made[key] = names
        return self.made[key]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The result of an operator with one."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A tensor that is known now."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype))
        name = (
            f"constant_{hashlib.sha256(repr((array.dtype, array.shape)).encode() + array.tobytes()).hexdigest()[:20]}"
        )
        if name not in self.initializers:
            tensor = numpy_helper.from_array(array, name)
            if array.nbytes >= INLINE_BYTES:
                offset, length = self.weights.add(array)
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for entry in (("location", self.weights.file_name), ("offset", offset), ("length", length)):
                    tensor.external_data.add(key=entry[0], value=str(entry[1]))
            self.initializers[name] = tensor
        return name

    def integers(self, *values: int) -> str:
        """A vector of whole numbers, such as a shape."""
        return self.constant(values, np.int64)

    def scaled(self, x: str, factor: np.ndarray) -> str:
        """x times a constant of one number, or one for each channel."""
        return x if np.all(factor == 1) else self.op("Mul", x, self.constant(factor))

    def linear(self, x: str, weight: np.ndarray, bias: Optional[np.ndarray], factor: float = 1.0) -> str:
        """``factor * (x @ weight.T + bias)``: (N, C) -> (N, D), with weight (D, C)."""
        if not self.int8:
            inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
            return self.op("Gemm", *inputs, transB=1, alpha=factor, beta=factor)
        quantised, scales = quantise(weight)
        rows, step, zero = self.ops("DynamicQuantizeLinear", [x], 3)
        transposed = self.op("Transpose", self.constant(quantised, np.int8), perm=[1, 0])
        product = self.op("MatMulInteger", rows, transposed, zero, self.constant(0, np.int8))
        scale = self.op("Mul", step, self.constant(factor * scales))
        product = self.op("Mul", self.op("Cast", product, to=TensorProto.FLOAT), scale)
        return product if bias is None else self.op("Add", product, self.constant(factor * bias))

    def embedding(self, table: np.ndarray, indices: str) -> str:
        """Rows of a table (V, C): indices (...) -> (..., C)."""
        if not self.int8:
            return self.op("Gather", self.constant(table), indices)
        quantised, scales = quantise(table)
        rows = self.op("Cast", self.op("Gather", self.constant(quantised, np.int8), indices), to=TensorProto.FLOAT)
        scale = self.op("Gather", self.constant(scales), indices)
        return self.op("Mul", rows, self.op("Unsqueeze", scale, self.integers(-1)))

    def write(self, path: Path) -> None:
        """Write the graph; its weights are the bundle's matter."""
        for node in self.nodes:
            for ends in (node.input, node.output):
                ends[:] = [self.names.get(end, end) for end in ends]
        graph = helper.make_graph(
            self.nodes, path.stem, self.inputs, self.outputs, initializer=list(self.initializers.values())
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="sret_fairseq")
        path.write_bytes(model.SerializeToString(deterministic=True))


def quantise(weight: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """A matrix (D, C) in int8, from -64 to 64, and the scale of each row (D,)."""
    scales = np.maximum(np.abs(weight).max(axis=1), 1e-12) / LARGEST_WEIGHT
    return np.round(weight / scales[:, None]).astype(np.int8), scales.astype(np.float32)
