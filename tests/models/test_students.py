"""Students of every encoder: pooling, batches, saving and loading, heads, and their probe."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mantis.architecture import MantisV1
from torch import nn
from torch.nn import functional

from comodo.models import students
from comodo.models.heads import build_head
from comodo.models.students import load_student, save_student
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
    torch.testing.assert_close(few(imu), features[:, [5, 0]].flatten(1), rtol=0, atol=1e-6)
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
    student, imu = make(name, channels=["acc_y", "gyro_x"], pooling="mean"), windows(2, 6, 40)
    save_student(make(name), tmp_path)  # is overwritten
    save_student(student, tmp_path)
    loaded = load_student(tmp_path).eval()
    assert torch.equal(loaded(imu), student(imu))
    assert loaded.dim == student.dim and loaded.description == student.description
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.safetensors", "student.json"]


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
        with pytest.raises(ValueError, match="choose some of acc_x"):
            make("mantis", channels=channels)
    student, imu = make("moment"), windows(2, 6, 40)
    with pytest.raises(ValueError, match=r"\[B, 6, T\]"):
        student(imu[:, :3])
    for lengths in ([40], [40, 41], [0, 40]):
        with pytest.raises(ValueError, match=r"need 2 lengths within 1\.\.40"):
            student(imu, torch.tensor(lengths))
