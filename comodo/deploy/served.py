"""What MLflow serves of an export: windows of raw samples in, labels and probabilities out.

MLflow copies this file into the model and runs it there: it imports nothing of comodo, nor torch.

Shapes: N windows, C = 6 channels, R raw samples, K classes.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


# MLflow asks for type hints, which it would take for the schema in place of the signature's.
warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method")


class Served(PythonModel):
    def load_context(self, context: Any) -> None:
        files = context.artifacts
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(files["onnx"], providers=providers)
        self.classes = np.array(json.loads(Path(files["about"]).read_text())["classes"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Of windows [N, 6, R] `label` [N] and `probabilities` [N, K]."""
        imu_NCR = np.asarray(model_input, np.float32)
        (probability_NK,) = self.session.run(["probabilities"], {"imu": imu_NCR})
        return {"label": self.classes[probability_NK.argmax(1)], "probabilities": probability_NK}


set_model(Served())
