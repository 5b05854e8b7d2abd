"""Settings of data sets."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from comodo.config import ConfigError, Sweep, read_sweep_file
from comodo.config.datasets import READERS, published_units
from comodo.data.readers.ego4d import Ego4dDataset
from comodo.data.readers.egoexo4d import EgoExo4dDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.readers.uestc_mmea import UestcMmeaDataset
from tests.config.test_load import sweep_file
from tests.paths import ROOT


def test_every_sweep_of_the_page_on_cameras_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOPRO", "ARIA"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("recordings", "watch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").touch()
    page = (ROOT / "docs" / "cameras.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = []
    for block in blocks:
        (tmp_path / "sweep.yaml").write_text(block)
        kinds += [
            dataset.kind for dataset in read_sweep_file(tmp_path / "sweep.yaml").datasets.values()
        ]
    assert kinds == ["gopro", "folder", "aria", "folder", "folder"]


def test_every_kind_has_a_reader_of_its_own_that_has_its_settings() -> None:
    for kind in READERS.built_in:
        reader = READERS.get(kind)
        assert get_args(reader.SETTINGS.model_fields["kind"].annotation) == (kind,)
        assert reader.SETTINGS.__module__ == reader.__module__
        arguments = READERS.code(kind).arguments
        assert arguments is not None and arguments[0] == "settings"
    assert len(set(READERS.built_in.values())) == len(READERS.built_in)


def mmea_file(tmp_path: Path, **changes: Any) -> Path:
    """Of a data set with settings that follow the protocol."""
    for name in ("mmea", "lists"):
        (tmp_path / name).mkdir(exist_ok=True)
    entry = {"kind": "uestc-mmea-cl", "path": "mmea", "splits": "lists"}
    ego = {"kind": "ego4d", "video_folder": "mmea", "imu_folder": "mmea", "splits": "lists"}
    return sweep_file(
        tmp_path,
        **{"datasets__mmea": entry, "datasets__ego": ego, "trial__dataset": "mmea"} | changes,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["keep", "clock"]),
        ({"protocol": "published"}, ["drop", "counted"]),
        ({"trial__protocol": "published"}, ["drop", "counted"]),
        ({"protocol": "published", "datasets__mmea__first_row": "keep"}, ["keep", "counted"]),
        ({"datasets__ego__window_times": "counted"}, ["keep", "counted"]),
    ],
)
def test_windows_follow_the_protocol(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    sweep = read_sweep_file(mmea_file(tmp_path, **changes))
    mmea, ego = sweep.datasets["mmea"], sweep.datasets["ego"]
    assert isinstance(mmea, UestcMmeaDataset) and isinstance(ego, Ego4dDataset)
    assert [mmea.first_row, ego.window_times] == expected
    written = [mmea.for_key().get("first_row"), ego.for_key().get("window_times")]
    assert written == [value if value in ("drop", "counted") else None for value in expected]
    kept = sweep.model_dump(mode="json", exclude_unset=True)
    again = Sweep.model_validate(kept, context={"read_back": True})
    assert again.datasets == sweep.datasets


def test_a_sweep_that_ran_before_is_read_as_it_was(tmp_path: Path) -> None:
    sweep = read_sweep_file(mmea_file(tmp_path, protocol="published"))
    kept = sweep.model_dump(mode="json", exclude_unset=True)
    del kept["datasets"]["mmea"]["first_row"]
    mmea = Sweep.model_validate(kept, context={"read_back": True}).datasets["mmea"]
    assert isinstance(mmea, UestcMmeaDataset)
    assert mmea.first_row == "keep"


def test_a_swept_protocol_needs_windows_that_are_written(tmp_path: Path) -> None:
    space = {"search__space": {"protocol": ["corrected", "published"]}}
    message = "datasets.mmea.first_row: follows the protocol, which is swept"
    with pytest.raises(ConfigError, match=message) as error:
        read_sweep_file(mmea_file(tmp_path, **space))
    assert "write keep or drop" in str(error.value)
    written = {"datasets__mmea__first_row": "drop", "datasets__ego__window_times": "clock"}
    sweep = read_sweep_file(mmea_file(tmp_path, **space, **written))
    assert {sweep.with_values(point).imu_units for point in sweep.grid()} == {
        "g, deg/s",
        "published",
    }


def test_published_units_are_those_of_the_papers_data_sets(tmp_path: Path) -> None:
    sweep = read_sweep_file(mmea_file(tmp_path))
    assert published_units(sweep.datasets) == {
        "demo": ("g", "deg/s"),
        "mmea": ("g", "deg/s"),
        "ego": ("m/s^2", "rad/s"),
    }
    assert EgoExo4dDataset.PUBLISHED_UNITS == ("m/s^2", "rad/s")


def test_a_draw_of_training_windows_and_folds_exclude_each_other() -> None:
    settings = {"kind": "simulated", "windows_per_recording": 3}
    assert SimulatedDataset.model_validate(settings).windows_per_recording == 3
    with pytest.raises(ValidationError, match=r"windows_per_recording.*split_by_group\.folds"):
        SimulatedDataset.model_validate({**settings, "split_by_group": {"folds": 3}})


def test_a_stride_is_of_windows_and_not_longer() -> None:
    made = {"kind": "simulated", "window_seconds": 2.0}
    assert SimulatedDataset.model_validate(made | {"stride_seconds": 2.0}).boundary == "majority"
    with pytest.raises(ValidationError, match=r"stride_seconds: 2\.5 s leave out"):
        SimulatedDataset.model_validate(made | {"stride_seconds": 2.5})
    with pytest.raises(ValidationError, match="stride_seconds: window_seconds: whole"):
        SimulatedDataset.model_validate({**made, "window_seconds": "whole", "stride_seconds": 1.0})
    for boundary in ("drop", 0.8, 1):
        assert SimulatedDataset.model_validate(made | {"boundary": boundary}).boundary == boundary
    for boundary in ("most", 0, 1.1):
        with pytest.raises(ValidationError, match="boundary"):
            SimulatedDataset.model_validate(made | {"boundary": boundary})
    with pytest.raises(ValidationError, match=r"null_class\.label"):
        SimulatedDataset.model_validate(made | {"null_class": {"label": None}})
    plain = SimulatedDataset.model_validate(made)
    assert not {"stride_seconds", "boundary", "null_class"} & plain.for_key().keys()
