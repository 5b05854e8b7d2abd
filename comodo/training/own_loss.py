"""Losses that are classes of another package or of the user's file."""

from typing import Any

from torch import Tensor, nn

from comodo.config.terms import OF_TRAINING, TERMS, OwnTerm
from comodo.losses.loss import Step


class OwnLoss(nn.Module):
    """A module that maps a `Step` to a scalar. Its class takes its settings, and of `student_dim`
    and `classes` those that its constructor names. Raises ValueError for one that cannot be built,
    or gives anything else."""

    def __init__(self, settings: OwnTerm, student_dim: int, classes: int) -> None:
        super().__init__()
        code, own = settings.read_code, settings.own_code
        if code is None:
            raise ValueError("only its settings were recorded, not the code of its file")
        loss = TERMS.get(settings.name) if own is None else own.run()
        given = dict(zip(OF_TRAINING, (student_dim, classes), strict=True))
        taken = {key: given[key] for key in OF_TRAINING if key in (code.arguments or ())}
        try:
            self.loss: Any = loss(**taken, **settings.settings)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{code.name} of {code.file} cannot be used: {reason}") from error
        if not isinstance(self.loss, nn.Module):
            raise ValueError(f"{code.name} of {code.file} has to inherit from torch.nn.Module")
        self.called = f"{code.name} of {code.file}"

    def forward(self, step: Step) -> Tensor:
        value: Any = self.loss(step)
        if not isinstance(value, Tensor) or value.ndim:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{self.called} has to give a scalar tensor, but gives {got}")
        return value
