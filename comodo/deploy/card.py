"""Fills in the model card of an export, `card.md`, in the format of the Hugging Face hub.

Everything in it comes from the run. Knows neither networks nor MLflow.
"""

from pathlib import Path
from string import Template
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from comodo.config.channels import quantity_of
from comodo.config.dataset_base import G_AND_DEGREES
from comodo.config.space import flatten
from comodo.core.markdown import as_text
from comodo.core.store import Store
from comodo.data.window_sets import leakage_notes
from comodo.deploy.selection import Selection
from comodo.evaluation.scoring import scored_on
from comodo.report.differences import gains
from comodo.report.head import SELECTED_ON_TEST, demonstration
from comodo.report.page import data_section
from comodo.report.starts import card_start
from comodo.report.tables import cell, markdown
from comodo.search.labels import rounded
from comodo.search.trial import Trial

TAGS = ["human-activity-recognition", "imu", "onnx"]
DISTILLED = "knowledge-distillation"
SENSORS = {"acc": "accelerometer", "gyro": "gyroscope"}


def model_card(
    found: Selection, about: dict[str, Any], store: Store, licence: str | None = None
) -> str:
    """The card of an export; `about` is its `model.json`, `licence` the hub's name of one."""
    measured, sweep = about["accuracy"], found.record.sweep
    split = measured["split"]
    exported = [[f"{x}, {split}", f"{100 * measured[x]:.1f}"] for x in ("float32", "int8")]
    on_test = any("test/" in objective.metric for objective in sweep.objectives)
    parts = {
        "metadata": _metadata(found, about, licence).to_yaml(),
        "title": as_text(f"{about['sweep']}: {found.row.title}"),
        "summary": _summary(found, about),
        "classes": as_text(", ".join(about["classes"])),
        "input": "\n".join(markdown(["input", ""], _input(about["input"]))),
        "training": "\n".join(markdown(["setting", "value"], _settings(found))),
        "measured": "\n".join(_measured(found)),
        "windows": f"{measured['windows']:,}",
        "split": f"{split} of {as_text(measured['dataset'])}",
        "exported": "\n".join(markdown(["file", "Acc@1"], exported)),
        "difference": f"{about['largest_difference']:.1e}",
        "protocol": sweep.protocol,
        "objectives": ", ".join(f"{o.metric} ({o.mode})" for o in sweep.objectives),
        "selection": f"{SELECTED_ON_TEST}\n\n" if on_test else "",
        "data": "\n".join(_data(found, store)),
        "seconds": f"{about['input']['seconds']:g}",
        "licence": _licence(licence),
        "people": _people(found),
        "rate": f"{about['input']['rate']:g}",
        "units": ", ".join(f'"{unit}"' for unit in units_taken(about["input"]).values()),
    }
    return rounded(Template(Path(__file__).with_suffix(".md").read_text()).substitute(parts))


def _metadata(found: Selection, about: dict[str, Any], licence: str | None) -> ModelCardData:
    """For the hub, where an accuracy on simulated recordings would stand among real ones."""
    simulated = found.record.sweep.datasets[about["accuracy"]["dataset"]].kind == "simulated"
    config, measured = found.row.trial.config, about["accuracy"]
    weights = None if config.student.is_checkpoint else config.student.weights
    distils = config.method.needs_teacher
    accuracy = EvalResult(
        task_type="time-series-classification",
        dataset_type=measured["dataset"],
        dataset_name=measured["dataset"],
        dataset_split=measured["split"],
        metric_type="accuracy",
        metric_value=round(measured["float32"], 4),
    )
    return ModelCardData(
        model_name=f"comodo-{about['sweep']}",
        library_name="comodo",
        license=licence,
        tags=[*TAGS, *units_taken(about["input"]), *([DISTILLED] * distils)],
        base_model=weights if weights == _source(weights) else None,
        eval_results=None if simulated else [accuracy],
    )


def _summary(found: Selection, about: dict[str, Any]) -> str:
    config = found.row.trial.config
    classifier = "its own classifier" if config.student.is_baseline else "an SVM probe"
    how = ["trained with labels"] if config.method.needs_labels else []
    if config.teacher is not None and config.method.needs_teacher:
        how.insert(0, f"distilled from `{config.teacher.name}`")
    trained = f" {' and '.join(how)}" if how else ""
    units = about["encoder_units"]
    inside = "" if units == list(G_AND_DEGREES) else f" The encoder sees {' and '.join(units)}."
    dataset = about["accuracy"]["dataset"]
    paragraphs = [
        *demonstration(found.record.sweep, dict.fromkeys((config.dataset, dataset))),
        f"Recognises {len(about['classes'])} activities from {about['input']['seconds']:g} s of "
        f"{len(about['input']['channels'])} IMU channels: a `{config.student.name}` "
        f"encoder{trained}, then {classifier}. "
        f"Units, resampling, encoder and classifier are one network.{inside}",
        *card_start(found.row.trial, found.results),
        *_fitted_elsewhere(found.row.trial, dataset),
    ]
    return "\n\n".join(paragraphs)


