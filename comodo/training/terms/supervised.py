"""Cross-entropy on the labels, with the classifier that it trains."""

from torch import Tensor
from torch.nn import functional

from comodo.config.terms import SupervisedLoss
from comodo.data.arrays import NO_LABEL
from comodo.models.heads import build_classifier
from comodo.training.terms.term import Step, Term


class SupervisedTerm(Term):
    """The mean over the windows of the batch that have a label; 0 if none has one."""

    def __init__(self, settings: SupervisedLoss, student_dim: int, classes: int) -> None:
        super().__init__(settings, student_dim, classes)
        self.classifier = build_classifier(settings, student_dim, classes)

    def forward(self, step: Step) -> Tensor:
        score_BK, label_B = self.classifier(step.feature_BW), step.label_B
        total = functional.cross_entropy(score_BK, label_B, ignore_index=NO_LABEL, reduction="sum")
        return total / (label_B != NO_LABEL).sum().clamp(min=1)
