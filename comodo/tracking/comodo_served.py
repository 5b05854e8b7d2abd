"""The model that MLflow serves for an export: raw windows in, labels and probabilities out.

MLflow copies this file into the model and imports it there by name, so it needs nothing of comodo.

Shapes: N windows, C channels of the student, R raw samples, K classes.
"""

import json
from typing import Any

import numpy as np
import onnxruntime


class Served:
    def __init__(self, path: str) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        notes = self._session.get_modelmeta().custom_metadata_map
        self._classes = np.array(json.loads(notes["classes"]))

    def predict(self, imu_NCR: Any, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """For windows [N, C, R]: `label` [N] and `probabilities` [N, K]."""
        (probability_NK,) = self._session.run(["probabilities"], {"imu": imu_NCR})
        return {"label": self._classes[probability_NK.argmax(1)], "probabilities": probability_NK}


def _load_pyfunc(path: str) -> Served:
    """MLflow calls this with the path of the ONNX file."""
    return Served(path)
