"""One network from a device's raw IMU samples to the probabilities of activities.

Units and rate, the student, then its probe (or its own classifier), all in torch, so that all of it
can be exported. Knows neither trials nor file formats.

Shapes: B windows, C channels of the student, R raw samples, D numbers in a feature, K classes, P
pairs of classes, S support vectors.
"""

import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop
from torch.nn import functional

from comodo.evaluation.probe import SVMProbe
from comodo.models.preprocessing import Preprocessing
from comodo.models.students import Student


class Recogniser(nn.Module):
    """Class probabilities [B, K] and features [B, D] of raw windows [B, C, R]; `mask` as in
    `Student.forward`."""

    def __init__(
        self, preprocessing: Preprocessing, student: Student, mask: bool, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.preprocessing, self.student, self.classifier = preprocessing, student, classifier
        self.mask = mask

    def forward(self, imu: Tensor) -> tuple[Tensor, Tensor]:
        feature_BD: Tensor = self.student(self.preprocessing(imu), mask=self.mask)
        return self.classifier(feature_BD), feature_BD


class SVMClassifier(nn.Module):
    """Computes `SVMProbe.probabilities` in float32."""

    mean: Tensor
    scale: Tensor
    gamma: Tensor
    support: Tensor
    coefficients: Tensor
    intercepts: Tensor
    slopes: Tensor
    offsets: Tensor

    def __init__(self, probe: SVMProbe) -> None:
        super().__init__()
        for name, array in probe.fitted().items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32))
        self.support = self.support.T.contiguous()
        self.couple = Coupling(len(probe.classes_))

    def forward(self, feature_BD: Tensor) -> Tensor:
        vector_BD = (functional.normalize(feature_BD, dim=1) - self.mean) / self.scale
        # |x - s|^2, expanded.
        squares_BS = vector_BD.square().sum(1, keepdim=True) + self.support.square().sum(0)
        distance_BS = squares_BS - 2 * vector_BD @ self.support
        decision_BP = torch.exp(-self.gamma * distance_BS) @ self.coefficients + self.intercepts
        return self.couple(-(self.slopes * decision_BP + self.offsets))


class Coupling(nn.Module):
    """`platt.couple` in torch: probabilities [B, K] from the log-odds [B, P] of each pair's first.

    The same algorithm with the same stopping rule, one class per step, so that the program does not
    grow with the number of classes. libsvm stops before the exact optimum, so an exact solution
    would give different probabilities.
    """

    place_KK: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        first_P, second_P = torch.triu_indices(classes, classes, 1)
        place_KK = torch.zeros(classes, classes, dtype=torch.long)
        place_KK[first_P, second_P] = 1 + torch.arange(len(first_P))
        place_KK[second_P, first_P] = place_KK[first_P, second_P] + len(first_P)
        self.register_buffer("place_KK", place_KK)  # index into zero, first wins, second wins

    def forward(self, odds_BP: Tensor) -> Tensor:
        classes = self.classes
        wins = [torch.zeros_like(odds_BP[:, :1]), odds_BP.sigmoid(), (-odds_BP).sigmoid()]
        wins_BKK = torch.cat([wins[0], *(win.clamp(1e-7, 1 - 1e-7) for win in wins[1:])], dim=1)
        wins_BKK = wins_BKK[:, self.place_KK.flatten()].unflatten(1, (classes, classes))
        losses_BKK = wins_BKK.mT
        q_BKK = torch.diag_embed(losses_BKK.square().sum(2)) - losses_BKK * wins_BKK
        class_K = torch.arange(classes, device=odds_BP.device)
        limit = classes * (100 if classes < 100 else classes)

        def unfinished(turn: Tensor, p: Tensor, qp: Tensor, pqp: Tensor, live: Tensor) -> Tensor:
            return torch.logical_and(turn < limit, live.any())

        def improve(
            turn: Tensor, p_BK: Tensor, qp_BK: Tensor, pqp_B1: Tensor, live_B1: Tensor
        ) -> tuple[Tensor, ...]:
            k = turn % classes
            fresh_BK = (q_BKK * p_BK.unsqueeze(1)).sum(2)
            qp_BK = torch.where(k == 0, fresh_BK, qp_BK)
            pqp_B1 = torch.where(k == 0, (p_BK * fresh_BK).sum(1, keepdim=True), pqp_B1)
            apart_B1 = (qp_BK - pqp_B1).abs().amax(1, keepdim=True) >= 0.005 / classes
            live_B1 = torch.logical_and(live_B1, torch.logical_or(k != 0, apart_B1))
            at_K = (class_K == k).to(p_BK.dtype)
            q_k_BK = (q_BKK * at_K.unsqueeze(1)).sum(1)
            q_kk_B1 = (q_k_BK * at_K).sum(1, keepdim=True)
            qp_k_B1 = (qp_BK * at_K).sum(1, keepdim=True)
            step_B1 = torch.where(live_B1, (pqp_B1 - qp_k_B1) / q_kk_B1, 0.0)
            scale_B1 = 1 + step_B1
            pqp_B1 = (pqp_B1 + step_B1 * (step_B1 * q_kk_B1 + 2 * qp_k_B1)) / scale_B1**2
            qp_BK = (qp_BK + step_B1 * q_k_BK) / scale_B1
            return turn + 1, (p_BK + step_B1 * at_K) / scale_B1, qp_BK, pqp_B1, live_B1

        p_BK = torch.full_like(q_BKK[:, 0], 1 / classes)
        start_B1 = torch.zeros_like(p_BK[:, :1])
        carried = (torch.tensor(0), p_BK, torch.zeros_like(p_BK), start_B1, start_B1 == 0)
        return while_loop(unfinished, improve, carried)[1]
