"""Sweep files: what is read, what is refused, and how the refusal reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from comodo.config import ConfigError, FolderDataset, load_sweep


def sweep_file(tmp_path: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "name": "small",
        "datasets": {"demo": {"kind": "simulated"}},
        "trial": {
            "dataset": "demo",
            "teacher": "efficientnet-lite0",
            "student": {"name": "mantis"},
            "method": {"name": "comodo", "queue_size": 64},
        },
    }
    for key, value in changes.items():
        place = content
        *parents, last = key.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_defaults_are_the_published_ones(tmp_path: Path) -> None:
    trial = load_sweep(sweep_file(tmp_path)).trial
    assert (trial.epochs, trial.batch_size, trial.learning_rate) == (20, 128, 3e-4)
    assert trial.method.name == "comodo"
    assert (trial.method.teacher_temperature, trial.method.student_temperature) == (0.1, 0.05)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trial__epoks": 3}, "trial.epoks: unknown key; did you mean 'epochs'?"),
        (
            {"trial__method": {"name": "comodo", "queue_sise": 3}},
            "trial.method.queue_sise: unknown key; did you mean 'queue_size'?",
        ),
        (
            {"trial__method__teacher_temperature": -0.1},
            "trial.method.teacher_temperature: Input should be greater than 0, not -0.1",
        ),
        ({"trial__teacher": "timesformer"}, "did you mean 'timesformer-base-k400'?"),
        ({"trial__dataset": "dmo"}, "'dmo' is not under datasets; did you mean 'demo'?"),
        (
            {"datasets__mine": {"kind": "folder", "path": "absent/manifest.csv"}},
            "datasets.mine.path: ",
        ),
        (
            {"search__space": {"method.queue_sise": [1]}},
            "search.space.method.queue_sise: trial.method.queue_sise with",
        ),
        ({"search__space": {"learning_rate": {"min": 1, "max": 2}}}, "a grid needs a list"),
        ({"search__sampler": "tpe"}, "budget.trials: the sampler tpe needs it"),
        ({"seeds": [1, 1]}, "seeds: each seed once"),
        ({"trial__student": {"name": "mantis", "weights": "./absent"}}, "absent does not exist"),
        ({"trial__student__channels": []}, "trial.student.channels"),
        ({"trial__student__channels": ["acc_x", "acc_x"]}, "each channel once"),
        (
            {"trial__student__size": {"hiden_dim": 8}},
            "trial.student: size.hiden_dim: unknown; did you mean 'hidden_dim'?",
        ),
        ({"trial__method__student_temperature": float("inf")}, "student_temperature"),
        (
            {"search__space": {"method.name": ["comodo", "l2"]}},
            "trial.method.queue_size with method.name=l2: the key does not go with l2",
        ),
        (
            {
                "search": {"sampler": "random", "space": {"teacher.frames": {"min": 1, "max": 2}}},
                "budget": {"trials": 2},
            },
            "search.space.teacher.frames: needs a list",
        ),
        ({"budget": {"trials": 1}, "seeds": [0, 1]}, "the grid has 2 trials, more than 1"),
        ({"name": "../up"}, "name: String should match"),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = sweep_file(tmp_path, **changes)
    with pytest.raises(ConfigError) as error:
        load_sweep(path)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    line = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert 1 <= line <= len(path.read_text().splitlines())


def test_line_is_that_of_the_key(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, trial__learning_rate=-1)
    with pytest.raises(ConfigError) as error:
        load_sweep(path)
    number = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert "learning_rate" in path.read_text().splitlines()[number - 1]


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_sweep(tmp_path / "absent.yaml")
    for text in (b"a: [", b"just words", b"", b"name: caf\xe9"):
        path = tmp_path / "broken.yaml"
        path.write_bytes(text)
        with pytest.raises(ConfigError):
            load_sweep(path)


def test_paths_are_relative_to_the_file_and_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.csv").write_text("video,imu\n")
    monkeypatch.setenv("MY_DATA", "data")
    for written in ("data/manifest.csv", "$MY_DATA/manifest.csv"):
        path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": written})
        mine = load_sweep(path).datasets["mine"]
        assert isinstance(mine, FolderDataset)
        assert mine.path == str(tmp_path / "data/manifest.csv")
    path = sweep_file(tmp_path, datasets__mine={"kind": "folder", "path": "$ABSENT_VARIABLE/x"})
    with pytest.raises(ConfigError, match="export ABSENT_VARIABLE"):
        load_sweep(path)


def test_paths_in_the_space_are_relative_to_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    (tmp_path / "weights").mkdir()
    space = {
        "teacher": [{"name": "precomputed", "path": "features.npz"}],
        "student": [{"name": "mantis", "weights": "weights"}],
    }
    sweep = load_sweep(sweep_file(tmp_path, search__space=space))
    (trial,) = map(sweep.with_values, sweep.grid())
    assert trial.teacher.path == str(tmp_path / "features.npz")
    assert trial.student.weights == str(tmp_path / "weights")


def test_grid_replaces_dotted_keys_and_whole_objects(tmp_path: Path) -> None:
    space = {"method": ["none", {"name": "comodo", "queue_size": 8}], "learning_rate": [0.1, 0.2]}
    sweep = load_sweep(sweep_file(tmp_path, search__space=space))
    trials = [sweep.with_values(values) for values in sweep.grid()]
    assert [(t.method.name, t.learning_rate) for t in trials] == [
        ("none", 0.1),
        ("none", 0.2),
        ("comodo", 0.1),
        ("comodo", 0.2),
    ]


def test_every_sweep_of_the_project_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("UTD_MHAD", "GOPRO"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "i3d_features_f16.npz").touch()
    files = sorted((Path(__file__).parents[1] / "sweeps").glob("*.yaml"))
    assert files
    for file in files:
        load_sweep(file)
