"""inspect: tables, page and figures of a data set that was prepared through a real Ray."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comodo.core.console import console
from comodo.core.parts import write_table
from comodo.core.store import Store, write_json
from comodo.data.quality import QUALITY_SCHEMA
from comodo.data.readers.folder import FolderDataset
from comodo.data.records import FeaturesMeta, InspectError, QualityNote
from comodo.data.slicing import PrepareError
from comodo.report.quality.inspection import inspect_dataset, show_inspection, write_inspection
from comodo.runtime.prepare import prepare_windows
from tests.conftest import write_imu
from tests.errors import raises


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory,
    make_folder: Callable[..., Path],
    ray_cluster: None,
) -> Store:
    """Ten recordings: one in m/s^2 that says g, one without a label, one without IMU; and a group
    of test is also in train."""
    data = tmp_path_factory.mktemp("data")
    manifest = make_folder(data, recordings=10, seconds=4.0)
    table = (data / "imu/r001.csv").read_text().replace("acc_z [g]", "acc_z [m/s^2]")
    (data / "imu/r001.csv").write_text(table)
    (data / "imu/r002.csv").unlink()
    write_imu(data / "imu/r004.csv", 9.0)
    listed = (
        manifest.read_text().replace("test,s4", "test,s0").replace("r003.csv,running", "r003.csv,")
    )
    manifest.write_text(listed)
    settings = FolderDataset(
        kind="folder", path=str(manifest), window_seconds=2.0, imu_rate=25.0, max_rejected=0.5
    )
    store = Store(tmp_path_factory.mktemp("store"))
    prepare_windows("mine", settings, store)
    with raises(PrepareError, "windows.too-many-rejected", "comodo inspect refused"):
        prepare_windows(
            "refused", settings.model_copy(update={"imu_rate": 50.0, "max_rejected": 0}), store
        )
    return store


def test_what_prepare_told_of_the_listing_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("windows", "w")
    rows = [{"recording": "a", "split": "train", "group": "g", "windows": 1, "notes": []}]
    table = pa.Table.from_pylist(rows, schema=QUALITY_SCHEMA)
    write_table(folder / "quality-000000.parquet", table)
    told = "labels that differ by case or spacing only: 'Walk' and '[walk]'"
    leaks = {"files of test": "1 of 2"}
    QualityNote(["mine"], {}, leaks, [told]).write(folder)
    found = inspect_dataset("mine", store, offsets=0)
    page = (write_inspection(found, store) / "quality.md").read_text()
    assert f"**L{told[1:]}.**" in page.replace("\\", "")
    assert "**Leakage: 1 of 2 files of test" in page
    with console.capture() as capture:
        console.print(show_inspection(found))
    assert told in capture.get() and "leakage: 1 of 2 files of test" in capture.get()
    write_json(folder / "quality.json", {"names": ["mine"], "settings": {}, "leaks": {}})
    assert inspect_dataset("mine", store, offsets=0).noted.notes == []  # of an earlier version


def test_page_tables_and_pictures(store: Store) -> None:
    windows = inspect_dataset("mine", store, offsets=0).folder.name
    meta = FeaturesMeta(
        teacher={}, windows=windows, count=18, devices=[], rejected={}, pictures={"r005:1": "black"}
    )
    meta.write(store.folder("features", "of-a-teacher"))
    found = inspect_dataset("mine", store, offsets=0)
    folder = write_inspection(found, store)
    page = (folder / "quality.md").read_text()
    assert "| train | 6 | 1 | 1 | 3 | 0.01 | 0.01 | 10 |" in page
    assert "| all | 10 | 1 | 1 | 4 | 0.01 | 0.01 | 18 |" in page
    assert "**Leakage: 1 of 1 groups of test are also in train" in page
    assert "**1 of 18 windows have a picture that is black, such as r005:1.**" in page
    assert re.search(r"\| walking \| 4 \| 2 \| 2 \|", page)
    assert re.search(r"\| r001 \| median \\\|acc\\\| \(g\) 0\.[0-4]", page)
    assert re.search(r"\| r004 \| .*IMU less video \(s\) 5 \|", page)
    assert re.search(r"\| r002 \| ImuError: .*r002.csv: no such file \|", page)
    for picture in ("classes.png", "measures.png"):
        assert f"]({picture})" in page
        with Image.open(folder / picture) as image:
            assert min(image.size) > 300
    table = pq.read_table(folder / "quality.parquet")
    assert table["recording"].to_pylist() == [f"r{i:03d}" for i in range(10)]
    assert sum(filter(None, table["windows"].to_pylist())) == 18
    with console.capture() as capture:
        console.print(show_inspection(found))
    text = capture.get()
    assert "Rejected recordings" in text and "leakage: 1 of 1 groups of test" in text


def test_offsets_are_shown_with_their_reliability(store: Store, tmp_path: Path) -> None:
    found = inspect_dataset("mine", store, offsets=0)
    estimated = pd.DataFrame(
        [("r000", 0.12, 0.9, True, None), ("r001", -0.5, 0.1, False, None),
         ("r002", None, None, None, "VideoError: broken")],
        columns=["recording", "offset", "offset_correlation", "offset_reliable", "offset_failed"],
    )  # fmt: skip
    table = found.recordings.merge(estimated, "left", "recording")
    folder = write_inspection(replace(found, recordings=table), Store(tmp_path))
    page = (folder / "quality.md").read_text()
    assert "| r000 | +0.120 | 0.90 | yes |  |" in page
    assert "| r001 | -0.500 | 0.10 | no | no offset fits much better than all others |" in page
    assert "| r002 | – | – | – | VideoError: broken |" in page
    assert "| r003 | – |" not in page  # its offset was not requested
    assert "](offsets.png)" in page and (folder / "offsets.png").exists()


def test_offsets_are_estimated_for_some_recordings(store: Store) -> None:
    found = inspect_dataset("mine", store, offsets=2).recordings
    tried = found[found.offset_reliable.notna() | found.offset_failed.notna()]
    assert len(tried) == 2
    assert not tried.offset_reliable.eq(True).any()  # nothing moves in four seconds of colour


def test_a_refused_data_set_can_be_inspected(store: Store) -> None:
    found = inspect_dataset("refused", store, offsets=0)
    assert found.recordings.rejected.notna().sum() == 1
    assert len(found.recordings) == 10


def test_unknown_names(store: Store, tmp_path: Path) -> None:
    with raises(InspectError, "inspect.unknown"):
        inspect_dataset("mime", store, offsets=0)
    with raises(InspectError, "inspect.nothing-prepared"):
        inspect_dataset("mine", Store(tmp_path), offsets=0)
