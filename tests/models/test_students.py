"""Students of every encoder: pooling, batches, saving and loading, heads, and their probe."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mantis.architecture import MantisV1
from torch import nn
from torch.nn import functional

from comodo.evaluation.frozen_student import FrozenStudent
from comodo.evaluation.measures.probe import measure_probe
from comodo.models import students
from comodo.models.heads import build_head
from comodo.models.students import StudentError, extract_features, load_student, save_student
from tests.errors import raises
from tests.paths import SHARED
from tests.tiny_students import DIM, FAMILIES, SIZES, left_padded, make, windows


@pytest.mark.parametrize("name", FAMILIES)
def test_pooling_and_channels(name: str) -> None:
    torch.manual_seed(0)
    whole = make(name)
    imu = windows(3, 6, 50)
    features = whole(imu).unflatten(1, (6, DIM))
    few, mean = make(name, channels=["gyro_z", "acc_x"]), make(name, pooling="mean")
    for other in (few, mean):
        other.load_state_dict(whole.state_dict())
    expected = features[:, [5, 0]].flatten(1)
    torch.testing.assert_close(few(imu[:, [5, 0]]), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(mean(imu), features.mean(dim=1), rtol=0, atol=1e-6)
    assert (few.dim, mean.dim) == (2 * DIM, DIM)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_window_does_not_depend_on_its_batch(name: str) -> None:
    lengths = [70, 40, 12, 33, 70, 64]
    student, imu = make(name), left_padded(lengths)
    together = student(imu, torch.tensor(lengths))
    published = student(imu, torch.tensor(lengths), mask=False)
    for row, length in enumerate(lengths):
        alone = student(imu[[row], :, -length:])
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=1e-5)
        unmrequests = student(imu[[row], :, -length:], mask=False)
        torch.testing.assert_close(published[[row]], unmrequests, rtol=0, atol=1e-5)
    shorter = student(imu[1:4, :, -40:], torch.tensor(lengths[1:4]))
    torch.testing.assert_close(together[1:4], shorter, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_students_load_bit_for_bit(name: str, tmp_path: Path) -> None:
    student, imu = make(name, channels=["acc_y", "gyro_x"], pooling="mean"), windows(2, 2, 40)
    save_student(make(name), tmp_path)  # is overwritten
    save_student(student, tmp_path)
    loaded = load_student(tmp_path).eval()
    assert torch.equal(loaded(imu), student(imu))
    assert loaded.dim == student.dim and loaded.description == student.description
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.safetensors", "student.json"]


@pytest.mark.parametrize("name", FAMILIES)
def test_an_encoder_sees_the_units_of_its_student(name: str, tmp_path: Path) -> None:
    """Windows stay in g and deg/s, and so does the limit of what a sensor measures."""
    factor_C1 = torch.tensor([9.80665] * 3 + [math.pi / 180] * 3)[:, None]
    imu = windows(3, 6, 50)
    imu[0, 0, 3], imu[1, 5, 4] = 90, -9e4  # 90 g are 883 m/s^2; no gyroscope measures the other
    plain = make(name)
    published = plain.in_units(("m/s^2", "rad/s"))
    limited = imu.clone()
    limited[1, 5, 4] = -5000
    seen = limited * factor_C1

    def encoded(imu_BCT: torch.Tensor) -> torch.Tensor:
        feature_BCD: torch.Tensor = plain.encoder(imu_BCT, None, True)
        return feature_BCD.flatten(1)

    torch.testing.assert_close(published(imu), encoded(seen), rtol=1e-4, atol=1e-5)
    assert torch.equal(plain(imu), encoded(limited))  # and `plain` is as it was
    assert published.in_units(("g", "deg/s"))(imu).equal(plain(imu))
    save_student(published, tmp_path)
    loaded = load_student(tmp_path).eval()
    assert loaded.units == ("m/s^2", "rad/s")
    assert torch.equal(loaded(imu), published(imu))
    few = make(name, channels=["gyro_z", "acc_x"]).in_units(("m/s^2", "rad/s"))
    assert few.scale_C1 is not None
    torch.testing.assert_close(few.scale_C1, factor_C1[[5, 0]])
    assert "units" not in plain.description  # so that students of corrected trials stay


def test_students_from_the_hub_load_again_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, saved = tmp_path / "hub", tmp_path / "saved"
    MantisV1(**SIZES["mantis"], device="cpu").save_pretrained(hub)
    requests = []

    def snapshot(repository: str, **options: Any) -> str:
        requests.append((repository, options["revision"]))
        return str(hub)

    monkeypatch.setattr(students, "snapshot_download", snapshot)
    student = make("mantis", weights="somebody/mantis", revision="abc")
    save_student(student, saved)
    imu = windows(2, 6, 40)
    assert torch.equal(load_student(saved).eval()(imu), student(imu))
    assert requests == [("somebody/mantis", "abc")]


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_that_no_sensor_measures_count_as_the_limit(name: str) -> None:
    """One of them made features of Mantis NaN, and those of others meaningless."""
    student, imu = make(name), windows(4, 6, 64)
    limit = torch.tensor([100.0] * 3 + [5000.0] * 3).unsqueeze(1)
    within = (50 * imu).clamp(-limit, limit)
    expected = student.encoder(within, None).flatten(1)
    assert torch.equal(student(within), expected)
    for value in (1e9, -3e38, math.inf):
        extreme, at_limit = imu.clone(), imu.clone()
        extreme[2, [0, 4], 30] = value
        at_limit[2, [0, 4], 30] = math.copysign(1, value) * limit[[0, 4], 0]
        features = student(extreme)
        assert features.isfinite().all() and torch.equal(features, student(at_limit))


def test_features_that_are_not_finite_are_refused() -> None:
    """A classifier or a nearest mean would give them a class."""
    student, imu, index_N = make("mantis"), windows(8, 6, 40), torch.tensor([6, 2, 5])
    split: Any = SimpleNamespace(imu=lambda index_B: (imu[index_B], None))
    head = nn.Linear(student.dim, 2)
    with torch.no_grad():
        head.bias[1] = math.nan
    with raises(StudentError, "student.not-finite", "3 of 3", "window 6"):
        extract_features(student, split, index_N, head=head)
    imu[2, 4, 30] = math.nan
    with raises(StudentError, "student.not-finite", "1 of 3", "window 2"):
        extract_features(student, split, index_N)


def test_heads() -> None:
    mlp, linear = build_head("mlp", 12, 4, hidden_dim=20), build_head("linear", 12, 4)
    features = windows(5, 12)
    inner = functional.batch_norm(mlp[0](features), None, None, training=True)
    torch.testing.assert_close(mlp(features), mlp[3](functional.gelu(inner)))
    torch.testing.assert_close(linear(features), linear[0](features))
    assert [type(layer) for layer in mlp] == [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Linear]


def test_unreachable_weights_name_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(students, "snapshot_download", offline)
    with pytest.raises(ValueError, match="'a/b'.*Download once with `hf download a/b`"):
        make("mantis", weights="a/b")
    with pytest.raises(ValueError, match="has no model.safetensors"):
        make("mantis", weights=str(tmp_path))
    with pytest.raises(ValueError, match="holds no saved student"):
        load_student(tmp_path)


def test_wrong_settings_and_windows_are_refused() -> None:
    for channels in ([], ["acc_w"]):
        with pytest.raises(ValueError, match="channel"):
            make("mantis", channels=channels)
    student, imu = make("moment"), windows(2, 6, 40)
    with pytest.raises(ValueError, match=r"\[B, 6, T\]"):
        student(imu[:, :3])
    for lengths in ([40], [40, 41], [0, 40]):
        with pytest.raises(ValueError, match=r"need 2 lengths within 1\.\.40"):
            student(imu, torch.tensor(lengths))


def test_the_probe_sees_features_with_and_without_the_mask() -> None:
    lengths = [40, 12, 64, 30] * 5
    imu, length_N = left_padded(lengths), torch.tensor(lengths)
    split: Any = SimpleNamespace(
        imu=lambda index_B: (imu[index_B], length_N[index_B]),
        labelled_N=torch.arange(20),
        label_N=torch.arange(20) % 2,
    )
    student, index_N = make("moment"), torch.tensor([3, 1, 2])
    for mask in (True, False):
        features = extract_features(student, split, index_N, mask)
        expected = student(imu[index_N], length_N[index_N], mask)
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    seen = []
    student.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    split.group_N = torch.zeros(20, dtype=torch.long)
    data: Any = SimpleNamespace(
        splits={"train": split, "val": split}, classes=["a", "b"], groups=["g"]
    )
    for mask in (True, False):
        measure_probe(FrozenStudent(student, data, 0, mask))
    assert seen == [True, True, False, False]


def split_of(count: int) -> Any:
    imu_BCT = left_padded([40] * count)
    return SimpleNamespace(imu=lambda index_B: (imu_BCT[index_B], None))


def test_features_depend_neither_on_the_batch_nor_on_the_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, split, index_N = make("mantis"), split_of(10), torch.tensor([9, 0, 4, 4, 7])
    whole_ND = extract_features(student, split, index_N)
    monkeypatch.setattr(students, "EXTRACT_BATCH", 2)
    student.train()
    torch.testing.assert_close(extract_features(student, split, index_N), whole_ND)
    assert student.training  # as it was handed in
    assert not whole_ND.requires_grad and whole_ND.dtype == torch.float32


def test_with_a_head_it_is_what_the_head_makes_of_them() -> None:
    student, split, index_N = make("mantis"), split_of(3), torch.arange(3)
    head = nn.Linear(student.dim, 2)
    with torch.inference_mode():
        expected = head(extract_features(student, split, index_N))
    torch.testing.assert_close(extract_features(student, split, index_N, head=head), expected)


PUBLISHED = {"padding": "batch", "averaged_patches": "all"}


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What the published code computes: its README is next to it."""
    file = SHARED / "golden" / "reference" / "published.npz"
    if not file.exists():
        pytest.skip(f"no numbers of the published code at {file}")
    return dict(np.load(file))


