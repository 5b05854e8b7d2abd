"""NT-Xent, with the layers between feature and embedding."""

from torch import Tensor, nn

from comodo.config.terms import NtXentTerm as Settings
from comodo.training.losses import nt_xent_loss
from comodo.training.terms.term import Step, Term


class NtXentTerm(Term):
    """`nt_xent_loss` of a batch and its second view, whose student features go through SimCLR's
    projection head (section 2.1 of arXiv 2002.05709): one hidden layer, as wide as the feature."""

    settings: Settings

    def __init__(self, settings: Settings, student_dim: int, classes: int) -> None:
        super().__init__(settings, student_dim, classes)
        self.projector = nn.Sequential(
            nn.Linear(student_dim, student_dim), nn.ReLU(), nn.Linear(student_dim, settings.width)
        )

    def forward(self, step: Step) -> Tensor:
        views = self.projector(step.feature_BW), self.projector(step.view_BW)
        return nt_xent_loss(*views, self.settings.temperature)
