"""Frames of a sweep, and the tour of them in docs/python.md."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

import comodo
from comodo.config import read_sweep_file
from comodo.core.store import Store
from comodo.data.arrays import WindowArrays
from comodo.evaluation.results import TrialRow
from comodo.models.students import StudentError
from comodo.runtime.worker import run_trial
from comodo.search.status import StatusError
from comodo.search.trial import Evaluation
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.evaluation.test_sweep_record import saved_of
from tests.helpers import TINY_MANTIS, answer, make_arrays
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text()
(DOCUMENT,) = re.findall(r"^## Read a sweep\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
SHARES = {"untrained": 0.4, "256": 0.5, "512": 0.55, "1024": 0.7, "2048": 0.6}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("COMODO_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture
def queues(tmp_path: Path, store: Store) -> Store:
    """The README's sweep of queue sizes, finished."""
    space = {"method.queue_size": [256, 512, 1024, 2048]}
    file = sweep_file(tmp_path, name="queue-size", search__space=space, seeds=[0, 1, 2])
    saved = saved_of(read_sweep_file(file), Evaluation())
    saved.write(store)
    for row in saved.results(store).rows:
        answer(store, row.trial, SHARES[row.label.split("=")[-1]])
    return store


def test_the_tour_runs(queues: Store) -> None:
    """Its blocks in their order, unchanged."""
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL):
        exec(block, found)
    assert found["by_queue"].shape == (4, 3)
    assert found["label"] == "comodo queue_size=1024"
    accuracy = found["accuracy"]
    assert accuracy.low < 0.7 < accuracy.high
    assert found["by_queue"].loc[1024].mean() == pytest.approx(accuracy.mean)
    assert np.allclose(found["confusion"].sum(axis=1), 1)
    assert found["confusion"].shape == (3, 3)
    assert len(found["axes"].lines) == 4
    pyplot.close(found["axes"].figure)
    clear = found["differences"].set_index(["first", "second"])
    gain = clear.loc["comodo queue_size=1024", "untrained"]
    assert gain["difference"] == pytest.approx(found["gain"].mean())
    assert gain["distinguishable"]
    assert len(found["gain"]) == 3 * 8 * 40


def test_the_summary_has_the_reports_numbers(queues: Store) -> None:
    """The best first, with intervals; and how a notebook shows it."""
    sweep = comodo.load_sweep("queue-size", queues.root)
    frame = sweep.summary.set_index("configuration")
    assert list(frame.index)[:2] == ["comodo queue_size=1024", "comodo queue_size=2048"]
    assert list(frame["selected"]) == [True, False, False, False, False]
    assert frame.loc["untrained", "finished"] == 3
    assert frame.loc["comodo queue_size=256", "method.queue_size"] == 256
    for label, row in frame.iterrows():
        found = sweep.results.accuracy(str(label), "test")
        assert found is not None
        expected = found.mean, found.low, found.high
        assert tuple(row[["test/acc1", "test/acc1 low", "test/acc1 high"]]) == expected
    best = sweep.results.accuracy("comodo queue_size=1024", "test")
    assert best is not None
    assert repr(sweep).splitlines()[:2] == [
        "sweep 'queue-size': 15 trials (15 finished) of 5 configurations",
        f"selected by val/acc1: comodo queue_size=1024, test Acc@1 {best.mean:.3f} "
        f"({best.low:.3f} to {best.high:.3f})",
    ]
    assert "<td>comodo queue_size=2048</td>" in sweep._repr_html_()


def test_differences_are_those_of_the_report(queues: Store) -> None:
    sweep = comodo.load_sweep("queue-size", queues.root)
    assert len(sweep.differences) == len(sweep.results.differences) == 7
    row, of_report = sweep.differences.iloc[0], sweep.results.differences[0]
    assert (row["first"], row["second"]) == (of_report.first, of_report.second)
    assert row["difference"] == of_report.comparison.difference
    assert (row["p"], row["seeds"], row["groups"]) == (of_report.p, 3, 8)


