"""An export in MLflow: the model that it serves, and its place in the trial's run and the registry.

Knows neither networks nor how an export is made.
"""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import numpy.typing as npt
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec

from comodo.core.console import console
from comodo.core.store import Store, key_of
from comodo.tracking.runs import FAILURES, TRIAL, find_runs, print_failure

FloatArray = npt.NDArray[np.float32]
MODEL = "mlflow"
SERVED = Path(__file__).with_name("comodo_served.py")
ALIAS = "exported"  # `latest` is reserved by MLflow
SERVING_PACKAGES = ("mlflow", "numpy", "onnxruntime")


def save_model(folder: Path, program: Path, classes: int, imu_NCR: FloatArray) -> None:
    """Writes the model that MLflow serves into `folder`; it needs nothing else. It runs the ONNX
    file `program`; `imu_NCR`, raw windows, are its input example."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *imu_NCR.shape[1:]))])
    label = TensorSpec(np.dtype(str), (-1,), "label")
    outputs = Schema([label, TensorSpec(np.dtype(np.float32), (-1, classes), "probabilities")])
    mlflow.pyfunc.save_model(
        folder / MODEL,
        loader_module=SERVED.stem,
        code_paths=[str(SERVED)],
        data_path=str(program),
        signature=ModelSignature(inputs, outputs),
        input_example=imu_NCR,
        pip_requirements=[f"{package}=={version(package)}" for package in SERVING_PACKAGES],
    )


def register(folder: Path, about: dict[str, Any], store: Store) -> str | None:
    """Logs an export to its trial's run and registers it as `comodo-<sweep>`, under an alias.

    Returns name and alias; None, and prints why, if the trial has no run or MLflow is away.
    """
    sweep, trial = about["sweep"], about["trial"]
    runs = find_runs(sweep, store)
    if runs is None or trial not in runs.trials:
        console.print("no run of this trial in MLflow: not registered", style="yellow")
        return None
    run, name = runs.trials[trial], f"comodo-{sweep}"
    place = f"export-{key_of(about)}"
    try:
        client = MlflowClient(runs.uri, registry_uri=runs.uri)
        client.log_artifacts(run, str(folder), place)
        source = f"{client.get_run(run).info.artifact_uri}/{place}/{MODEL}"
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        known = [v for v in client.search_model_versions(f"name = '{name}'") if v.source == source]
        tags = {TRIAL: trial}
        model = known[0] if known else client.create_model_version(name, source, run, tags)
        client.set_registered_model_alias(name, ALIAS, model.version)
    except FAILURES as error:
        print_failure(error, "not registered")
        return None
    return f"{name}@{ALIAS}"
