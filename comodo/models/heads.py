"""The projection heads, from features to embeddings; knows neither losses nor training."""

import hashlib
from typing import Literal

from torch import nn

from comodo.config.methods import Head


def build_head(
    kind: Literal["mlp", "linear"], in_dim: int, out_dim: int, hidden_dim: int = 2048
) -> nn.Sequential:
    """A projector from features `[B, in_dim]` to embeddings `[B, out_dim]`, not normalised.

    "mlp" is Linear - BatchNorm - GELU - Linear, which the code of COMODO (arXiv 2503.07259) uses
    for both student and teacher; "linear" is one layer, which that code uses for the other losses.
    """
    if kind == "linear":
        return nn.Sequential(nn.Linear(in_dim, out_dim))
    first, last = nn.Linear(in_dim, hidden_dim), nn.Linear(hidden_dim, out_dim)
    return nn.Sequential(first, nn.BatchNorm1d(hidden_dim), nn.GELU(), last)


def build_heads(head: Head, student_dim: int, feature_dim: int) -> tuple[nn.Module, nn.Module]:
    """The student's projector, which is trained, and the teacher's, which is random and frozen:
    both follow from the seed of torch's random numbers.

    Without `teacher_projector` the teacher's is the identity, and the student's projects to
    the width of the teacher's features.
    """
    output_dim = feature_dim
    teacher: nn.Module = nn.Identity()
    if head.teacher_projector:
        output_dim = head.output_dim
        teacher = build_head("mlp", feature_dim, output_dim, head.hidden_dim)
    student = build_head(head.kind, student_dim, output_dim, head.hidden_dim)
    return student, teacher.eval().requires_grad_(False)


def digest_of(head: nn.Module) -> str:
    """A hash of a head's weights, which shows whether a seed has given the same ones again."""
    digest = hashlib.sha256()
    for tensor in head.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