def test_trials_are_those_of_the_report(queues: Store) -> None:
    sweep = comodo.load_sweep("queue-size", queues.root)
    assert sweep.swept == ["method.name", "method.queue_size"]
    assert len(sweep.trials) == 5 * 3
    assert sweep.trials["trial"].is_unique
    assert set(sweep.trials["method.queue_size"].dropna()) == {256, 512, 1024, 2048}
    means = sweep.trials.groupby("configuration")["test/acc1"].mean()
    assert means["comodo queue_size=256"] == pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Really trained: one trial finished with all kinds of answers, one stopped after an epoch, one
    that lacks its measures, one not begun."""
    tmp_path = tmp_path_factory.mktemp("mixed")
    store = Store(tmp_path / "store")
    arrays = make_arrays(store)
    file = sweep_file(
        tmp_path,
        trial__student=TINY_MANTIS,
        trial__method={"name": "comodo", "head": {"hidden_dim": 16, "output_dim": 8}},
        trial__batch_size=16,
        trial__epochs=3,
        search__space={"method.queue_size": [8, 12]},
        seeds=[0, 1],
        references=[],
    )
    measures = ("probe", "knn", "few-shot", "alignment", "calibration")
    saved = saved_of(read_sweep_file(file), Evaluation(measures))
    saved.arrays.update(dict.fromkeys(saved.arrays, arrays))
    saved.write(store)
    finished, stopped, unmeasured, _ = saved.results(store).rows
    run_trial(finished.trial, store, lambda metrics: None)
    with pytest.raises(_Stopped):
        run_trial(stopped.trial, store, stop)
    run_trial(unmeasured.trial, store, lambda metrics: None)
    for path in store.folder("trials", unmeasured.trial.key).glob("measures/**/*.*"):
        path.unlink()
    return store


class _Stopped(Exception):
    pass


def stop(metrics: dict[str, Any]) -> None:
    raise _Stopped


def rows_of(frame: pd.DataFrame, row: TrialRow) -> pd.DataFrame:
    return frame[frame["trial"] == row.trial.key]


def test_trials_that_have_not_finished(mixed: Store) -> None:
    sweep = comodo.load_sweep("small", mixed.root)
    finished, stopped, *_ = sweep.results.rows
    assert list(sweep.trials["state"]) == ["finished", "half done", "half done", "not begun"]
    epochs = [len(rows_of(sweep.curves, row)) for row in sweep.results.rows]
    assert epochs == [3, 1, 3, 0]
    checkpoint = mixed.folder("trials", stopped.trial.key) / "checkpoint.pt"
    (kept,) = torch.load(checkpoint, weights_only=True)["history"]
    (shown,) = rows_of(sweep.curves, stopped).to_dict("records")
    assert {key: shown[key] for key in kept} == kept
    assert (shown["configuration"], shown["seed"]) == ("comodo queue_size=8", 1)
    assert set(sweep.predictions["trial"]) == {finished.trial.key}


def test_predictions_are_what_the_metrics_were_made_of(mixed: Store) -> None:
    sweep = comodo.load_sweep("small", mixed.root)
    (metrics,) = sweep.trials[sweep.trials["state"] == "finished"].to_dict("records")
    means = sweep.predictions.groupby(["measure", "split", "metric"])["correct"].mean()
    for measure, split, metric, name in (
        ("probe", "val", "acc1", "val/acc1"),
        ("probe", "test", "acc1", "test/acc1"),
        ("knn", "test", "knn/acc1", "test/knn/acc1"),
        ("few-shot", "test", "few_shot/5", "test/few_shot/5"),
    ):
        assert means[measure, split, metric] == pytest.approx(metrics[name])
    assert 0 <= metrics["test/calibration/ece"] <= 1  # which has no predictions of its own
    assert not set(means.index.get_level_values("measure")) - {"probe", "knn", "few-shot"}
    probed = sweep.predictions[sweep.predictions["measure"] == "probe"]
    assert ((probed["label"] == probed["predicted"]) == (probed["correct"] == 1)).all()
    assert probed.groupby("split")["window"].apply(list).to_dict() == {
        "test": [*range(20)], "val": [*range(20)]
    }  # fmt: skip
    per_metric = sweep.predictions.groupby(["measure", "split", "metric"])["window"]
    assert set(per_metric.nunique()) == {20}
    assert (per_metric.count() == 20).all()


def test_a_trials_student(mixed: Store) -> None:
    """Has the features that its trial was measured by."""
    sweep = comodo.load_sweep("small", mixed.root)
    finished, _, _, not_begun = sweep.results.rows
    student = sweep.student(finished.trial.key[:8])
    assert student.rate == 50 and student.seconds == 5
    arrays = WindowArrays.load(mixed.folder("arrays", "w")).splits["test"]
    imu_NCT = arrays.imu(torch.arange(20))[0]
    with torch.inference_mode():
        wanted = student.network(imu_NCT, mask=finished.trial.config.probe_mask).numpy()
    assert np.array_equal(student(imu_NCT).numpy(), wanted)
    with raises(StudentError, "student.not-trained", not_begun.trial.key):
        sweep.student(not_begun.trial.key)
    for unknown in ("", "feed"):
        with raises(StudentError, "student.no-trial", "small"):
            sweep.student(unknown)


def test_nothing_begun(tmp_path: Path, store: Store) -> None:
    saved_of(read_sweep_file(sweep_file(tmp_path)), Evaluation()).write(store)
    sweep = comodo.load_sweep("small")
    assert sweep.curves.empty
    assert sweep.differences.empty
    assert list(sweep.summary["finished"]) == [0, 0]
    assert repr(sweep).startswith("sweep 'small': 2 trials (2 not begun) of 2 configurations\n.")
    assert sweep.predictions.empty
    assert {"trial", "epoch"} <= set(sweep.curves)
    assert {"trial", "label", "correct"} <= set(sweep.predictions)
    with raises(StatusError, "sweep.unknown", "'other'"):
        comodo.load_sweep("other")
