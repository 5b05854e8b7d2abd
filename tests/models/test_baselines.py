"""The supervised baselines: what defines each, as students, and their way through a trial."""

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from comodo.config import ConfigError, StudentConfig, read_sweep_file
from comodo.config.measures import DECLARED
from comodo.config.metric import OWN_METRICS
from comodo.config.student import STUDENTS, families_with
from comodo.core.store import Store
from comodo.data.arrays import WindowArrays
from comodo.evaluation.results import Results, TrialRow
from comodo.models.baselines import (
    DLinear,
    Inception,
    decompose,
    fold_by_period,
    probsparse_attention,
    strongest_periods,
    unfold_period,
)
from comodo.models.students import (
    Student,
    build_student,
    extract_features,
    load_student,
    save_student,
)
from comodo.report.tables import STAR
from comodo.search.labels import Labels
from comodo.search.ledger import Ledger
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import make_arrays, run_whole, trial_config, write_report
from tests.tiny_students import left_padded, windows

SIZES: dict[str, dict[str, int | float]] = {
    "dlinear": {"seq_len": 64},
    "informer": {"seq_len": 64, "d_model": 16, "heads": 2, "layers": 2, "d_ff": 32, "factor": 2},
    "timesnet": {
        "seq_len": 64, "d_model": 8, "d_ff": 8, "periods": 2, "kernels": 3, "layers": 1,
    },
}  # fmt: skip
NAMES = sorted(SIZES)


def make(name: str, **changes: Any) -> Student:
    torch.manual_seed(0)
    return build_student(StudentConfig(name=name, **{"size": SIZES[name], **changes}))


def test_sizes_of_the_sweep_file_are_those_of_the_networks() -> None:
    assert families_with("only_labels") == NAMES
    for name in NAMES:
        encoder = STUDENTS.get(name)
        assert set(encoder.SIZE) == inspect.signature(encoder.library).parameters.keys() - {
            "channels"
        }


def test_published_sizes_are_the_defaults() -> None:
    widths = {"dlinear": 6 * 1000, "informer": 250 * 128, "timesnet": 1000 * 32}
    for name, width in widths.items():
        assert build_student(StudentConfig(name=name)).dim == width
    undistilled = StudentConfig(name="informer", size={"distil": 0, "layers": 1})
    assert build_student(undistilled).dim == 1000 * 128


def test_dlinear_takes_the_moving_average_off_and_adds_all_up() -> None:
    x_BCT = windows(2, 3, 50)
    trend_BCT, rest_BCT = decompose(x_BCT, 25)
    torch.testing.assert_close(trend_BCT + rest_BCT, x_BCT)
    torch.testing.assert_close(trend_BCT[..., 20], x_BCT[..., 8:33].mean(dim=2))
    first = torch.cat([x_BCT[..., :1].expand(-1, -1, 12), x_BCT[..., :13]], dim=2)
    torch.testing.assert_close(trend_BCT[..., 0], first.mean(dim=2))
    network = DLinear(3, seq_len=50)
    for layer in (network.trend, network.rest):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    torch.testing.assert_close(network(x_BCT), x_BCT)
    with pytest.raises(ValueError, match="moving_average 4: must be odd"):
        make("dlinear", size={"moving_average": 4})


def test_timesnet_finds_planted_periods_of_each_window() -> None:
    time_T = torch.arange(60) / 60
    planted = [(12, 4), (5, 20), (30, 3)]  # the stronger first
    x_BTD = torch.stack(
        [
            3 * torch.sin(2 * math.pi * 60 / strong * time_T)
            + torch.cos(2 * math.pi * 60 / weak * time_T)
            for strong, weak in planted
        ]
    ).unsqueeze(2)
    period_BK, strength_BK = strongest_periods(x_BTD.expand(-1, -1, 4) + 10, 2)
    assert period_BK.tolist() == [list(pair) for pair in planted]
    torch.testing.assert_close(strength_BK, torch.tensor([[90.0, 30.0]]).expand(3, -1))


@pytest.mark.parametrize("period", [1, 7, 20, 33, 60])
def test_folding_and_back_changes_no_sample(period: int) -> None:
    x_BTD = windows(2, 60, 3)
    folded_BDRP = fold_by_period(x_BTD, period)
    assert folded_BDRP.shape == (2, 3, math.ceil(60 / period), period)
    assert torch.equal(unfold_period(folded_BDRP, 60), x_BTD)
    row, place = divmod(59, period)
    assert torch.equal(folded_BDRP[:, :, row, place], x_BTD[:, 59])


