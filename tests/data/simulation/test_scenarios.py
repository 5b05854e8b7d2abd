"""What is simulated: repeatable, well split, with the labels that are requested."""

from collections import Counter, defaultdict

import pytest

from comodo.data.simulation import scenery
from comodo.data.simulation.scenarios import ACTIVITIES, plan_recordings


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
