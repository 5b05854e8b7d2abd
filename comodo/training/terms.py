"""The losses of a method as modules, which hold what is trained besides the student.

Knows neither the training loop nor where embeddings come from; a loss is computed in `losses`.
"""

from torch import Tensor, nn

from comodo.config import Method
from comodo.config.terms import OwnTerm
from comodo.losses.loss import Loss, Step
from comodo.training.own_loss import OwnLoss
from comodo.training.queue import TeacherQueue


class LossModule(nn.Module):
    """A loss with what it trains; maps a Step to a scalar."""

    queue: TeacherQueue  # of a loss with one: filled by the training, which has the windows for it

    def __init__(self, loss: Loss, student_dim: int, classes: int) -> None:
        super().__init__()
        self.settings = loss
        for name, part in loss.trained(student_dim, classes).items():
            setattr(self, name, part)

    def forward(self, step: Step) -> Tensor:
        return self.settings.compute(step, own=self)


def build_terms(method: Method, student_dim: int, classes: int) -> nn.ModuleDict:
    """The losses of a method by name; what they train begins with torch's random numbers. Raises
    ValueError for one of another package or file that cannot be built."""
    terms = nn.ModuleDict()
    for name, loss in method.losses.items():
        if isinstance(loss, OwnTerm):
            terms[name] = OwnLoss(loss, student_dim, classes)
        else:
            terms[name] = LossModule(loss, student_dim, classes)
    return terms


def refuse_unusable(method: Method) -> None:
    """Raises ValueError for a loss of another package or file that cannot be built."""
    for loss in method.losses.values():
        if isinstance(loss, OwnTerm):
            OwnLoss(loss, student_dim=8, classes=2)  # any will do


def scalars(module: nn.Module) -> list[nn.Parameter]:
    """The parameters without dimensions, which are trained without weight decay."""
    return [parameter for parameter in module.parameters() if not parameter.ndim]