def _fitted_elsewhere(trial: Trial, dataset: str) -> list[str]:
    """That the probe is of another data set's people than the encoder."""
    if dataset == trial.config.dataset:
        return []
    folds = trial.evaluation.folds.get(dataset)
    part = f", those of train in the first of its {len(folds)} folds" if folds else ""
    return [
        f"**The probe was fitted on the people of data set {as_text(dataset)}{part}:** "
        f"{as_text(trial.config.dataset)}, on which the encoder was distilled, has too few labels."
    ]


def _licence(licence: str | None) -> str:
    """Without one, what it depends on: whoever shares the model has to choose it."""
    terms = "those of the recordings and of the weights that training started from"
    if licence is None:
        return f"No licence is given: it depends on {terms}."
    return f"Licence: {as_text(licence)}; besides it {terms} apply."


def _people(found: Selection) -> str:
    """What the files have of the people who were recorded. Names of groups are in none of them."""
    if found.row.trial.config.student.is_baseline:
        return "The files contain no recordings."
    return (
        "The files contain no recordings, but the programs contain the probe's support vectors: "
        "features of training windows, from which something may be learnt about the people who "
        "were recorded. `model.safetensors` has the encoder alone."
    )


def _input(taken: dict[str, Any]) -> list[list[str]]:
    _, channels, samples = taken["shape"]
    return [
        ["shape", f"windows x {channels} x {samples}, {taken['type']}"],
        ["channels", ", ".join(taken["channels"])],
        ["rate", f"{taken['rate']:g} Hz, {taken['seconds']:g} s"],
        *map(list, units_taken(taken).items()),
    ]


def units_taken(taken: dict[str, Any]) -> dict[str, str]:
    """The unit of each kind of sensor that a program takes; `taken` is `input` of `model.json`."""
    kinds = dict.fromkeys(map(quantity_of, taken["channels"]))
    return {SENSORS[kind]: taken[f"{kind}_unit"] for kind in kinds}


def _settings(found: Selection) -> list[list[str]]:
    config, seeds = found.row.trial.config, ", ".join(map(str, found.record.sweep.seeds))
    rows = [["seed", f"{found.row.trial.seed} (of {seeds})"]]
    if (fold := found.row.trial.fold) is not None:
        groups = f"tested on {len(fold.test)} group{'s' * (len(fold.test) != 1)}"
        rows.append(["fold", f"{fold.number} (of {fold.count}); {groups}"])
    if config.teacher is not None and config.method.needs_teacher:
        rows.append(["teacher", f"{config.teacher.name} {_source(config.teacher.weights)}".strip()])
    for key, value in flatten(config.model_dump(mode="json", exclude={"teacher"})).items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if value not in (None, {}):
            text = Path(text).name if key.endswith(".file") else text
            is_source = key.endswith(("weights", "student.from"))
            rows.append([key, _source(value) if is_source else text])
    return rows


def _source(weights: str | None) -> str:
    """A hub id, or the name of a folder or file without its path, which is private."""
    path = Path(weights or "")
    return path.name if weights is None or path.is_absolute() or path.is_dir() else weights


def _measured(found: Selection) -> list[str]:
    """The sweep's accuracies, and the gain over the untrained student."""
    results, row = found.results, found.row
    rows = []
    for split in ("val", "test"):
        if (of_trial := results.of_trial(row, split)) is not None:
            seeds = len(results.by_label[row.label])
            rows.append([f"{split}, this student", cell(of_trial)])
            rows.append([f"{split}, {seeds} seeds", cell(results.accuracy(row.label, split))])
    dataset = results.scored_on(row.trial)
    where = f" on {as_text(dataset)}" if dataset != row.trial.config.dataset else ""
    lines = markdown([f"measured by the sweep{where}", "Acc@1"], rows)
    if gain := gains(results).get(row.label):
        lines += [f"Gain over the untrained student on test, in points: {gain}.", ""]
    return lines


def _data(found: Selection, store: Store) -> list[str]:
    trial, sweep = found.row.trial, found.record.sweep
    scored, known = scored_on(trial, sweep), found.record.window_sets(store)
    names = dict.fromkeys((trial.config.dataset, scored))
    if any(name not in known for name in names):
        return ["## Data", "", f"{' and '.join(names)}; windows are no longer in the store.", ""]
    lines = data_section(sweep, {name: known[name] for name in names}, store)
    none = ["leakage: no group of val or test is also in train"]
    for sentence in leakage_notes(known[scored].leaks) or none:
        lines += [f"**{as_text(sentence[0].upper() + sentence[1:])}.**", ""]
    return lines
