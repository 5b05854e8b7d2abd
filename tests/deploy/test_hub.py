"""`comodo export --push` and `comodo.load_student` of a hub id, with a stand-in of the hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from comodo.cli import app
from comodo.deploy.hub import PUSHED, HubError, check_push, push
from comodo.models.students import StudentError
from comodo.models.trained_student import load_student
from tests import tiny_students
from tests.errors import raises
from tests.hub_server import TOKEN, Hub, serving, use
from tests.models.test_trained_student import G, worn, write_export

CARD = "---\nlibrary_name: comodo\n---\n# A student\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as (found, address):
        use(monkeypatch, address, str(tmp_path / "cache"))
        yield found
    close_session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export with what must not leave the machine: a window of the data set, and a file that
    somebody put there."""
    folder = write_export(tiny_students.make("mantis"), tmp_path / "out")
    (folder / "README.md").write_text(CARD)
    for name in ("model.onnx", "model.int8.onnx", "model.pt2", "recording.csv"):
        (folder / name).write_bytes(name.encode())
    (folder / "mlflow").mkdir()
    (folder / "mlflow/serving_input_example.json").write_text("{}")
    (folder / "mlflow/README.md").write_text("private")
    return folder


def test_there_and_back(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed, private; loaded by its id; loaded again offline, from the cache."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    check_push("anna/wrist", public=False)
    assert "anna/wrist" not in hub.repositories
    address = push(folder, "anna/wrist", public=False)
    assert address == f"{constants.ENDPOINT}/anna/wrist"
    made = hub.repositories["anna/wrist"]
    assert made.private
    assert made.files.keys() == {*PUSHED} - {"encoder.py"}
    assert hub.checked and all(card.startswith(CARD) for card in hub.checked)
    wanted = load_student(folder).embed(worn(), 20, G)
    assert_array_equal(load_student("anna/wrist").embed(worn(), 20, G), wanted)
    assert not any("model.onnx" in line for line in hub.asked if "resolve" in line)
    check_push("anna/wrist", public=False)  # again, into the same
    asked = len(hub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert_array_equal(load_student("anna/wrist", made.commit).embed(worn(), 20, G), wanted)
    with raises(StudentError, "student.not-found", "anna/other"):
        load_student("anna/other")
    with raises(HubError, "hub.offline", "HF_HUB_OFFLINE"):
        check_push("anna/wrist", public=False)
    assert len(hub.asked) == asked


def test_private_unless_said_otherwise(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push(folder, "anna/open", public=True)
    assert not hub.repositories["anna/open"].private
    with raises(HubError, "hub.public", "anna/open", "--public"):
        check_push("anna/open", public=False)
    check_push("anna/open", public=True)
    monkeypatch.delenv("HF_TOKEN")
    assert load_student("anna/open").rate == 20  # by anybody


def test_what_the_hub_refuses(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raises(HubError, "hub.no-token", "hf auth login"):
        check_push("anna/wrist", public=False)
    monkeypatch.setenv("HF_TOKEN", secret := "hf_" + "b" * 34)
    with raises(HubError, "hub.refused", "not valid") as caught:
        check_push("anna/wrist", public=False)
    assert secret not in str(caught.value)
    with raises(StudentError, "student.not-found", "anna/wrist", "HF_TOKEN"):
        load_student("anna/wrist")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for wrong in ("wrist", "anna/wrist/left", "anna/wr ist"):
        with raises(HubError, "hub.bad-id", wrong):
            check_push(wrong, public=False)
    with raises(HubError, "hub.refused", "may not write"):
        push(folder, "ben/open", public=True)
    assert not hub.repositories["ben/open"].files


def test_without_a_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "http://127.0.0.1:9", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with raises(HubError, "hub.unreachable") as caught:
        check_push("anna/wrist", public=False)
    assert TOKEN not in str(caught.value)
    with raises(StudentError, "student.not-found", "anna/wrist"):
        load_student("anna/wrist")


def test_options_of_export(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", "demo", "--public", "--store", str(tmp_path)])
    assert done.exit_code == 2
    assert "--push" in done.stderr
