"""The optimizer of a trial. It does not know what its parameters belong to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from comodo.config import TrialConfig


def build_optimizer(
    trial: TrialConfig, parameters: Sequence[nn.Parameter], undecayed: Sequence[nn.Parameter]
) -> torch.optim.AdamW:
    """AdamW for these parameters, of which `undecayed` have no weight decay."""
    apart = {id(parameter) for parameter in undecayed}
    decayed = [parameter for parameter in parameters if id(parameter) not in apart]
    groups: list[dict[str, Any]] = [{"params": decayed}]
    if undecayed:
        groups.append({"params": [*undecayed], "weight_decay": 0.0})
    return torch.optim.AdamW(
        groups, lr=trial.learning_rate, weight_decay=trial.weight_decay, fused=True
    )
