"""Writes the model card of an export in the format of the Hugging Face hub.

Everything in it comes from the run. Knows neither networks nor MLflow.
"""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from comodo.config import DistillingMethod
from comodo.config.space import flatten
from comodo.core.store import Store
from comodo.data.window_sets import leakage_notes
from comodo.deploy.selection import Selection
from comodo.report.page import SELECTED_ON_TEST, data_section, demonstration
from comodo.report.tables import cell, gains, markdown
from comodo.search.labels import rounded

TAGS = ["human-activity-recognition", "imu", "accelerometer", "gyroscope", "knowledge-distillation"]

USE = """```python
import json

import numpy as np
import onnxruntime

about = json.load(open("model.json"))
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
windows, channels, samples = 2, *about["input"]["shape"][1:]
imu = np.random.randn(windows, channels, samples).astype(np.float32)  # put your samples here
probabilities, feature = session.run(None, {"imu": imu})
print([about["classes"][best] for best in probabilities.argmax(1)])
```"""

CITATION = """```bibtex
@article{comodo,
  title   = {{COMODO}: Cross-Modal Video-to-{IMU} Distillation for Efficient Egocentric Human
             Activity Recognition},
  author  = {Baiyu Chen and Wilson Wongso and Zechen Li and Yonchanok Khaokaew and Hao Xue and
             Flora Salim},
  journal = {arXiv preprint arXiv:2503.07259},
  year    = {2025}
}
```"""


def model_card(found: Selection, about: dict[str, Any], store: Store) -> str:
    """The card: data, teacher, method, accuracy with intervals, leakage, intended use.

    Args:
        about: the export's `model.json`.
    """
    lines = [
        f"# {about['sweep']}: {found.row.title}",
        "",
        *_what(found, about),
        *_use(about),
        *_training(found),
        *_results(found, about),
        *_data(found, store),
        *_limits(found, about),
        "## Citation",
        "",
        "The method:",
        "",
        CITATION,
        "",
    ]
    return rounded(f"---\n{_metadata(found, about).to_yaml()}\n---\n\n" + "\n".join(lines))


def _metadata(found: Selection, about: dict[str, Any]) -> ModelCardData:
    """For the hub. No licence: whoever shares the model has to choose it."""
    student, measured = found.row.trial.config.student, about["accuracy"]
    dataset = found.row.trial.config.dataset
    hub_id = student.weights if student.weights == _source(student.weights) else None
    accuracy = EvalResult(
        task_type="time-series-classification",
        dataset_type=dataset,
        dataset_name=dataset,
        dataset_split=measured["split"],
        metric_type="accuracy",
        metric_value=round(measured["float32"], 4),
    )
    return ModelCardData(
        model_name=f"comodo-{about['sweep']}",
        library_name="onnx",
        tags=TAGS,
        base_model=hub_id,
        eval_results=[accuracy],
    )


def _what(found: Selection, about: dict[str, Any]) -> list[str]:
    config, taken = found.row.trial.config, about["input"]
    classifier = "its own classifier" if config.student.is_baseline else "an SVM probe"
    paragraphs = [
        *demonstration(found.saved.sweep, [config.dataset]),
        f"Recognises {len(about['classes'])} activities from {taken['seconds']:g} s of six IMU "
        f"channels: a `{config.student.name}` encoder"
        + (f" distilled from `{config.teacher.name}`" if _distilled(found) else "")
        + f", then {classifier}. Units, resampling, encoder and classifier are one network.",
        f"Classes: {', '.join(about['classes'])}.",
    ]
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def _distilled(found: Selection) -> bool:
    return isinstance(found.row.trial.config.method, DistillingMethod)


def _use(about: dict[str, Any]) -> list[str]:
    taken = about["input"]
    _, channels, samples = taken["shape"]
    rows = [
        ["shape", f"windows x {channels} x {samples}, {taken['type']}"],
        ["channels", ", ".join(taken["channels"])],
        ["rate", f"{taken['rate']:g} Hz, {taken['seconds']:g} s"],
        ["accelerometer", taken["acc_unit"]],
        ["gyroscope", taken["gyro_unit"]],
    ]
    return [
        "## How to use",
        "",
        "The input is a batch of whole windows of raw samples:",
        "",
        *markdown(["input", ""], rows),
        "In the folder of this card, with `onnxruntime` and `numpy`:",
        "",
        USE,
        "",
        "`model.int8.onnx` is used in the same way; `torch.export.load` reads `model.pt2`, and "
        "`mlflow models serve -m mlflow` serves the model over HTTP.",
        "",
    ]


