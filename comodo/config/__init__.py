"""The sweep file: every key, its default, its limits and its error.

Knows neither torch nor Ray, so that a wrong file is refused at once. Nothing here looks inside a
recording; that the named files exist is all that is checked.
"""

from comodo.config.augment import Augmentation
from comodo.config.base import ConfigError
from comodo.config.channels import CHANNELS
from comodo.config.datasets import DatasetConfig
from comodo.config.load import read_sweep_file
from comodo.config.methods import (
    ComodoMethod,
    InfonceMethod,
    L2Method,
    Method,
    NoneMethod,
    SupervisedMethod,
    TermsMethod,
)
from comodo.config.resources import EarlyStopping, Resources
from comodo.config.student import StudentConfig
from comodo.config.sweep import Sweep
from comodo.config.teacher import TeacherConfig
from comodo.config.trial import TrialConfig

__all__ = [
    "CHANNELS",
    "Augmentation",
    "ComodoMethod",
    "ConfigError",
    "DatasetConfig",
    "EarlyStopping",
    "InfonceMethod",
    "L2Method",
    "Method",
    "NoneMethod",
    "Resources",
    "StudentConfig",
    "SupervisedMethod",
    "Sweep",
    "TeacherConfig",
    "TermsMethod",
    "TrialConfig",
    "read_sweep_file",
]
