from types import SimpleNamespace

import pytest

from comodo.core.memory import memory_held, peak_memory, settle


def test_memory_that_is_held() -> None:
    before = settle()
    if before is None:
        pytest.skip("this system does not tell what a process holds")
    block = b"x" * 50_000_000
    now, peak = memory_held("VmRSS"), memory_held("VmHWM")
    assert now is not None and peak is not None
    assert 45e6 < now - before < 60e6
    assert peak >= now
    del block
    after = settle()
    assert after is not None and after < now - 45e6


def test_the_peak_is_that_since_it_was_reset() -> None:
    if settle() is None:
        pytest.skip("this system does not tell what a process holds")
    block = b"x" * 200_000_000
    most = peak_memory()
    del block
    assert peak_memory() == pytest.approx(most, abs=10e6)
    settle()
    assert peak_memory() < most - 150e6


def test_the_peak_is_in_bytes_also_where_the_system_counts_in_kilobytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = SimpleNamespace(ru_maxrss=3_000)
    monkeypatch.setattr("resource.getrusage", lambda who: used)
    monkeypatch.setattr("comodo.core.memory.memory_held", lambda what: None)
    assert peak_memory() == 3_000 * 1024
    monkeypatch.setattr("sys.platform", "darwin")
    assert peak_memory() == 3_000