def test_inception_is_the_mean_of_its_convolutions() -> None:
    inception, x = Inception(3, 4, 3), windows(2, 3, 9, 7)
    nn.init.normal_(inception.biases)
    outputs = [
        functional.conv2d(x, weight, bias, padding=i)
        for i, (weight, bias) in enumerate(
            zip(inception.weights, inception.biases.unbind(), strict=True)
        )
    ]
    merged = functional.conv2d(x, *inception.single_convolution(), padding="same")
    torch.testing.assert_close(merged, torch.stack(outputs).mean(dim=0), rtol=0, atol=1e-4)


def test_sparse_attention_with_every_query_is_full_attention() -> None:
    query, key, value = windows(3, 2, 4, 30, 8).unbind()
    full = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(probsparse_attention(query, key, value, factor=30), full)


def test_sparse_attention_keeps_the_queries_that_stand_out() -> None:
    query, key, value = windows(3, 2, 4, 60, 8).unbind()
    query = 0.01 * query
    query[:, :, [7, 31]] *= 1000
    full = functional.scaled_dot_product_attention(query, key, value)
    sparse = probsparse_attention(query, key, value, factor=2)  # 2 * ceil(ln 60) = 10 of 60
    torch.testing.assert_close(sparse[:, :, [7, 31]], full[:, :, [7, 31]])
    mean = value.mean(dim=2, keepdim=True)
    assert ((sparse - mean).abs().amax(dim=3) < 1e-6).sum(dim=2).eq(50).all()


