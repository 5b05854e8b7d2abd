"""Finds the student that `student.from` of a sweep file names: in a store by a sweep's name or a
trial's key, or a folder that holds a saved student. Reads records only, and imports no torch.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comodo.config.dataset_base import G_AND_DEGREES
from comodo.config.metric import Metric
from comodo.config.source import Source, Sources, SourceTrial
from comodo.config.student import OPTIONS, STUDENTS, StudentConfig, family_of
from comodo.core.errors import ComodoError
from comodo.core.store import Store, fetched, find_json, fingerprint, read_json
from comodo.deploy.selection import Selection, resolve_run
from comodo.search.records import TrainedRecord
from comodo.search.status import read_status, sweep_names

if TYPE_CHECKING:
    from comodo.evaluation.results import Results, TrialRow

STUDENT = "student"
"""The folder of a student in that of its trial."""
DESCRIPTION, WEIGHTS = "student.json", "model.safetensors"
EXPORTED = "model.json"


def sources_in(store: Store) -> Sources:
    """Those of a store, each looked up when a sweep file names it."""
    return Sources({}, partial(find_source, store))


def find_source(store: Store, name: str) -> Source:
    """The student that a sweep file names. Raises ValueError with the reason and the fix."""
    if Path(name).is_absolute():
        return _of_folder(Path(name), name, store)
    if "/" in name:
        return _of_folder(_on_this_machine(name), name, store)
    try:
        found = resolve_run(name, store)
    except ComodoError as error:
        raise ValueError(str(error)) from None
    if name not in sweep_names(store):
        return _of_trials(found, [found.row], "", store)
    record, results = found.record, found.results
    left = sum(row.state in ("not begun", "half done") for row in results.rows)
    if left or read_status(name, store).state == "running":
        raise ValueError(
            f"sweep {name} is not finished ({left} trials are left), so its best configuration may "
            f"change; continue it: {record.command}, or name one of its trials, such as "
            f"{found.row.trial.key}"
        )
    return _of_trials(found, results.by_label[found.row.label], name, store)


def _of_trials(found: Selection, rows: "list[TrialRow]", sweep: str, store: Store) -> Source:
    """The students of one configuration, or one of them; `sweep`: its name, if that was named."""
    trial, record, chosen = found.row.trial, found.record, ""
    if sweep:
        metric = record.sweep.objective.metric
        title = f"sweep {sweep} ({found.results.title(found.row.label)}, the best by {metric})"
        chosen = _chosen(found.results, metric, trial.in_each_seed)
    else:
        title = f"trial {trial.key} ({found.row.label} {trial.repetition}, {record.sweep.name})"
    if (start := trial.config.student.start) is not None:
        title += f", itself from {start.title}"
    dataset = record.sweep.datasets[trial.config.dataset]
    trials = tuple(
        SourceTrial(t.key, t.seed, None if t.fold is None else t.fold.test)
        for t in (row.trial for row in rows)
    )
    known = {"trials": trials, "sweep": sweep, "chosen": chosen, "rate": dataset.imu_rate}
    folder = store.folder("trials", trial.key) / STUDENT
    return _described(folder, title, known | {"seconds": dataset.window_seconds})


def _chosen(results: "Results", metric: str, folds: int) -> str:
    """`Source.chosen` of a sweep's best configuration."""
    competing = [x for x in results.candidates if x in results.by_label]
    trained = sum(results.by_label[x][0].trial.config.method.name != "none" for x in competing)
    if trained == 1:
        return ""
    if Metric.parse(metric).split == "test":
        return f"was chosen out of {trained} configurations by test accuracy"
    if folds > 1:
        return f"was chosen out of {trained} configurations by val groups that other folds test"
    return ""


def _of_folder(folder: Path, name: str, store: Store) -> Source:
    """A folder that holds a student, or an export with one. It is a trial of this store if it says
    so and has the same weights."""
    absent = [file for file in (DESCRIPTION, WEIGHTS) if not (folder / file).exists()]
    if absent:
        fix = "name a folder that comodo export wrote, a sweep or a trial"
        raise ValueError(f"{folder} holds no saved student, it has no {absent[0]}; {fix}")
    content = str(fingerprint(folder / WEIGHTS, by_content=True)["content"])
    about: Any = find_json(folder / EXPORTED) or {}
    if (key := about.get("trial")) is not None:
        trained = TrainedRecord.find(fetched(store.folder("trials", key), TrainedRecord.FILE))
        if trained is not None and trained.weights == content:
            with suppress(ComodoError):  # its sweep is no longer in the store
                found = resolve_run(key, store)
                return _of_trials(found, [found.row], "", store)
    trained_on = about.get("student") or {}
    known = {"folder": str(folder), "content": content, "rate": trained_on.get("rate")}
    known["seconds"] = trained_on.get("seconds") or "whole"
    return _described(folder, f"folder {_shown(name)}", known)


def _described(folder: Path, title: str, known: dict[str, Any]) -> Source:
    """With what `student.json` says of the student in a folder."""
    path = fetched(folder, DESCRIPTION) / DESCRIPTION
    try:
        about = read_json(path)
        config = about["encoder_config"]
        flat = {k: v for part in config.values() if isinstance(part, dict) for k, v in part.items()}
        flat |= config
        args = {key: about[key] for key in ("name", "pooling", "channels")}
        code = {key: about[key] for key in ("file", "class", "code") if key in about}
        options = {key: flat[key] for key in OPTIONS if key in flat}
        keys = family_of(args["name"]).size if args["name"] in STUDENTS else None
        numbers = {key: n for key, n in flat.items() if type(n) in (int, float)}
        size = {k: numbers[k] for k in numbers if k in (numbers if keys is None else keys)}
        settings = StudentConfig.model_validate(
            {**args, **code, **options, "size": size}, context={"read_back": True}
        )
        units = tuple(about.get("units", G_AND_DEGREES))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} describes no student ({error!r}); train it again") from None
    left_out = {"source", "weights", "revision", "train_encoder"}
    student = settings.model_dump(mode="json", exclude=left_out)
    return Source(title, student, **known, units=units)


def _shown(name: str) -> str:
    """Without the path of a folder, which is private: titles are in reports and cards."""
    return Path(name).name if Path(name).is_absolute() else name


def _on_this_machine(model: str) -> Path:
    """The folder of a model on the hub that was downloaded; nothing is downloaded here."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        fix = f"download it once with `hf download {model}`; a path begins with ./ or /"
        raise ValueError(f"{model} is no model on the hub that this machine has; {fix}") from None
