"""What a local cache has of hub models."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from comodo.core.hub import known_commit, known_config, resolved_commit


def cached(cache: Path, model: str, commit: str, branch: str = "main") -> None:
    """What a download of a model leaves."""
    folder = cache / f"models--{model.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    (folder / "snapshots" / commit / "config.json").write_text("{}")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / branch).write_text(commit)


def test_branches_tags_and_commits_that_were_downloaded_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    first, second = "1" * 40, "2" * 40
    cached(tmp_path, "some/model", second)
    cached(tmp_path, "some/model", first, "v1")
    revisions = {None: second, "main": second, "v1": first, first: first, "v2": None}
    assert {name: known_commit("some/model", name) for name in revisions} == revisions
    assert resolved_commit("some/model", None) == second
    config = tmp_path / "models--some--model/snapshots" / first / "config.json"
    config.write_text('{"model_type": "vivit"}')
    assert known_config("some/model", "v1") == {"model_type": "vivit"}
    assert known_config(str(config.parent), None) == {"model_type": "vivit"}
    assert known_config("some/model", "v2") == known_config(str(tmp_path), None) == {}
    for unknown in ("other/model", str(tmp_path), "../../up", "a/b/c"):
        assert known_commit(unknown, None) is None
        assert resolved_commit(unknown, None) is None
