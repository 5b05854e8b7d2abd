"""The student's forward pass in training: its precision and, on a GPU, its CUDA graph.

A step of a small student launches a thousand kernels of a few microseconds each, and a GPU finishes
one before the CPU has launched the next. A CUDA graph launches them all at once. It computes the
same numbers, with the same random numbers, except that the matrix library may choose other kernels
while the graph is captured. This module does not know heads, losses or batches.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from comodo.models.students import Student


class StudentForward:
    """Features `[b, D]` of windows `[b, C, T]`, as a student computes them while it is trained.

    The student is in train mode and on the device, "cpu" or "cuda"; `bf16` computes under autocast.
    """

    def __init__(self, student: Student, bf16: bool, device: str) -> None:
        self._student, self._bf16, self._device = student, bf16, device
        self.captured_shape: torch.Size | None = None

    def __call__(self, imu_bCT: Tensor, length_b: Tensor | None) -> Tensor:
        with self.autocast():
            if length_b is None and imu_bCT.shape == self.captured_shape:
                return self._replay(imu_bCT)
            feature_bD: Tensor = self._student(imu_bCT, length_b)
        return feature_bD

    def autocast(self) -> torch.autocast:
        """The precision that it computes in."""
        # Only on a CPU, which encodes in chunks, does a step use a converted weight repeatedly.
        cache = self._device == "cpu"
        return torch.autocast(self._device, torch.bfloat16, self._bf16, cache_enabled=cache)

    @property
    def needs_capture(self) -> bool:
        """Whether a graph would speed it up and there is none yet."""
        on_gpu = self._device == "cuda"
        return on_gpu and self._student.encoder.replayable and self.captured_shape is None

    def capture(self, imu_bCT: Tensor) -> None:
        """Uses a graph from now on for windows of this shape that have no lengths.

        The student must launch the same kernels at every call and never wait for the GPU, and its
        parameters may only change in place. The graph keeps the memory of its backward pass.
        """
        # Gradients are summed in the stream of the capture. Training's stream waits for that one.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        inputs = (torch.zeros_like(imu_bCT, device=self._device),)
        # A new module, because the student's own forward pass must stay as it is for other shapes.
        module = nn.Sequential(self._student)
        # Capturing runs the student a few times.
        with self.autocast(), torch.random.fork_rng([inputs[0].device]):
            replay = torch.cuda.make_graphed_callables(module, inputs, allow_unused_input=True)
        self._replay = cast(Callable[[Tensor], Tensor], replay)
        self.captured_shape = imu_bCT.shape
