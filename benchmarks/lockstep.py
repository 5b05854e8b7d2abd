"""Trials in lockstep: K students trained as one batched model, against one after the other.

    python -m benchmarks.lockstep --student cnn --together 4 8
    python -m benchmarks.lockstep --student mantis --precision bf16

In an ablation most trials share student, batch and data, and differ in seed or in a number of the
loss. Both sides train K students of one architecture with different weights on the same batches,
with the loss as its formula is written and AdamW: each by itself, or stacked
(`torch.func.stack_module_state`) in one pass under `vmap`. Before that, one step of both is
compared in float64. It is an experiment: the engine trains each trial by itself.

Knows neither Ray nor MLflow. Shape letters: B windows, C channels, T samples, D width, Q queue.
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from benchmarks.common import Row, in_turns, machine, seconds, show
from benchmarks.loss import direct
from comodo.config import StudentConfig
from comodo.models.students import build_student
from comodo.training.cuda_graph import StudentForward

CHANNELS, SAMPLES, WIDTH, QUEUE = 6, 512, 128, 1024
SMALL_MANTIS = {"transf_depth": 1, "hidden_dim": 128}
STUDENTS: dict[str, dict[str, Any]] = {
    "cnn": {"name": "cnn", "size": {"width": 32}},
    "mantis-small": {"name": "mantis", "size": SMALL_MANTIS},
    "mantis": {"name": "mantis"},  # of Mantis-8M's size
}
GOAL = 2.0  # times as many trials an hour; below that the engine stays as it is


class Projected(nn.Module):
    """A student with its linear head."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.student = build_student(StudentConfig.model_validate(settings))
        self.head = nn.Linear(self.student.dim, WIDTH)

    def forward(self, imu_BCT: Tensor) -> Tensor:
        return self.head(self.student(imu_BCT))


def students(name: str, count: int, device: str, dtype: torch.dtype) -> list[Projected]:
    """Of different weights, without dropout, so that both sides can compute the same."""
    torch.manual_seed(0)
    return [Projected(STUDENTS[name]).to(device, dtype).eval() for _ in range(count)]


def inputs(batch: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """IMU windows, the teacher's embeddings and a queue of them."""
    torch.manual_seed(1)
    shapes = (batch, CHANNELS, SAMPLES), (batch, WIDTH), (QUEUE, WIDTH)
    imu_BCT, teacher_BD, queue_QD = (torch.randn(s, device=device, dtype=dtype) for s in shapes)
    return imu_BCT, teacher_BD, functional.normalize(queue_QD, dim=1)


class OneByOne:
    """As the engine trains them: on a GPU the student's pass is a CUDA graph, where it can be."""

    def __init__(self, models: list[Projected], device: str, bf16: bool = False) -> None:
        self.models = models
        self.forwards = [StudentForward(model.student, bf16, device) for model in models]
        self.optimizers = [torch.optim.AdamW(m.parameters(), fused=True) for m in models]

    def capture(self, imu_BCT: Tensor) -> None:
        for forward in self.forwards:
            if forward.needs_capture:
                forward.capture(imu_BCT)

    def gradients(self, imu_BCT: Tensor, teacher_BD: Tensor, queue_QD: Tensor) -> None:
        for model, forward in zip(self.models, self.forwards, strict=True):
            model.zero_grad()
            student_BD = model.head(forward(imu_BCT, None).to(teacher_BD.dtype))
            direct(student_BD, teacher_BD, queue_QD).backward()

    def step(self, data: tuple[Tensor, Tensor, Tensor]) -> None:
        self.gradients(*data)
        for optimizer in self.optimizers:
            optimizer.step()


class Together:
    """Stacked, in one pass and one optimizer; what `vmap` runs cannot be a CUDA graph of ours."""

    def __init__(self, models: list[Projected], device: str, bf16: bool = False) -> None:
        self.skeleton, self.bf16, self.device = models[0], bf16, device
        parameters, self.buffers = stack_module_state(models)
        self.parameters = {
            name: value.detach().requires_grad_() for name, value in parameters.items()
        }
        self.optimizer = torch.optim.AdamW(self.parameters.values(), fused=True)

    def loss_of_one(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], *data: Tensor
    ) -> Tensor:
        imu_BCT, teacher_BD, queue_QD = data
        with torch.autocast(self.device, torch.bfloat16, self.bf16):
            student_BD = functional_call(self.skeleton, (parameters, buffers), (imu_BCT,))
        return direct(student_BD.to(teacher_BD.dtype), teacher_BD, queue_QD)

    def gradients(self, *data: Tensor) -> None:
        self.optimizer.zero_grad()
        together = vmap(self.loss_of_one, in_dims=(0, 0, None, None, None))
        together(self.parameters, self.buffers, *data).sum().backward()

    def step(self, data: tuple[Tensor, Tensor, Tensor]) -> None:
        self.gradients(*data)
        self.optimizer.step()


def largest_difference(name: str, batch: int, device: str) -> float:
    """Of the gradients of two students in float64, relative to their norm."""
    models, data = students(name, 2, device, torch.float64), inputs(batch, device, torch.float64)
    apart, together = OneByOne(models, device), Together(models, device)
    apart.gradients(*data)
    together.gradients(*data)
    found = []
    for number, model in enumerate(models):
        for key, parameter in model.named_parameters():
            stacked = together.parameters[key].grad
            if parameter.grad is not None and stacked is not None and parameter.grad.any():
                difference = (parameter.grad - stacked[number]).norm() / parameter.grad.norm()
                found.append(float(difference))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", choices=STUDENTS, nargs="+", default=["cnn", "mantis"])
    parser.add_argument("--together", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    print(machine(args.device, "mantis-tsfm"))
    print(f"medians of {args.repeats} steps in turns, {args.precision}")
    for name in args.student:
        apart = largest_difference(name, min(args.batch, 8), args.device)
        print(f"{name}: gradients in float64 at most {apart:.0e} apart, relative")
        data = inputs(args.batch, args.device, torch.float32)
        for count in args.together:
            models = students(name, count, args.device, torch.float32)
            one_by_one = OneByOne(models, args.device, args.precision == "bf16")
            together = Together(models, args.device, args.precision == "bf16")
            one_by_one.capture(data[0])
            steps = {"one by one": one_by_one.step, "together": together.step}
            took = in_turns(
                args.repeats,
                {
                    side: partial(seconds, partial(step, data), args.device)
                    for side, step in steps.items()
                },
            )
            ratio = took["one by one"] / took["together"]
            each = {side: 1000 * value / count for side, value in took.items()}
            show(
                Row(
                    f"{count} trials in lockstep, {name}, batch {args.batch}, {args.precision}, "
                    f"{args.device}",
                    f"one by one: {each['one by one']:.2f} ms a trial and step",
                    f"{each['together']:.2f} ms",
                    f"{ratio:.2f}x",
                    f"{GOAL:.0f}x, or the engine does not need it",
                )
            )


if __name__ == "__main__":
    main()
