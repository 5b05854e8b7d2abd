"""The losses that a student is trained with: each as a term of a weighted sum, a file per term.

A term knows its settings, what it trains besides the student, and its state. It does not know the
other terms, the training loop or where embeddings come from; the mathematics is in `losses`.
"""

from torch import nn

from comodo.config import Method
from comodo.config.terms import TERMS, Loss
from comodo.config.terms import OwnTerm as OwnSettings
from comodo.training.terms.own import OwnTerm
from comodo.training.terms.term import Step, Term

__all__ = ["Step", "Term", "build_terms", "refuse_unusable"]


def build_terms(method: Method, student_dim: int, classes: int) -> nn.ModuleDict:
    """The terms of a method by name; what they train begins with torch's random numbers. Raises
    ValueError for one of another package or file that cannot be built."""
    return nn.ModuleDict(
        {
            name: _class_of(name, loss)(loss, student_dim, classes)
            for name, loss in method.losses.items()
        }
    )


def refuse_unusable(method: Method) -> None:
    """Raises ValueError for a loss of another package or file that cannot be built."""
    for loss in method.losses.values():
        if isinstance(loss, OwnSettings):
            OwnTerm(loss, student_dim=8, classes=2)  # any will do


def _class_of(name: str, loss: Loss) -> type[Term]:
    if isinstance(loss, OwnSettings):
        return OwnTerm
    built_in: type[Term] = TERMS.get(name)
    return built_in
