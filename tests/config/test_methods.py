"""A weighted sum of losses in the sweep file: its forms, its keys and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from comodo.config import ConfigError, Sweep, TermsMethod, read_sweep_file
from comodo.config.methods import METHODS
from comodo.config.terms import Terms
from comodo.losses.infonce import InfonceLoss
from comodo.search.labels import Labels
from comodo.search.trial import Trial
from tests.config.test_load import sweep_file
from tests.errors import raises
from tests.helpers import trial_config

LISTED = {"terms": ["comodo", {"name": "infonce", "weight": 0.5, "learn_temperature": True}]}


def read(tmp_path: Path, method: Any, **changes: Any) -> Sweep:
    return read_sweep_file(sweep_file(tmp_path, trial__method=method, **changes))


def test_a_list_and_a_mapping_by_name_are_the_same(tmp_path: Path) -> None:
    found = read(tmp_path, LISTED).trial.method
    by_name = {"infonce": {"weight": 0.5, "learn_temperature": True}, "comodo": {}}
    assert found == read(tmp_path, {"name": "terms", "terms": by_name}).trial.method
    assert isinstance(found, TermsMethod)
    assert found.weights == {"comodo": 1.0, "infonce": 0.5}
    assert isinstance(found.terms.infonce, InfonceLoss)
    assert found.terms.infonce.temperature == 0.07
    assert found.title == "comodo+infonce"
    assert found.queue is not None and found.queue.queue_size == 1024
    assert list(found.model_dump()["terms"]) == ["comodo", "infonce"]


def test_what_a_sum_needs_follows_from_its_terms(tmp_path: Path) -> None:
    def needs(*terms: Any) -> tuple[bool, bool]:
        method = trial_config(method={"terms": list(terms)}).method
        return method.needs_teacher, method.needs_labels

    assert needs("l2") == (True, False)
    assert needs("supervised") == (False, True)
    assert needs("l2", "supervised") == (True, True)
    assert needs("l2", {"name": "supervised", "weight": 0}) == (True, False)
    sweep = read(tmp_path, {"terms": ["supervised"]}, trial__teacher=None)
    assert sweep.encoded() == {}
    with raises(ConfigError, "trial.teacher", "the term l2 learns from a teacher"):
        read(tmp_path, {"terms": ["supervised", "l2"]}, trial__teacher=None)


@pytest.mark.parametrize("term", ["vicreg", "nt_xent"])
def test_views_of_a_window_need_an_augmentation(tmp_path: Path, term: str) -> None:
    method = {"terms": [term]}
    changed = read(tmp_path, method, trial__teacher=None, trial__augment={"noise": 0.1})
    assert changed.trial.method.needs_views
    with raises(ConfigError, "trial.augment", f"the term {term}", "noise: 0.1"):
        read(tmp_path, method, trial__augment={"noise": 0})


@pytest.mark.parametrize(
    ("terms", "key", "reason"),
    [
        (["comodo", "supervized"], "trial.method.terms", "did you mean 'supervised'"),
        ({"comodo": {}, "infonc": {}}, "trial.method.terms", "did you mean 'infonce'"),
        (["l2", {"name": "l2", "weight": 2}], "trial.method.terms", "listed twice"),
        ([{"weight": 1}], "trial.method.terms", "needs a name"),
        ({"l2": None}, "trial.method.terms", "write {}"),
        ([{"name": "l2", "weight": 0}], "trial.method.terms", "weight above 0"),
        ([], "trial.method.terms", "weight above 0"),
        ([{"name": "l2", "wieght": 2}], "trial.method.terms.l2.wieght", "did you mean 'weight'"),
        ({"l2": {"weight": -1}}, "trial.method.terms.l2.weight", "a number at least 0"),
        ([{"name": "infonce", "learn_temperature": 1}],
         "trial.method.terms.infonce.learn_temperature", "needs true or false"),
    ],
)  # fmt: skip
def test_wrong_terms_are_refused_with_their_key(
    tmp_path: Path, terms: Any, key: str, reason: str
) -> None:
    with raises(ConfigError, key, reason):
        read(tmp_path, {"terms": terms})


def test_a_dotted_key_addresses_a_term_by_its_name(tmp_path: Path) -> None:
    space = {"method.terms.infonce.weight": [0, 0.1, 1]}
    sweep = read(tmp_path, LISTED, search__space=space)
    configs = [sweep.with_values(point) for point in sweep.points()]
    assert [config.method.weights.get("infonce") for config in configs] == [None, 0.1, 1]
    labels = Labels(sweep)
    found = [labels.configuration(Trial(config, 0, "w", "f")) for config in configs]
    assert found == [
        "terms comodo infonce.weight=0.0",
        "comodo+infonce infonce.weight=0.1",
        "comodo+infonce infonce.weight=1.0",
    ]
    wrong = {"method.terms.infonse.weight": [1, 2]}
    with raises(ConfigError, "search.space.method.terms.infonse.weight", "'infonce'"):
        read(tmp_path, LISTED, search__space=wrong)
    unlisted = {"method.terms.l2.weight": [1, 2]}
    with raises(ConfigError, "search.space.method.terms.l2.weight", "no term 'l2'", "list it"):
        read(tmp_path, LISTED, search__space=unlisted)


def test_which_terms_can_be_swept(tmp_path: Path) -> None:
    space = {
        "method": ["comodo", LISTED, {"terms": ["comodo"]}, {"terms": ["comodo", "l2"]}],
        "method.head.output_dim": [8, 16],
    }
    sweep = read(tmp_path, "l2", search__space=space)
    configs = [sweep.with_values(point) for point in sweep.points()]
    trials = [Trial(config, 0, "w", "f") for config in configs]
    labels = Labels(sweep)
    assert len({trial.key for trial in trials}) == 8
    assert "method.terms.infonce.weight" in labels.keys
    assert [labels.configuration(trial) for trial in trials][::2] == [
        "comodo output_dim=8",
        "comodo+infonce output_dim=8",
        "terms comodo output_dim=8",
        "comodo+l2 output_dim=8",
    ]
    space = {"method.terms": [["comodo"], ["comodo", "supervised"]]}
    sweep = read(tmp_path, LISTED, search__space=space)
    names = [sweep.with_values(point).method.title for point in sweep.points()]
    assert names == ["terms comodo", "comodo+supervised"]


def test_the_command_line_reaches_into_a_list_of_terms(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__method=LISTED)
    sweep = read_sweep_file(path, overrides=["trial.method.terms.infonce.weight=2"])
    assert sweep.trial.method.weights == {"comodo": 1.0, "infonce": 2.0}


def test_the_key_of_a_sum_has_its_terms_only() -> None:
    def key(method: Any) -> str:
        return Trial(trial_config(method=method), 0, "w", "f").key

    content = trial_config(method=LISTED).for_key()["method"]
    assert content["terms"].keys() == {"comodo", "infonce"}
    turned = {"terms": [LISTED["terms"][1], LISTED["terms"][0]]}
    assert key(LISTED) == key(turned) != key("comodo")
    assert key({"terms": ["supervised"]}) != key("supervised")


def test_every_method_but_none_is_a_sum_of_terms() -> None:
    assert METHODS.keys() - Terms.model_fields.keys() == {"none", "terms"}
