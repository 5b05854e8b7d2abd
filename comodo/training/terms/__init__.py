"""The losses that a student is trained with: each as a term of a weighted sum, a file per term.

A term knows its settings, what it trains besides the student, and its state. It does not know the
other terms, the training loop or where embeddings come from; the mathematics is in `losses`.
"""

from torch import nn

from comodo.config import Method
from comodo.training.terms.comodo import ComodoTerm
from comodo.training.terms.infonce import InfonceTerm
from comodo.training.terms.l2 import L2Term
from comodo.training.terms.relational import AngleTerm, DistanceTerm
from comodo.training.terms.siglip import SiglipTerm
from comodo.training.terms.supervised import SupervisedTerm
from comodo.training.terms.term import Step, Term
from comodo.training.terms.vicreg import VicregTerm

__all__ = ["Step", "Term", "build_terms"]

TERMS: dict[str, type[Term]] = {
    "comodo": ComodoTerm,
    "infonce": InfonceTerm,
    "l2": L2Term,
    "supervised": SupervisedTerm,
    "siglip": SiglipTerm,
    "rkd_distance": DistanceTerm,
    "rkd_angle": AngleTerm,
    "vicreg": VicregTerm,
}


def build_terms(method: Method, student_dim: int, classes: int) -> nn.ModuleDict:
    """The terms of a method by name; what they train begins with torch's random numbers."""
    return nn.ModuleDict(
        {name: TERMS[name](loss, student_dim, classes) for name, loss in method.losses.items()}
    )
