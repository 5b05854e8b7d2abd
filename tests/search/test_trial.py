"""What names a trial."""

from pathlib import Path

from comodo.core.store import fingerprint
from comodo.search.trial import Trial
from tests.helpers import TINY_MANTIS, trial_config


def test_recorded_weights_name_a_trial_where_the_weights_are_not(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.bin").write_text("w")
    config = trial_config(student={"name": "mantis", "weights": str(weights)})
    here, recorded = Trial(config, 0, "w", "f"), fingerprint(weights)
    keys = [here.key, here.untrained.key]
    (weights / "model.bin").unlink()
    weights.rmdir()
    there = Trial(config, 0, "w", "f", weights=recorded)
    assert [there.key, there.untrained.key] == keys
    assert Trial(config, 0, "w", "f").key != keys[0]
    plain = trial_config(student=TINY_MANTIS)
    assert Trial(plain, 0, "w", "f").key != keys[0]
