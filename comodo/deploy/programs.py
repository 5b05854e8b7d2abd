"""Writes a recogniser as files: a torch.export program, ONNX, and ONNX with int8 weights.

Knows networks and formats, not what is recognised.

Shapes: N windows, C channels of the student, R raw samples, K classes, D numbers in a feature.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import PreTrainedModel

from comodo.deploy import DeployError
from comodo.deploy.recogniser import Recogniser

TORCH, ONNX, INT8 = "model.pt2", "model.onnx", "model.int8.onnx"
OUTPUTS = ("probabilities", "feature")
MAX_DIFFERENCE = 1e-4
BATCH_SIZES = (1, 3, 8)
MAX_BATCH = 128

Float32Array = npt.NDArray[np.float32]
Program = Callable[[Float32Array], tuple[Float32Array, Float32Array]]
"""From raw windows [N, C, R] to probabilities [N, K] and features [N, D]."""


def write_programs(
    recogniser: Recogniser, samples: int, notes: dict[str, str], folder: Path
) -> None:
    """Writes the three files, with `notes` as metadata; each takes windows `[N, C, samples]`.
    Raises DeployError if the exporters cannot trace this student."""
    name = recogniser.student.description["name"]
    example = torch.zeros(
        2, len(recogniser.student.channels), samples
    )  # with one window, its number would become a constant
    any_number = {"imu": {0: torch.export.Dim("batch", min=1)}}
    recogniser = recogniser.eval()
    with _quiet(), torch.no_grad():
        for module in recogniser.modules():
            if isinstance(module, PreTrainedModel):  # fused attention cannot be exported to ONNX
                module.set_attn_implementation("eager")
        # The student fills its caches, which then become constants.
        recogniser.student(recogniser.preprocessing(example))
        options: dict[str, Any] = {"input_names": ["imu"], "output_names": OUTPUTS}
        try:
            program = torch.export.export(recogniser, (example,), dynamic_shapes=any_number)
            converted = torch.onnx.export(program, dynamo=True, verbose=False, **options)
        except Exception as error:  # exporters raise many types
            reason = str(error).strip().splitlines()[0]
            text = f"student {name} cannot be exported ({reason})"
            raise DeployError("export.unsupported", text) from error
        assert converted is not None
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)  # source lines with paths of this machine
        torch.export.save(program, folder / TORCH, extra_files=notes)
        model = converted.model_proto
        onnx.helper.set_model_props(model, notes)
        linear = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
        # Only those of the student; resampling and classifier stay float32.
        quantized = [node.name for node in linear if "/student:" in _origin(node)]
        _without_notes(model.graph)
        onnx.save(model, folder / ONNX)
        how: dict[str, Any] = {"per_channel": True, "weight_type": QuantType.QInt8}
        quantize_dynamic(folder / ONNX, folder / INT8, nodes_to_quantize=quantized, **how)


def _origin(node: onnx.NodeProto) -> str:
    """The modules that a node was traced from."""
    return next((note.value for note in node.metadata_props if note.key == "namespace"), "")


def _without_notes(graph: onnx.GraphProto) -> None:
    """Drops the exporter's notes on the source, which hold paths of this machine and are a third of
    a small file, and shapes, which the quantiser can infer but not correct."""
    del graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _without_notes(attribute.g)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings about their internals and about packages not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def load_onnx(path: Path) -> Program:
    """An ONNX file, run on the CPU in batches of at most MAX_BATCH windows."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # without the optimiser's notes on removed nodes
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _in_batches(lambda imu_NCR: session.run(OUTPUTS, {"imu": imu_NCR}))


def load_torch(path: Path) -> Program:
    """Like `load_onnx`, for the torch.export program."""
    module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(imu_NCR: Float32Array) -> list[Float32Array]:
        return [output.numpy() for output in module(torch.from_numpy(imu_NCR))]

    return _in_batches(run)


def _in_batches(run: Callable[[Float32Array], list[Float32Array]]) -> Program:
    def program(imu_NCR: Float32Array) -> tuple[Float32Array, Float32Array]:
        starts = range(0, len(imu_NCR), MAX_BATCH)
        parts = [run(imu_NCR[start : start + MAX_BATCH]) for start in starts]
        probability_NK, feature_ND = map(np.concatenate, zip(*parts, strict=True))
        return probability_NK, feature_ND

    return program


def largest_difference(folder: Path, imu_NCR: Float32Array) -> float:
    """The largest difference between ONNX and the torch.export program on these windows, for
    several batch sizes. Absolute; where the largest value exceeds 1, as in features, relative to
    it. Raises DeployError if it is larger than `MAX_DIFFERENCE`."""
    by_torch, by_onnx = load_torch(folder / TORCH), load_onnx(folder / ONNX)
    largest = 0.0
    for count in (len(imu_NCR), *BATCH_SIZES):
        some_NCR = np.resize(imu_NCR, (count, *imu_NCR.shape[1:]))
        for wanted, got in zip(by_torch(some_NCR), by_onnx(some_NCR), strict=True):
            scale = max(1.0, float(abs(wanted).max()))
            largest = max(largest, float(abs(wanted - got).max()) / scale)
    if not largest <= MAX_DIFFERENCE:
        text = f"ONNX and PyTorch differ by {largest:.1e}, more than {MAX_DIFFERENCE:g}"
        raise DeployError("export.onnx-differs", f"{text}: nothing was exported")
    return largest