def clips(reference: dict[str, Any], beside_long: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The clips as one batch, with one of 700 samples at the end or not, and their lengths."""
    imu = [torch.from_numpy(reference[f"imu{i}"]) for i in range(12)]
    if beside_long:
        imu.append(imu[0].repeat(1, 5)[:, :700])
    length_B = torch.tensor([len(clip_CT[0]) for clip_CT in imu])
    longest = int(length_B.max())
    padded = [functional.pad(clip_CT, (longest - clip_CT.shape[1], 0)) for clip_CT in imu]
    return torch.stack(padded), length_B


@pytest.mark.parametrize("beside_long", [False, True])
@pytest.mark.parametrize("mask", [True, False])
def test_moment_as_published_gives_the_features_of_the_published_code(
    reference: dict[str, Any], mask: bool, beside_long: bool
) -> None:
    weights = str(SHARED / "golden" / "reference" / "moment-tiny")
    imu_BCT, length_B = clips(reference, beside_long)
    name = ("moment_train" if mask else "moment_probe") + "_beside_long" * beside_long
    student = make("moment", weights=weights, **PUBLISHED)
    with torch.inference_mode():
        feature_BD = student(imu_BCT, length_B, mask).numpy()
        corrected_BD = make("moment", weights=weights)(imu_BCT, length_B, mask).numpy()
    np.testing.assert_allclose(feature_BD, reference[name], rtol=0, atol=1e-4)
    # What docs/method.md says of the settings is about these numbers.
    assert np.allclose(corrected_BD, reference[name], atol=1e-4) == (not mask and not beside_long)


def test_each_published_setting_of_moment_does_its_part() -> None:
    lengths = [70, 40, 16, 67]  # patches of 8 samples, at least 64
    imu_BCT, length_B = left_padded(lengths), torch.tensor(lengths)
    torch.manual_seed(0)
    plain = make("moment")
    padded, averaged = make("moment", padding="batch"), make("moment", averaged_patches="all")
    for student in (padded, averaged):
        student.load_state_dict(plain.state_dict())
    # A window of the batch's length, cut to whole patches, has no padding.
    alone = plain(imu_BCT[:1, :, :64])
    assert not torch.allclose(padded(imu_BCT, length_B)[:1], alone, atol=1e-4)
    whole = padded(imu_BCT[..., 6:], length_B.clamp(max=64))  # nothing is longer than 64
    same = plain(imu_BCT[..., 6:], length_B.clamp(max=64))
    torch.testing.assert_close(whole, same, rtol=0, atol=1e-5)
    # Without padding there is nothing else to average.
    torch.testing.assert_close(averaged(imu_BCT[:1, :, 6:]), plain(imu_BCT[:1, :, 6:]))
    assert not torch.allclose(averaged(imu_BCT, length_B), plain(imu_BCT, length_B), atol=1e-3)
    unmasked = averaged(imu_BCT, length_B, mask=False)
    torch.testing.assert_close(unmasked, plain(imu_BCT, length_B, mask=False))


def test_features_that_depend_on_their_batch_take_it_as_it_is_given(tmp_path: Path) -> None:
    lengths = torch.tensor([70, 40, 16, 66])
    imu_NCT = left_padded(lengths.tolist())

    def imu(index_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        longest = int(lengths[index_B].max())
        return imu_NCT[index_B, :, -longest:], lengths[index_B]

    split: Any = SimpleNamespace(imu=imu)
    student, index_N = make("moment", **PUBLISHED), torch.tensor([1, 2, 0, 3])
    pairs = extract_features(student, split, index_N, batch_size=2)
    with torch.inference_mode():
        expected = torch.cat([student(*imu(index_N[:2])), student(*imu(index_N[2:]))])
    torch.testing.assert_close(pairs, expected)
    assert not torch.allclose(pairs, extract_features(student, split, index_N), atol=1e-4)
    save_student(student, tmp_path)
    again = extract_features(load_student(tmp_path), split, index_N, batch_size=2)
    assert torch.equal(again, pairs)


def test_a_window_without_a_whole_patch_of_the_batch_is_refused() -> None:
    """The patches of a batch end before the last samples that fill none: here 6 of 70."""
    student, lengths = make("moment", **PUBLISHED), [70, 14]
    assert student(left_padded(lengths), torch.tensor(lengths)).isfinite().all()
    with pytest.raises(ValueError, match="at least 14 samples, a window has 13"):
        student(left_padded([70, 13]), torch.tensor([70, 13]))