def test_informer_draws_by_the_seed_in_training_and_always_alike_afterwards() -> None:
    student, imu = make("informer", size={**SIZES["informer"], "dropout": 0.0}), windows(4, 6, 64)

    def at(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return student(imu)

    assert torch.equal(at(0), at(0))
    assert not torch.allclose(at(0), at(1))
    student.eval()
    assert torch.equal(at(0), at(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_window_does_not_depend_on_its_batch(name: str) -> None:
    student = make(name)
    student(10 * windows(8, 6, 64) + 3)  # so that standardising has something to do
    student.eval()
    lengths = [70, 40, 64, 12]
    imu = left_padded(lengths)
    together = student(imu, torch.tensor(lengths))
    assert together.shape == (4, student.dim)
    for row, length in enumerate(lengths):
        alone = student(imu[[row], :, -length:])
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_reach_every_parameter(name: str, precision: torch.dtype) -> None:
    student = make(name).train()
    weight = windows(student.dim)
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        feature_BD = student(windows(5, 6, 40))
    (feature_BD.float() * weight).sum().backward()
    for key, parameter in student.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", NAMES)
def test_saved_students_load_bit_for_bit(name: str, tmp_path: Path) -> None:
    student, imu = make(name, channels=("acc_y", "gyro_x")), windows(3, 2, 64)
    student(5 * imu + 1)
    save_student(student, tmp_path)
    loaded = load_student(tmp_path).eval()
    assert torch.equal(loaded(imu), student.eval()(imu))


def sinusoids(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Windows of three frequencies with a little of a phase and noise, on very unlike scales."""
    draw = torch.Generator().manual_seed(seed)
    label_B = torch.arange(count) % 3
    frequency_B11 = torch.tensor([2.0, 5.0, 9.0])[label_B][:, None, None]
    phase_BC1 = 0.5 * torch.randn(count, 6, 1, generator=draw)
    wave = torch.sin(2 * math.pi * frequency_B11 * torch.arange(64) / 64 + phase_BC1)
    noisy = wave + 0.5 * torch.randn(wave.shape, generator=draw)
    return noisy * torch.tensor([1, 1, 1, 200, 200, 200])[:, None] + 1, label_B


@pytest.mark.parametrize(
    ("name", "spoilt"), [*((name, False) for name in NAMES), ("dlinear", True)]
)
def test_learns_to_tell_sinusoids_apart(name: str, spoilt: bool) -> None:
    """Also with a sample that no sensor measures, next to which all others would be equal."""
    student = make(name)
    head = nn.Linear(student.dim, 3)
    optimizer = torch.optim.AdamW([*student.parameters(), *head.parameters()], lr=3e-3)
    imu, label_B = sinusoids(48, seed=0)
    if spoilt:
        imu[5, :, 20] = 1e9
    for _ in range(25):
        optimizer.zero_grad()
        functional.cross_entropy(head(student(imu)), label_B).backward()
        optimizer.step()
    imu, label_B = sinusoids(150, seed=1)
    right = head(student.eval()(imu)).argmax(dim=1) == label_B
    assert right.float().mean() > 0.9


@pytest.mark.parametrize(
    ("trial", "code", "name"),
    [
        ({"student": "dlinear"}, "trial", "'comodo'"),
        ({"student": "timesnet", "method": "none"}, "trial", "'none'"),
        ({"student": {"name": "informer", "weights": "a/b"}}, "trial.student", "weights"),
        ({"student": {"name": "dlinear", "pooling": "mean"}}, "trial.student", "pooling"),
        ({"student": {"name": "timesnet", "size": {"top_k": 3}}}, "trial.student", "size.top_k"),
    ],
)
def test_what_a_baseline_cannot_be_is_refused(
    tmp_path: Path, trial: dict[str, Any], code: str, name: str
) -> None:
    changes = {f"trial__{key}": value for key, value in trial.items()}
    with raises(ConfigError, code, "sweep.yaml", name):
        read_sweep_file(sweep_file(tmp_path, **changes))


def test_a_classifier_nobody_trains_cannot_be_measured(tmp_path: Path) -> None:
    with raises(ConfigError, "measures", "classifier"):
        read_sweep_file(sweep_file(tmp_path, measures=["probe", "classifier"]))
    read_sweep_file(
        sweep_file(tmp_path, measures=["probe", "classifier"], references=["supervised"])
    )


SPACE: dict[str, Any] = {
    "student": ["mantis-8m", "dlinear", "informer"],
    "method": {"values": ["comodo", "supervised"], "when": {"student.name": ["mantis"]}},
}


def test_students_and_baselines_are_swept_together(tmp_path: Path) -> None:
    crossed = {**SPACE, "method": ["comodo", "supervised"]}
    with raises(ConfigError, "search.space.student", "student=dlinear", "method=comodo", "when"):
        read_sweep_file(sweep_file(tmp_path, search__space=crossed, trial__method="supervised"))
    sweep = read_sweep_file(sweep_file(tmp_path, search__space=SPACE, trial__method="supervised"))
    arrays = {pair: ("w", "f") for pair in sweep.trained_on()}
    ledger = Ledger(sweep, Store(tmp_path / "store"), arrays, Evaluation())
    names = Labels(sweep)
    assert [names.configuration(trial) for trial in ledger.planned()] == [
        "as pretrained mantis",  # and no baseline that nothing has trained
        "comodo mantis",
        "supervised mantis",
        "supervised dlinear",
        "supervised informer",
    ]


def test_another_name_leaves_out_what_baselines_do_not_have(tmp_path: Path) -> None:
    student = {"name": "mantis", "weights": "a/b", "revision": "c", "pooling": "mean"}
    changes = {"trial__student": student, "trial__method": "supervised"}
    sweep = read_sweep_file(sweep_file(tmp_path, **changes))
    student = sweep.with_values({"student.name": "timesnet"}).student.model_dump()
    assert student == StudentConfig(name="timesnet").model_dump()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def supervised(store: Store, student: Any, evaluation: Evaluation | None = None) -> Trial:
    config = trial_config(student=student, method="supervised", epochs=8)
    return Trial(config, 0, *make_arrays(store), evaluation or Evaluation())


MEASURED = {k: m for k, m in OWN_METRICS.items() if not k.endswith(("acc3", "acc5"))}
"""Of three classes."""


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_measures_a_baseline_as_the_classifier_that_it_is(store: Store, name: str) -> None:
    other, _ = make_arrays(store, name="v")
    evaluation = Evaluation(tuple(DECLARED), {"other": other})
    trial = supervised(store, {"name": name, "size": SIZES[name]}, evaluation)
    reported: list[dict[str, Any]] = []
    metrics = run_whole(trial, store, reported.append).metrics
    assert reported[-1]["train/loss"] < reported[0]["train/loss"]
    own = {key for key, measure in MEASURED.items() if measure in ("classifier", "probe")}
    own |= {
        f"{s}/calibration/classifier_{key}" for s in ("val", "test") for key in ("ece", "brier")
    }
    assert metrics.keys() == own
    assert all(metrics[f"classifier/{s}/acc1"] == metrics[f"{s}/acc1"] for s in ("val", "test"))
    table = trial.predictions(store, "d", "classifier")
    assert table is not None and table == trial.predictions(store, "d")
    test = table.to_pandas().query("split == 'test'")
    assert test.columns.tolist() == ["split", "group", "label", "predicted", "rank"]
    assert (test.label == test.predicted).mean() == metrics["test/acc1"]
    assert sorted(test.group.unique()) == ["g0", "g1", "g2", "g3"]
    assert trial.predictions(store, "other") is None


def test_other_students_are_measured_as_classifiers_when_asked(store: Store) -> None:
    plain = supervised(store, trial_config().student)
    before = run_whole(plain, store, lambda metrics: None).metrics
    assert not any(key.startswith("classifier/") for key in before)
    trial = supervised(store, plain.config.student, Evaluation(("probe", "classifier")))
    metrics = run_whole(trial, store, lambda _: pytest.fail("was trained again")).metrics
    assert {key: metrics[key] for key in before} == before
    added = {key for key, measure in MEASURED.items() if measure == "classifier"}
    assert metrics.keys() - before.keys() == added
    student = load_student(store.folder("trials", trial.key) / "student")
    state, _ = torch.load(store.folder("trials", trial.key) / "heads.pt")
    assert state["weight"].shape == (3, student.dim)
    untrained = Trial(trial.untrained.config, 0, trial.windows, trial.features, trial.evaluation)
    assert not any("classifier" in key for key in run_whole(untrained, store, print).metrics)


def test_the_calibration_of_a_student_s_own_classifier(store: Store) -> None:
    measures = ("classifier", "calibration")
    other, _ = make_arrays(store, name="v")
    evaluation = Evaluation(measures, {"other": other})
    trial = supervised(store, trial_config().student, evaluation)
    metrics = run_whole(trial, store).metrics
    names = {f"test/calibration/{key}" for key in ("ece", "brier")}
    names |= {f"test/calibration/classifier_{key}" for key in ("ece", "brier")}
    assert names <= metrics.keys()
    assert {name for name in metrics if name.startswith("on/other/test/")} == {
        "on/other/test/calibration/ece",
        "on/other/test/calibration/brier",
    }
    student = load_student(store.folder("trials", trial.key) / "student")
    state, _ = torch.load(store.folder("trials", trial.key) / "heads.pt")
    part = WindowArrays.load(store.folder("arrays", "w"), 32).splits["test"]
    features = extract_features(student, part, part.labelled_N)
    probability_NK = (features @ state["weight"].T + state["bias"]).softmax(1).double()
    squares_NK = (probability_NK - torch.eye(3)[part.label_N]) ** 2
    expected = pytest.approx(float(squares_NK.sum(1).mean() / 2), abs=1e-6)
    assert metrics["test/calibration/classifier_brier"] == expected
    hit_N = probability_NK.argmax(1) == part.label_N
    table = trial.predictions(store, "d", "calibration")
    assert table is not None
    test = table.to_pandas().query("split == 'test'")
    assert test["classifier_correct"].tolist() == hit_N.double().tolist()
    assert test["confidence"].tolist() != test["classifier_confidence"].tolist()


@pytest.mark.slow
def test_the_report_tells_classifiers_from_probes(tmp_path: Path, store: Store) -> None:
    space = {"student": [trial_config().student.model_dump(mode="json"), "dlinear"]}
    changes: dict[str, Any] = {"datasets": {"d": {"kind": "simulated"}}, "trial__dataset": "d"}
    file = sweep_file(tmp_path, search__space=space, trial__method="supervised", **changes)
    sweep = read_sweep_file(file)
    names, rows = Labels(sweep), []
    for student in (trial_config().student, {"name": "dlinear", "size": SIZES["dlinear"]}):
        for seed in (0, 1):
            trial = Trial(supervised(store, student).config, seed, *make_arrays(store))
            metrics = run_whole(trial, store, lambda metrics: None).metrics
            rows.append(TrialRow(trial, names.configuration(trial), "finished", metrics))
    results = Results(sweep, rows, store)
    found = results.accuracy("supervised dlinear", "test")
    assert found is not None and found.low < found.mean < found.high
    assert found.mean == pytest.approx(sum(row.metrics["test/acc1"] for row in rows[2:]) / 2)
    page = (write_report(results, store) / "report.md").read_text()
    assert "| supervised dlinear* | 2 |" in page and "| supervised mantis | 2 |" in page
    assert f"\\{STAR}." in page
    without = Results(sweep, rows[:2], store)
    assert STAR not in (write_report(without, store) / "report.md").read_text()