def _training(found: Selection) -> list[str]:
    trial, sweep = found.row.trial, found.saved.sweep
    teacher = trial.config.teacher
    settings = flatten(trial.config.model_dump(mode="json", exclude={"teacher"}))
    rows = [["seed", f"{trial.seed} (of {', '.join(map(str, sweep.seeds))})"]]
    if _distilled(found):
        rows.append(["teacher", f"{teacher.name} {_source(teacher.weights)}".strip()])
    rows += [[key, _text(key, value)] for key, value in settings.items() if value not in (None, {})]
    return ["## Training", "", *markdown(["setting", "value"], rows)]


def _text(key: str, value: Any) -> str:
    if key.endswith("weights"):
        return _source(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _source(weights: str | None) -> str:
    """A hub id, or the name of a folder without its path, which is private."""
    path = Path(weights or "")
    return path.name if weights is None or path.is_absolute() or path.is_dir() else weights


def _results(found: Selection, about: dict[str, Any]) -> list[str]:
    results, row, measured = found.results, found.row, about["accuracy"]
    split = measured["split"]
    rows = []
    for name in ("val", "test"):
        of_trial = results.of_trial(row, name)
        if of_trial is not None:
            rows.append([f"{name}, this student", cell(of_trial)])
            whole = results.accuracy(row.label, name)
            rows.append([f"{name}, {len(results.by_label[row.label])} seeds", cell(whole)])
    exported = [[f"{form}, {split}", f"{100 * measured[form]:.1f}"] for form in ("float32", "int8")]
    over = gains(results).get(row.label)
    selected = [
        f"{objective.metric} ({objective.mode})" for objective in found.saved.sweep.objectives
    ]
    lines = [
        "## Results",
        "",
        "Acc@1 in percent; in brackets the 95 % interval: of this student for new groups (people, "
        "captures or days), of several seeds for new seeds and new groups.",
        "",
        *markdown(["measured by the sweep", "Acc@1"], rows),
        *([f"Gain over the untrained student on test, in points: {over}.", ""] if over else []),
        f"The exported files, run by onnxruntime on {measured['windows']:,} labelled windows of "
        f"{split} in the input format above:",
        "",
        *markdown(["file", "Acc@1"], exported),
        f"ONNX differs from PyTorch by at most {about['largest_difference']:.1e}. Protocol: "
        f"`{found.saved.sweep.protocol}`. Objectives of the sweep: {', '.join(selected)}.",
        "",
    ]
    if any("test/" in objective for objective in selected):
        lines += [SELECTED_ON_TEST, ""]
    return lines


def _data(found: Selection, store: Store) -> list[str]:
    dataset = found.row.trial.config.dataset
    windows = found.saved.window_sets(store).get(dataset)
    if windows is None:
        return ["## Data", "", f"{dataset}; its windows are no longer in the store.", ""]
    leaks = leakage_notes(windows.leaks) or ["leakage: no group of val or test is also in train"]
    return [
        *data_section(found.saved.sweep, {dataset: windows}, store),
        *(line for sentence in leaks for line in (f"**{sentence[0].upper()}{sentence[1:]}.**", "")),
    ]


def _limits(found: Selection, about: dict[str, Any]) -> list[str]:
    taken = about["input"]
    limits = [
        "For research and prototypes of activity recognition on a body-worn IMU; not for medical, "
        "safety or surveillance decisions.",
        "Place, orientation and axes of the sensor must be those of the recordings above; for "
        "another place, train another model.",
        f"It takes whole windows of {taken['seconds']:g} s and always returns one of its classes, "
        "even for an activity that is none of them: check the probability.",
        "Probabilities are calibrated on the training windows only.",
        "If the device's rate is not that of training, each window is resampled on its own, as at "
        "the ends of a recording.",
        "int8 covers the weights of the encoder's linear layers; the rest is float32.",
        "No licence is given: it depends on those of the recordings and of the weights that "
        "training started from.",
    ]
    return ["## Intended use and limits", "", *(f"- {limit}" for limit in limits), ""]
