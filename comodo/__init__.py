"""Sweeps and ablations of cross-modal video-to-IMU distillation, on Ray."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comodo.api import list_sweeps, load_sweep, read_sweep, run_sweep
    from comodo.core.errors import ComodoError
    from comodo.evaluation.dataframes import SweepFrames
    from comodo.evaluation.probe import SVMProbe
    from comodo.evaluation.stats import accuracy_interval as interval
    from comodo.evaluation.stats import compare
    from comodo.losses.comodo import comodo_loss
    from comodo.models.trained_student import TrainedStudent, load_student
    from comodo.models.transformer import StudentTransformer
    from comodo.training.queue import TeacherQueue

__all__ = [
    "ComodoError",
    "SVMProbe",
    "StudentTransformer",
    "SweepFrames",
    "TeacherQueue",
    "TrainedStudent",
    "__version__",
    "comodo_loss",
    "compare",
    "interval",
    "list_sweeps",
    "load_student",
    "load_sweep",
    "read_sweep",
    "run_sweep",
]
__version__ = "0.2.0"

_PLACES = {
    "ComodoError": "comodo.core.errors:ComodoError",
    "SVMProbe": "comodo.evaluation.probe:SVMProbe",
    "StudentTransformer": "comodo.models.transformer:StudentTransformer",
    "SweepFrames": "comodo.evaluation.dataframes:SweepFrames",
    "TeacherQueue": "comodo.training.queue:TeacherQueue",
    "TrainedStudent": "comodo.models.trained_student:TrainedStudent",
    "comodo_loss": "comodo.losses.comodo:comodo_loss",
    "compare": "comodo.evaluation.stats:compare",
    "interval": "comodo.evaluation.stats:accuracy_interval",
    "list_sweeps": "comodo.api:list_sweeps",
    "load_student": "comodo.models.trained_student:load_student",
    "load_sweep": "comodo.api:load_sweep",
    "read_sweep": "comodo.api:read_sweep",
    "run_sweep": "comodo.api:run_sweep",
}
"""Imported when they are first used: `import comodo` loads no library."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'comodo' has no attribute '{name}'")
    module, _, attribute = _PLACES[name].partition(":")
    found = globals()[name] = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
