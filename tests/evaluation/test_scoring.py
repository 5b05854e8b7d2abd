"""On which data set a trial is judged."""

from pathlib import Path

from comodo.config import read_sweep_file
from comodo.config.metric import accuracy
from comodo.evaluation.scoring import elsewhere, scored_metric, scored_on
from comodo.search.trial import Evaluation, Trial
from tests.config.test_load import sweep_file
from tests.helpers import trial_config

TARGETS = {"watch": "v", "phone": "u"}


def test_labels_of_another_data_set_judge_where_its_own_has_none(tmp_path: Path) -> None:
    datasets = {name: {"kind": "simulated"} for name in ("demo", "watch", "phone")}
    changes = {"datasets": datasets, "evaluate_on": ["watch", "phone"]}
    plain = read_sweep_file(sweep_file(tmp_path, **changes))
    objective = {"metric": "on/phone/val/acc1"}
    by_phone = read_sweep_file(sweep_file(tmp_path, **changes, objective=objective))

    def trial(*unlabelled: str) -> Trial:
        evaluation = Evaluation(targets=TARGETS, unlabelled=frozenset(unlabelled))
        return Trial(trial_config(), 3, "w", "f", evaluation)

    assert scored_on(trial(), by_phone) == "d"
    assert scored_on(trial("d"), by_phone) == "phone"
    assert scored_on(trial("d"), plain) == "watch"
    assert scored_on(trial("d", "watch"), plain) == "phone"
    assert scored_on(trial("d", *TARGETS), plain) == "d"
    assert elsewhere([trial("d")], by_phone) == "phone"
    assert elsewhere([trial("d"), trial()], by_phone) == ""
    assert scored_metric(accuracy("test"), trial("d"), plain) == "on/watch/test/acc1"
    assert scored_metric(accuracy("test"), trial(), plain) == "test/acc1"
