"""Errors: what survives the way from a worker process to the command line."""

import pickle

from comodo.config import ConfigError
from comodo.core.errors import ComodoError, StoreError


def test_code_text_and_kind_survive_pickling() -> None:
    for kind in (ComodoError, StoreError, ConfigError):
        error = kind("video.empty", "a.mp4: is empty (0 bytes)")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (again.code, str(again)) == ("video.empty", "a.mp4: is empty (0 bytes)")


def test_mistakes_in_a_sweep_file_have_an_exit_status_of_their_own() -> None:
    assert (ConfigError.exit_status, StoreError.exit_status) == (2, 1)
