"""What a plan says about videos and labels that are not there."""

from collections.abc import Callable
from pathlib import Path

from comodo.config import read_sweep_file
from comodo.data.readers import list_recordings, open_dataset
from comodo.data.records import WindowsMeta
from comodo.data.slicing import slice_chunk, write_part
from comodo.data.window_sets import WindowSet
from comodo.report.plan.notes import DatasetFacts, dataset_notes
from comodo.report.plan.splits import train_split
from tests.config.test_load import sweep_file


def test_videos_and_labels_that_are_not_there(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    manifest = make_folder(tmp_path / "data", recordings=10, seconds=3.0)
    text = manifest.read_text().replace("r001,videos/r001.mp4", "r001,")
    manifest.write_text(text.replace("walking", "").replace("running", ""))
    mine = {"kind": "folder", "path": str(manifest), "window_seconds": 1.0, "imu_rate": 25.0}
    datasets = {"mine": mine, "watch": {"kind": "simulated"}}
    objective = {"metric": "on/watch/val/acc1"}
    path = sweep_file(
        tmp_path,
        datasets=datasets,
        trial__dataset="mine",
        evaluate_on=["watch"],
        objective=objective,
    )
    sweep = read_sweep_file(path)
    settings = sweep.datasets["mine"]
    recordings = list_recordings(settings, tmp_path)

    def notes(ready: WindowSet | None) -> str:
        return "\n".join(dataset_notes(DatasetFacts("mine", settings, recordings, ready), sweep))

    listed = notes(None)
    assert "1 of 10 recordings have no video: no student is distilled on them" in listed
    assert "too few labels for a probe: students trained on it are measured on watch" in listed
    folder = tmp_path / "windows"
    rows = slice_chunk(open_dataset(settings, tmp_path), recordings, settings, tmp_path)
    write_part(folder, "part-0.parquet", rows)
    counts = {"train": 18, "val": 6, "test": 6}
    WindowsMeta([], counts, {}, {}, {}, 1.0).write(folder)
    ready = WindowSet("w", folder, counts, {}, {}, {})
    assert "3 of 30 windows have no video" in notes(ready)
    found = train_split(ready)
    assert (found.windows, found.unseen, found.last, found.unseen_last) == (18, 3, 6, 1)
    assert found.of(sweep.trial) == 15
