"""VICReg, with the layers between feature and embedding."""

from torch import Tensor, nn

from comodo.config.terms import VicregTerm as Settings
from comodo.training.losses import vicreg_loss
from comodo.training.terms.term import Step, Term


class VicregTerm(Term):
    """`vicreg_loss` of a batch and its second view."""

    def __init__(self, settings: Settings, student_dim: int, classes: int) -> None:
        super().__init__(settings, student_dim, classes)
        width = settings.width
        self.expander = nn.Sequential(
            nn.Linear(student_dim, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, width),
        )  # fmt: skip

    def forward(self, step: Step) -> Tensor:
        return vicreg_loss(self.expander(step.feature_BW), self.expander(step.view_BW))
