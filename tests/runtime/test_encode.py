"""encode: features by an actor pool on a real Ray, resuming, damaged files, given features."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from comodo.config import TeacherConfig
from comodo.config.teacher import FrameChoice
from comodo.core.console import show_errors
from comodo.core.lease import LeaseError
from comodo.core.parts import parts, read_parts, write_table
from comodo.core.provenance import made_by
from comodo.core.store import Store, read_json, write_json
from comodo.data.arrays import FeatureArrays
from comodo.data.container import open_video
from comodo.data.feature_sets import FeatureSet, feature_key, wanted_windows
from comodo.data.keys import simulated_folder
from comodo.data.packing import pack_features
from comodo.data.precomputed import EncodeError
from comodo.data.readers import open_dataset
from comodo.data.readers.folder import FolderDataset
from comodo.data.readers.gopro import GoproDataset
from comodo.data.readers.simulated import SimulatedDataset
from comodo.data.slicing import slice_chunk, write_part
from comodo.data.video import decode_frames
from comodo.data.window_sets import FileFingerprints, WindowSet
from comodo.models.teachers import build_teacher
from comodo.runtime.decode import decode_batch
from comodo.runtime.encode import encode_windows, write_features
from comodo.runtime.prepare import _checked, prepare_windows
from tests.data.test_video import make_video, numbers
from tests.errors import raises

TEACHER = TeacherConfig(name="efficientnet-lite0", frames=2)


def vectors(features: FeatureSet) -> dict[str, np.ndarray]:
    table = read_parts(features.folder, ["window", "feature"]).to_pylist()
    return {row["window"]: np.array(row["feature"]) for row in table if row["feature"] is not None}


@pytest.mark.usefixtures("ray_cluster")
class TestEncode:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path / "store")

    @pytest.fixture
    def windows(self, tmp_path: Path, store: Store, make_folder: Callable[..., Path]) -> WindowSet:
        manifest = make_folder(tmp_path / "data", recordings=10, seconds=2.0)
        settings = FolderDataset(
            kind="folder", path=str(manifest), window_seconds=1.0, imu_rate=25.0
        )
        return prepare_windows("mine", settings, store)

    def test_features_equal_a_direct_use_and_a_file_that_broke_after_prepare_is_left_out(
        self, tmp_path: Path, store: Store, windows: WindowSet, capsys: pytest.CaptureFixture[str]
    ) -> None:
        video = tmp_path / "data/videos/r001.mp4"
        video.write_bytes(video.read_bytes()[:200])
        features = encode_windows("mine", TEACHER, windows, store, 0.2)
        printed = " ".join(capsys.readouterr().out.split())
        shares = re.search(r"computed (\d+)% of the time, and waited for frames (\d+)%", printed)
        assert shares is not None and sum(map(int, shares.groups())) in (99, 100, 101)
        assert "limits the speed" in printed
        found = vectors(features)
        assert (len(found), features.rejected) == (18, 2)
        meta = read_json(features.folder / "meta.json")
        assert all("Ray GPU 0" in device for device in meta["devices"])  # conftest's logical GPU
        assert meta["made_by"] == made_by()
        assert {window.split(":")[0] for window in meta["rejected"]} == {"r001"}
        assert all("r001.mp4" in reason for reason in meta["rejected"].values())
        teacher = build_teacher(TEACHER)
        import torch

        frames = decode_frames(str(tmp_path / "data/videos/r003.mp4"), 1.0, 2.0, 2, 224)
        direct = teacher(torch.from_numpy(frames)[None])[0].numpy()
        np.testing.assert_allclose(found["r003:1"], direct, atol=1e-4)
        with raises(EncodeError, "features.too-many-missing", "2 of 20", "datasets.mine.max"):
            encode_windows("mine", TEACHER, windows, store, 0.05)

    @pytest.mark.slow
    def test_found_again_and_resumed_by_window(self, store: Store, windows: WindowSet) -> None:
        features = encode_windows("mine", TEACHER, windows, store, 0)
        before = vectors(features)
        assert encode_windows("mine", TEACHER, windows, store, 0) == features
        # As after an interruption: one part is there, holding some of the windows.
        first, *others = parts(features.folder)
        table = pq.read_table(first)
        pq.write_table(table.slice(0, 10), first)
        stamp = first.stat().st_mtime_ns
        for path in [*others, features.folder / "meta.json"]:
            path.unlink()
        encode_windows("mine", TEACHER, windows, store, 0)
        assert first.stat().st_mtime_ns == stamp
        after = vectors(features)
        assert after.keys() == before.keys()
        assert len(read_parts(features.folder, ["window"])) == 20  # none twice
        for window, vector in before.items():
            np.testing.assert_allclose(after[window], vector, atol=1e-4)

    @pytest.mark.slow
    def test_a_corrected_label_encodes_nothing_again(
        self, tmp_path: Path, store: Store, windows: WindowSet
    ) -> None:
        features = encode_windows("mine", TEACHER, windows, store, 0)
        (spans,) = features.folder.glob("spans-*.parquet")
        spans.unlink()  # as an earlier version left it
        assert encode_windows("mine", TEACHER, windows, store, 0) == features and spans.exists()
        manifest = tmp_path / "data/manifest.csv"
        manifest.write_text(manifest.read_text().replace("walking", "sitting", 1))
        settings = FolderDataset(
            kind="folder", path=str(manifest), window_seconds=1.0, imu_rate=25.0
        )
        corrected = prepare_windows("mine", settings, store)
        again = encode_windows("mine", TEACHER, corrected, store, 0)
        assert again.key != features.key
        assert read_json(again.folder / "meta.json")["devices"] == []
        before, after = vectors(features), vectors(again)
        assert after.keys() == before.keys()
        assert all((after[window] == before[window]).all() for window in before)

    def test_splits_are_encoded_when_something_reads_them(
        self, tmp_path: Path, store: Store, make_folder: Callable[..., Path]
    ) -> None:
        manifest = make_folder(tmp_path / "data", recordings=5, seconds=4.0)
        text = manifest.read_text()
        for split in ("val", "test", "test"):
            text = text.replace("train,s", f"{split},s", 1)
        manifest.write_text(text)
        settings = FolderDataset(
            kind="folder", path=str(manifest), window_seconds=1.0, imu_rate=25.0
        )
        windows = prepare_windows("mine", settings, store)
        assert windows.counts == {"train": 8, "val": 4, "test": 8}
        (tmp_path / "data/videos/r000.mp4").write_bytes(b"broken")  # of val
        training = encode_windows("mine", TEACHER, windows, store, 0, ("val", "test"))
        assert {window[:4] for window in vectors(training)} == {"r003", "r004"}
        key = pack_features(store, windows.key, training.key, ("val", "test"))
        folder = store.folder("arrays", key)
        assert FeatureArrays.load(folder).encoded.keys() == {"train"}
        stamps = {path: path.stat().st_mtime_ns for path in folder.glob("train-*")}
        before = vectors(training)
        with raises(EncodeError, "features.too-many-missing", "4 of 20", "datasets.mine.max"):
            encode_windows("mine", TEACHER, windows, store, 0.1)
        assert encode_windows("mine", TEACHER, windows, store, 0, ("val", "test")) == training
        every = encode_windows("mine", TEACHER, windows, store, 0.2)
        assert (every.key, every.rejected) == (training.key, 4)
        assert len(vectors(every)) == 16
        assert all((vectors(every)[window] == vector).all() for window, vector in before.items())
        assert pack_features(store, windows.key, every.key) == key  # no trial is another one
        encoded = FeatureArrays.load(folder).encoded
        assert {split: len(index_N) for split, index_N in encoded.items()} == {
            "train": 8, "val": 0, "test": 8
        }  # fmt: skip
        assert stamps == {path: path.stat().st_mtime_ns for path in stamps}

    @pytest.mark.slow
    def test_a_disk_that_is_away_for_a_while(
        self,
        tmp_path: Path,
        store: Store,
        windows: WindowSet,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        videos, away = tmp_path / "data/videos", tmp_path / "away"
        (videos / "r001.mp4").rename(away)
        features = encode_windows("mine", TEACHER, windows, store, 0.2)
        assert features.rejected == 2 and "tries them again" in capsys.readouterr().out
        away.rename(videos / "r001.mp4")
        features = encode_windows("mine", TEACHER, windows, store, 0)
        assert features.rejected == 0 and len(vectors(features)) == 20
        meta = read_json(features.folder / "meta.json")
        assert (meta["count"], meta["rejected"], meta["passing"]) == (20, {}, [])

    @pytest.mark.slow
    def test_all_disks_away(self, tmp_path: Path, store: Store, windows: WindowSet) -> None:
        videos, away = tmp_path / "data/videos", tmp_path / "away"
        videos.rename(away)
        with raises(EncodeError, "features.too-many-missing", "20 of 20"):
            encode_windows("mine", TEACHER, windows, store, 1)
        away.rename(videos)
        assert encode_windows("mine", TEACHER, windows, store, 0).rejected == 0

    @pytest.mark.chaos
    def test_a_file_that_was_replaced_after_prepare_is_refused(
        self,
        tmp_path: Path,
        store: Store,
        windows: WindowSet,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        video = tmp_path / "data/videos/r001.mp4"
        video.write_bytes((tmp_path / "data/videos/r002.mp4").read_bytes())
        with pytest.raises(typer.Exit), show_errors():
            encode_windows("mine", TEACHER, windows, store, 0.2)
        told = capsys.readouterr().err
        assert f"{video} was replaced while the sweep runs; run the same command again" in told
        assert store.meta("features", feature_key(TEACHER, windows)) is None

    def test_given_features_by_window_or_recording(
        self, tmp_path: Path, store: Store, windows: WindowSet
    ) -> None:
        path = tmp_path / "features.npz"
        ids = np.array([f"r{i:03d}" for i in range(9)] + ["r000:1"])
        np.savez(path, names=ids, vectors=np.arange(20.0).reshape(10, 2, 1))
        teacher = TeacherConfig(name="precomputed", path=str(path), ids="names", features="vectors")
        features = encode_windows("mine", teacher, windows, store, 0.2)
        found = vectors(features)
        assert features.rejected == 2  # r009 is not in the file
        np.testing.assert_array_equal(found["r000:0"], [0, 1])
        np.testing.assert_array_equal(found["r000:1"], [18, 19])
        wrong = teacher.model_copy(update={"features": "absent"})
        with raises(EncodeError, "features.missing-array", "'absent'", "names, vectors"):
            encode_windows("mine", wrong, windows, store, 0.2)
        for content in (b"", b"PK broken"):
            (tmp_path / "broken.npz").write_bytes(content)
            broken = teacher.model_copy(update={"path": str(tmp_path / "broken.npz")})
            with raises(EncodeError, "features.unreadable", "trial.teacher.path", "broken.npz"):
                encode_windows("mine", broken, windows, store, 0.2)

    @pytest.mark.slow
    def test_real_gopro_frames(self, store: Store, shared_data: Path) -> None:
        settings = GoproDataset(
            kind="gopro", path=str(shared_data / "gopro"), window_seconds=1.0, imu_rate=100
        )
        windows = prepare_windows("gopro", settings, store)
        features = encode_windows("gopro", TEACHER, windows, store, 0)
        found = np.stack(list(vectors(features).values()))
        assert found.shape == (10, 1280)
        assert np.isfinite(found).all()


def test_what_is_kept_of_windows_that_cannot_be_decoded_and_of_dead_pictures(
    tmp_path: Path,
) -> None:
    make_video(tmp_path / "film.mp4")
    make_video(tmp_path / "dark.mp4", [0, 900])  # one frame for 0.9 s
    (tmp_path / "damaged.mp4").write_bytes((tmp_path / "film.mp4").read_bytes()[:200])
    names = np.array(["film", "dark", "damaged", "away"])
    decoded = decode_batch(
        {
            "window": names,
            "video": np.array([str(tmp_path / f"{name}.mp4") for name in names]),
            "start": np.zeros(4),
            "end": np.full(4, 0.8),
            "file": np.array(["{}"] * 4),
            "flipped": np.zeros(4, bool),
        },
        count=2, size=32, store=Store(tmp_path / "store"), teacher=TEACHER,
    )  # fmt: skip
    assert [bool(text) for text in decoded["rejected"]] == [False, False, True, False]
    assert [bool(text) for text in decoded["passing"]] == [False, False, False, True]
    assert list(decoded["picture"]) == ["of one colour", "black", "", ""]
    times = {"computed": np.ones(4), "waited": np.zeros(4)}
    batch = {**decoded, **times, "feature": np.ones((4, 3)), "device": np.array(["cpu"] * 4)}
    written = write_features(batch, Store(tmp_path / "store"), "key")
    assert list(written["window"]) == list(names)
    rows = read_parts(tmp_path / "store/features/key", ["window", "rejected", "picture"])
    found = {row["window"]: row for row in rows.to_pylist()}
    assert found.keys() == {"film", "dark", "damaged"}  # `away` is tried again
    assert "damaged.mp4" in found["damaged"]["rejected"]
    assert found["dark"]["picture"] == "black"


def one_window(video: str, end: float = 1.0, flipped: bool = False) -> dict[str, np.ndarray]:
    one = {"window": "w", "video": video, "start": 0.0, "end": end, "file": "{}"}
    return {name: np.array([value]) for name, value in (one | {"flipped": flipped}).items()}


def test_frames_are_chosen_shaped_and_mirrored_as_the_teacher_s_settings_say(
    tmp_path: Path,
) -> None:
    path, store = str(make_video(tmp_path / "film.mp4", width=96)), Store(tmp_path / "store")

    def seen(flipped: bool = False, **settings: Any) -> np.ndarray:
        teacher = TEACHER.model_copy(update=settings)
        frames_BFHW3: np.ndarray = decode_batch(
            one_window(path, 2.0, flipped), 3, 32, store, teacher
        )["frames"]
        return frames_BFHW3[0]

    assert numbers(seen()) == [10, 30, 50]
    assert numbers(seen(frame_choice="ends")) == [0, 29, 59]
    cropped, squeezed = seen(frame="crop"), seen(frame="squeeze")
    assert (seen() == cropped).all() and (squeezed != cropped).any()
    assert (squeezed == decode_frames(path, 0, 2, 3, 32, "squeeze")).all()
    assert (seen(flipped=True) == cropped[:, :, ::-1]).all()


@pytest.mark.parametrize("choice", ["middles", "ends"])
@pytest.mark.parametrize("stride", [0.1, 0.25, 0.5])
def test_overlapping_windows_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: FrameChoice, stride: float
) -> None:
    """With the same frames as each by itself; of a second video and of a later part of the first
    one in passes of their own."""
    one, two = make_video(tmp_path / "one.mp4"), make_video(tmp_path / "two.mp4")
    opened: list[str] = []

    def opening(path: str | Path) -> Any:
        opened.append(Path(path).name)
        return open_video(path)

    monkeypatch.setattr("comodo.data.video.open_video", opening)
    starts = [float(start) for start in np.arange(0.1, 0.6 + 1e-9, stride)]
    spans = [(str(one), start, start + 0.6) for start in starts]
    spans += [(str(one), 1.3, 1.9), (str(two), 0.1, 0.7)]
    videos, begins, ends = zip(*spans, strict=True)
    batch = {
        "window": np.array([f"w{i}" for i in range(len(spans))]),
        "video": np.array(videos),
        "start": np.array(begins),
        "end": np.array(ends),
        "file": np.array(["{}"] * len(spans)),
        "flipped": np.arange(len(spans)) % 2 == 1,
    }
    teacher = TEACHER.model_copy(update={"frame_choice": choice})
    frames = decode_batch(batch, 4, 32, Store(tmp_path / "store"), teacher)["frames"]
    assert opened == ["one.mp4", "one.mp4", "two.mp4"]
    for row, (video, start, end) in enumerate(spans):
        alone = decode_frames(video, start, end, 4, 32, choice=choice)
        assert (frames[row] == (alone[:, :, ::-1] if row % 2 else alone)).all()


def test_damage_is_of_the_windows_that_have_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", options={"g": "10", "qp": "0"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    starts = np.arange(0, 1.6, 0.2)
    batch = {
        "window": np.array([f"w{i}" for i in range(len(starts))]),
        "video": np.array([str(path)] * len(starts)),
        "start": starts,
        "end": starts + 0.4,
        "file": np.array(["{}"] * len(starts)),
        "flipped": np.zeros(len(starts), bool),
    }
    decoded = decode_batch(batch, 3, 32, Store(tmp_path / "store"), TEACHER)
    rejected = [bool(text) for text in decoded["rejected"]]
    assert rejected[:2] == rejected[-2:] == [False, False] and any(rejected)
    for row in np.flatnonzero(~np.array(rejected)):
        alone = decode_frames(path, starts[row], starts[row] + 0.4, 3, 32)
        assert (decoded["frames"][row] == alone).all()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "no"), OSError(5, "disk"), MemoryError(), OSError(116, "stale")]
)
def test_an_error_that_may_pass_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("comodo.runtime.decode.decode_spans", fail)
    decoded = decode_batch(one_window("a.mp4"), 1, 8, Store(tmp_path), TEACHER)
    assert decoded["passing"][0] and not decoded["rejected"][0]
    times = {"computed": np.ones(1), "waited": np.zeros(1)}
    batch = {**decoded, **times, "feature": np.ones((1, 3)), "device": np.array(["cpu"])}
    assert write_features(batch, Store(tmp_path), "key")["passing"][0]
    assert not parts(tmp_path / "features" / "key")


@pytest.mark.parametrize("videos", ["original", "shrink"])
def test_windows_of_a_store_that_was_moved(tmp_path: Path, videos: str) -> None:
    settings = SimulatedDataset.model_validate(
        {"kind": "simulated", "subjects": 3, "recordings": 1, "seconds": 2.0, "window_seconds": 1.0}
        | {"videos": videos}
    )
    before = Store(tmp_path / "before")
    reader = open_dataset(settings, simulated_folder(settings, before))
    recordings = reader.recordings()[:1]
    sliced = slice_chunk(reader, recordings, settings, before.videos)
    checked = _checked(sliced, before, {}, {recordings[0].id: "key"})
    write_part(before.folder("windows", "w"), "part-0.parquet", checked)
    before.root.rename(tmp_path / "after")
    after = Store(tmp_path / "after")
    wanted = wanted_windows(
        WindowSet("w", after.folder("windows", "w"), {}, {}, {}, {}), after, TEACHER
    )
    batch = {name: wanted[name].to_numpy(zero_copy_only=False) for name in wanted.column_names}
    decoded = decode_batch(batch, count=1, size=32, store=after, teacher=TEACHER)
    assert [*decoded["rejected"], *decoded["passing"]] == [""] * 4
    assert decoded["frames"].any(axis=(1, 2, 3, 4)).all()


def test_key_follows_teacher_and_windows(tmp_path: Path) -> None:
    windows = WindowSet("w", tmp_path, {}, {}, {}, {})
    key = feature_key(TEACHER, windows)
    assert key != feature_key(TEACHER.model_copy(update={"frames": 3}), windows)
    assert key != feature_key(TEACHER.model_copy(update={"precision": "bf16"}), windows)
    assert key != feature_key(TEACHER, WindowSet("v", tmp_path, {}, {}, {}, {}))
    (tmp_path / "weights").mkdir()
    local = TeacherConfig(name="videomae", weights=str(tmp_path / "weights"))
    before = feature_key(local, windows)
    (tmp_path / "weights/model.safetensors").write_bytes(b"1")
    assert feature_key(local, windows) != before


def test_who_lost_the_lease_meanwhile_does_not_complete_the_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = Store(tmp_path / "store"), tmp_path / "features.npz"
    folder = store.folder("windows", "w")
    row = {
        "window": "r:0",
        "recording": "r",
        "split": "train",
        "video": "",
        "start": 0.0,
        "end": 1.0,
    }
    write_table(folder / "part-000000.parquet", pa.Table.from_pylist([{**row, "rejected": None}]))
    np.savez(path, names=np.array(["r"]), vectors=np.ones((1, 2)))
    teacher = TeacherConfig(name="precomputed", path=str(path), ids="names", features="vectors")
    windows = WindowSet("w", folder, {"train": 1}, {}, {}, {})
    key = feature_key(teacher, windows)

    def taken_over(files: FileFingerprints) -> None:
        if (lease := store.folder("features", key) / "lease.json").exists():
            write_json(lease, {"id": "theirs"})

    monkeypatch.setattr("comodo.runtime.encode.refuse_changed", taken_over)
    monkeypatch.setattr("comodo.core.lease.STALE_SECONDS", 0.0)
    with raises(LeaseError, "lease.lost", f"features/{key}"):
        encode_windows("mine", teacher, windows, store, 0.0)
    assert store.meta("features", key) is None
