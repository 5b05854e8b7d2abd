"""Which recordings are simulated: repeatable, well split, each activity or all of them in one."""

from collections import Counter, defaultdict

import pytest

from comodo.config import SimulatedDataset
from comodo.data.intervals import checked
from comodo.data.simulation import scenery
from comodo.data.simulation.scenarios import (
    ACTIVITIES,
    NULL,
    plan_recordings,
    recording_seconds,
    simulated_recordings,
)


def test_plan_is_repeatable_and_moves_with_the_seed() -> None:
    first, again, other = (plan_recordings(5, 2, 10.0, 0.3, seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len({row.id for row in first}) == len(first) == 5 * 2 * len(ACTIVITIES)
    assert len({row.seed for row in first}) == len(first)


def test_there_are_enough_activities_and_they_share_scenes() -> None:
    assert len(ACTIVITIES) >= 8
    in_scene = Counter(s for a in ACTIVITIES.values() for s in a.scenes)
    assert set(in_scene) == set(scenery.SCENES)
    assert min(in_scene.values()) >= 2


@pytest.mark.parametrize(("subjects", "sizes"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (15, (9, 3, 3))])
def test_splits_are_disjoint_by_subject(subjects: int, sizes: tuple[int, int, int]) -> None:
    of_split = defaultdict(set)
    for row in plan_recordings(subjects, 2, 10.0, 0.5, 0):
        of_split[row.split].add(row.subject)
    assert tuple(len(of_split[split]) for split in ("train", "val", "test")) == sizes
    assert len(set.union(*of_split.values())) == subjects


@pytest.mark.parametrize(("share", "per_activity"), [(0.01, 1), (0.25, 3), (1.0, 12)])
def test_the_labelled_share_is_even_over_activities(share: float, per_activity: int) -> None:
    rows = plan_recordings(10, 2, 10.0, share, 0)
    assert all(row.labelled for row in rows if row.split != "train")
    labelled = Counter(row.activity for row in rows if row.split == "train" and row.labelled)
    assert labelled == dict.fromkeys(ACTIVITIES, per_activity)


def test_an_untrimmed_recording_has_all_activities_and_pauses_between() -> None:
    made = {"kind": "simulated", "subjects": 5, "recordings": 2, "seconds": 3.0, "labelled": 0.5}
    cut = SimulatedDataset.model_validate(made)
    settings = SimulatedDataset.model_validate(made | {"pause_seconds": 1.5})
    recordings = simulated_recordings(settings)
    assert recordings == simulated_recordings(settings)
    assert len({recording.id for recording in recordings}) == len(recordings) == 5 * 2
    orders = set()
    for recording in recordings:
        activities = [part.activity for part in recording.parts]
        assert sorted(activities[::2]) == sorted(ACTIVITIES)
        assert set(activities[1::2]) == {NULL} and len(activities) == 2 * len(ACTIVITIES) - 1
        orders.add(tuple(activities))
        assert len({(part.subject, part.split) for part in recording.parts}) == 1
        assert recording.ends[:3] == [3.0, 4.5, 7.5]
        assert recording.ends[-1] == recording_seconds(settings) == 12 * 3.0 + 11 * 1.5
        assert [part.labelled for part in recording.parts[1::2]] == [
            part.labelled for part in recording.parts[:-1:2]
        ]
        whole = [i for i in recording.intervals if i[2] != NULL]
        assert all(end - start == 3.0 for start, end, _ in whole)
        assert checked(recording.intervals)  # none overlaps another
        if recording.parts[0].split != "train":
            assert len(recording.intervals) == len(recording.parts)
    assert len(orders) == len(recordings)
    # The same activities, motions and labels as of one recording each.
    parts = (part for recording in recordings for part in recording.parts[::2])
    alone = [recording.parts for recording in simulated_recordings(cut)]
    assert recording_seconds(cut) == 3.0
    assert sorted(parts, key=lambda part: part.seed) == sorted(
        (row for (row,) in alone), key=lambda part: part.seed
    )
