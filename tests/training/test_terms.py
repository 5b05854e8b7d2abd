"""Weighted sums of losses: what they compute, against plain formulations, and that they resume."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from comodo.core.labels import NO_LABEL
from comodo.core.store import Store
from comodo.data.arrays import FeatureArrays, WindowArrays
from comodo.losses.comodo import comodo_loss
from comodo.losses.infonce import InfonceLoss
from comodo.losses.l2 import l2_loss
from comodo.losses.loss import Step
from comodo.losses.relational import relational_angle_loss, relational_distance_loss
from comodo.losses.siglip import siglip_loss
from comodo.losses.supervised import SupervisedLoss
from comodo.losses.vicreg import vicreg_loss
from comodo.models.students import build_student
from comodo.training.distill import Distillation, distil
from comodo.training.epoch import TrainingError
from comodo.training.loader import Batch
from comodo.training.terms import LossModule
from tests.errors import raises
from tests.helpers import make_arrays, trial_config, weights_equal

HEAD = {"hidden_dim": 16, "output_dim": 8}
COMODO = {"queue_size": 10, "student_temperature": 0.2}
SUM: dict[str, Any] = {
    "terms": {
        "comodo": COMODO,
        "infonce": {"weight": 0.5, "learn_temperature": True},
        "l2": {"weight": 3.0},
        "supervised": {"weight": 0.1},
        "siglip": {"weight": 0.2},
        "rkd_distance": {"weight": 4.0},
        "rkd_angle": {"weight": 2.0},
    },
    "head": HEAD,
}
WEIGHTS = {
    "comodo": 1.0, "infonce": 0.5, "l2": 3.0, "supervised": 0.1, "siglip": 0.2,
    "rkd_distance": 4.0, "rkd_angle": 2.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    make_arrays(store)
    return store


def new_run(store: Store, method: Any, labelled: int | None = None, **changes: Any) -> Distillation:
    """Of the training windows the first `labelled` have a label; None: all."""
    windows = WindowArrays.load(store.folder("arrays", "w"))
    features = FeatureArrays.load(store.folder("arrays", "f"))
    if labelled is not None:
        windows.splits["train"].label_N[labelled:] = NO_LABEL
    config = trial_config(method=method, **{"epochs": 2, **changes})
    torch.manual_seed(0)
    return Distillation(config, 0, windows, features, build_student(config.student), "cpu")


def ignore(metrics: dict[str, Any]) -> None:
    """A report that nobody reads."""


def term_of(run: Distillation, name: str) -> Any:
    return run.terms[name]


def state_of(run: Distillation) -> dict[str, Tensor]:
    """All that is trained, and the queue."""
    queue = {} if run.queue is None else {"queue": run.queue.ordered()}
    return {**run.student.state_dict(), **run.terms.state_dict(), **queue}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


@pytest.mark.parametrize("name", ["comodo", "infonce", "l2", "supervised"])
def test_a_sum_of_one_term_is_the_method(root: Store, tmp_path: Path, name: str) -> None:
    settings = COMODO if name == "comodo" else {}
    head = {} if name == "supervised" else {"head": HEAD}
    method = new_run(root, {"name": name, **settings, **head})
    summed = new_run(root, {"terms": [{"name": name, **settings}], **head})
    histories = [distil(run, tmp_path / f"{i}", ignore) for i, run in enumerate((method, summed))]
    assert_same(state_of(method), state_of(summed))
    assert weights_equal(method.head, summed.head)
    losses = [[metrics["train/loss"] for metrics in history] for history in histories]
    assert losses[0] == losses[1]
    assert histories[0][0].keys() == histories[1][0].keys()


def step_of(run: Distillation) -> Step:
    """What the terms compare in a first step."""
    row_B = run.row_N[:7]
    imu_BCT, length_B = run.train.imu(row_B)
    assert run.loader._features is not None
    feature_BW = run.student(imu_BCT, length_B)
    teacher_BD = run._embeddings(run.loader._features.gather("train", row_B))
    none = feature_BW[:0]
    return Step(feature_BW, run.train.label_N[row_B], run.head(feature_BW), teacher_BD, none)


def test_the_sum_and_its_gradient_are_those_of_the_formulas(root: Store) -> None:
    run = new_run(root, SUM, labelled=5, learning_rate=1e-12, epochs=1)
    run.student.eval()  # no dropout
    step, queue = step_of(run), run.queue
    assert queue is not None
    student, teacher = functional.normalize(step.student_BD, dim=1), step.teacher_BD
    scale = term_of(run, "infonce").log_scale.exp()
    assert scale.item() == pytest.approx(1 / 0.07)
    logits = scale * student @ teacher.T
    scores = term_of(run, "supervised").classifier(step.feature_BW)
    pairs = term_of(run, "siglip")
    assert (pairs.log_scale.exp().item(), pairs.bias.item()) == (pytest.approx(10), -10)
    found = step.label_B >= 0  # rows 2 to 4
    assert found.tolist() == [True] * 3 + [False] * 4
    plain = {
        "comodo": comodo_loss(step.student_BD, teacher, queue.keys_QD, 0.1, 0.2),
        "infonce": -logits.log_softmax(dim=1).diagonal().mean(),
        "l2": l2_loss(step.student_BD, teacher),
        "supervised": -scores.log_softmax(dim=1)[found, step.label_B[found]].mean(),
        "siglip": siglip_loss(step.student_BD, teacher, pairs.log_scale.exp(), pairs.bias),
        "rkd_distance": relational_distance_loss(step.student_BD, teacher),
        "rkd_angle": relational_angle_loss(step.student_BD, teacher),
    }
    expected = sum(WEIGHTS[name] * loss for name, loss in plain.items())
    assert isinstance(expected, Tensor)
    learnt = list(run.terms.parameters())
    by_formula = torch.autograd.grad(expected, [*learnt, step.feature_BW], retain_graph=True)
    losses = {name: term(step) for name, term in run.terms.items()}
    total = sum(WEIGHTS[name] * loss for name, loss in losses.items())
    assert isinstance(total, Tensor)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, plain[name], msg=name)
    by_terms = torch.autograd.grad(total, [*learnt, step.feature_BW])
    torch.testing.assert_close(by_terms, by_formula, rtol=1e-4, atol=1e-6)
    assert all(float(gradient.abs().sum()) > 0 for gradient in by_terms)


def test_every_term_is_recorded_next_to_the_sum(root: Store, tmp_path: Path) -> None:
    (metrics,) = distil(new_run(root, SUM, epochs=1), tmp_path / "c.pt", ignore)
    found = {name: metrics[f"train/loss/{name}"] for name in WEIGHTS}
    total = sum(WEIGHTS[name] * value for name, value in found.items())
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)
    assert len(set(found.values())) == len(WEIGHTS)


def test_windows_without_a_label_distil_and_do_not_reach_the_classifier() -> None:
    torch.manual_seed(0)
    term: Any = LossModule(SupervisedLoss(), 4, 3).double()
    feature_BW = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    label_B = torch.tensor([0, NO_LABEL, 2, NO_LABEL, 1, NO_LABEL])
    none = feature_BW.new_empty(6, 0)
    loss = term(Step(feature_BW, label_B, none, none, none))
    expected = functional.cross_entropy(term.classifier(feature_BW[::2]), label_B[::2])
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, feature_BW)
    assert gradient[::2].abs().sum() > 0
    assert not gradient[1::2].any()
    empty = term(Step(feature_BW, torch.full((6,), NO_LABEL), none, none, none))
    empty.backward()
    assert empty.item() == 0
    assert feature_BW.grad is not None and not feature_BW.grad.any()
    assert not any(p.grad is not None and p.grad.any() for p in term.parameters())


def test_labels_of_windows_decide_the_classifier_only_where_there_are_some(root: Store) -> None:
    """A label more changes the student; without the term it changes nothing."""
    both = {"terms": [{"name": "l2"}, {"name": "supervised"}], "head": HEAD}
    alone = {"terms": [{"name": "l2"}], "head": HEAD}
    trained = []
    for method in (both, alone):
        for labelled in (9, 12):
            run = new_run(root, method, labelled=labelled, epochs=1)
            assert len(run.row_N) == 40
            run.train_epoch()
            trained.append(torch.cat([p.detach().flatten() for p in run.student.parameters()]))
    assert not torch.equal(trained[0], trained[1])
    assert torch.equal(trained[2], trained[3])


def test_the_learnt_temperature_stays_at_a_hundredth(root: Store) -> None:
    term: Any = LossModule(InfonceLoss(learn_temperature=True, temperature=0.001), 4, 3)
    student, teacher = torch.randn(2, 5, 4).unbind()
    teacher = functional.normalize(teacher)
    step = Step(student, torch.zeros(5, dtype=torch.long), student, teacher, student[:0])
    loss = term(step)
    assert term.log_scale.item() == pytest.approx(math.log(100))
    logits = 100 * functional.normalize(student) @ step.teacher_BD.T
    torch.testing.assert_close(loss, functional.cross_entropy(logits, torch.arange(5)))
    loss.backward()
    assert term.log_scale.grad is not None and term.log_scale.grad.abs() > 0  # it can come back
    run = new_run(root, SUM)
    before = term_of(run, "infonce").log_scale.item()
    apart = [group for group in run.optimizer.param_groups if not group["weight_decay"]]
    scalars = [term_of(run, "infonce").log_scale, *term_of(run, "siglip").parameters()]
    assert {id(p) for group in apart for p in group["params"]} == {id(p) for p in scalars}
    run.train_epoch()
    assert term_of(run, "infonce").log_scale.item() != before


def test_a_term_with_weight_0_is_not_computed(root: Store, tmp_path: Path) -> None:
    without = {"terms": {"l2": {}}, "head": HEAD}
    off = {"terms": {"l2": {}, "supervised": {"weight": 0}}, "head": HEAD}
    runs = [new_run(root, method) for method in (without, off)]
    histories = [distil(run, tmp_path / f"{i}", ignore) for i, run in enumerate(runs)]
    assert_same(*map(state_of, runs))
    assert histories[0][-1]["train/loss"] == histories[1][-1]["train/loss"]
    assert not runs[1].method.needs_labels


def stopped_in_the_second_epoch(run: Distillation, path: Path) -> None:
    class Stop(Exception):
        pass

    steps = 0

    def after_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            run.save(path)
            raise Stop

    run.train_epoch()
    with pytest.raises(Stop):
        run.train_epoch(after_step)


def test_a_sum_goes_on_bit_for_bit(root: Store, tmp_path: Path) -> None:
    whole, first, again = (new_run(root, SUM, labelled=20, epochs=3) for _ in range(3))
    history = distil(whole, tmp_path / "whole.pt", ignore)
    stopped_in_the_second_epoch(first, tmp_path / "part.pt")
    torch.manual_seed(12345)  # the second process starts anywhere
    resumed = distil(again, tmp_path / "part.pt", ignore)
    assert_same(state_of(whole), state_of(again))
    assert weights_equal(whole.head, again.head)
    names = [name for name in history[0] if name.startswith("train/loss")]
    assert len(names) == 1 + len(WEIGHTS)
    for name in names:
        assert [m[name] for m in history[1:]] == [m[name] for m in resumed]


@pytest.mark.parametrize("name", ["comodo", "supervised"])
def test_a_checkpoint_of_before_there_were_terms_goes_on(
    root: Store, tmp_path: Path, name: str
) -> None:
    settings = {**COMODO, "head": HEAD} if name == "comodo" else {}
    whole, first, again = (new_run(root, {"name": name, **settings}, epochs=3) for _ in range(3))
    distil(whole, tmp_path / "whole.pt", ignore)
    stopped_in_the_second_epoch(first, tmp_path / "part.pt")
    state = torch.load(tmp_path / "part.pt", weights_only=True)
    del state["terms"], state["running"]["terms"]
    torch.save(state, tmp_path / "part.pt")
    distil(again, tmp_path / "part.pt", ignore)
    assert_same(state_of(whole), state_of(again))
    assert weights_equal(whole.head, again.head)


def test_a_term_that_never_sees_a_label_is_refused(root: Store) -> None:
    with raises(TrainingError, "training.no-labels", "40 training windows with video"):
        new_run(root, SUM, labelled=2)  # the two without a feature


VIEWS: dict[str, Any] = {"vicreg": {"width": 8, "weight": 0.1}}
CHANGES = {"noise": 0.3, "scale": 0.2}


def test_the_two_views_of_a_batch_are_changed_apart_and_compared(
    root: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"terms": {"l2": {}, **VIEWS}, "head": HEAD}
    run = new_run(root, method, augment=CHANGES)
    alone = new_run(root, {"terms": {"l2": {}}, "head": HEAD}, augment=CHANGES)
    seen: list[Batch] = []
    loss = Distillation.loss

    def noting(self: Distillation, batch: Batch) -> Tensor:
        seen.append(batch)
        return loss(self, batch)

    monkeypatch.setattr(Distillation, "loss", noting)
    run.train_epoch()
    with_views = seen[:]
    seen.clear()
    alone.train_epoch()
    for batch, plain in zip(with_views, seen, strict=True):
        assert plain.view_bCT is None
        assert batch.view_bCT is not None
        assert torch.equal(batch.imu_bCT, plain.imu_bCT)  # the first view is the usual one
        assert not torch.equal(batch.view_bCT, batch.imu_bCT)
    run.student.eval()
    batch = with_views[0]
    value = run.loss(batch)
    term = term_of(run, "vicreg").train()
    assert batch.view_bCT is not None
    views = [term.expander(run.student(x, batch.length_b)) for x in (batch.imu_bCT, batch.view_bCT)]
    expected = run.term_losses["l2"] + 0.1 * vicreg_loss(*views)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_a_student_learns_from_views_alone_and_goes_on_bit_for_bit(
    root: Store, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"teacher": None, "augment": CHANGES, "epochs": 3}
    method = {"terms": {**VIEWS, "supervised": {"weight": 0.1}}}
    whole, first, again = (new_run(root, method, labelled=9, **settings) for _ in range(3))
    assert len(whole.row_N) == 42  # also those without a feature or a label
    distil(whole, tmp_path / "whole.pt", ignore)
    stopped_in_the_second_epoch(first, tmp_path / "part.pt")
    torch.manual_seed(12345)
    distil(again, tmp_path / "part.pt", ignore)
    assert_same(state_of(whole), state_of(again))
    unlabelled = new_run(root, {"terms": VIEWS}, labelled=0, **settings)
    history = distil(unlabelled, tmp_path / "alone.pt", ignore)
    assert history[-1]["train/loss"] < history[0]["train/loss"]
    unlabelled.save_heads(tmp_path / "heads.pt")
