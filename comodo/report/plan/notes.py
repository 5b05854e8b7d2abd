"""What a plan says about a data set before anything runs: leakage, videos and labels that are not
there. Does not know how it is shown."""

from dataclasses import dataclass
from functools import cached_property

from comodo.config import DatasetConfig, Sweep
from comodo.config.measuring import labelled_splits
from comodo.data import window_sets
from comodo.data.folds import listed_in_folds
from comodo.data.recordings import Recording
from comodo.data.window_sets import WindowSet
from comodo.search.measurable import Classes, unfit_sets, unlabelled_note
from comodo.search.precheck import most_labelled


@dataclass(frozen=True)
class DatasetFacts:
    """A data set as it is listed, and its windows if they are prepared."""

    name: str
    settings: DatasetConfig
    recordings: list[Recording]
    ready: WindowSet | None

    @cached_property
    def _classes(self) -> list[Classes]:
        """Of each fold, or of the one split, as far as the listing tells."""
        if self.ready is not None:
            return [split.classes for split in self.ready.splits]
        listed = listed_in_folds(self.recordings, self.settings)
        return [most_labelled(self.settings, split) for split in listed]

    @property
    def unfit(self) -> bool:
        """Whether it has too few labels to fit a probe on, as far as the listing tells."""
        return bool(unfit_sets({self.name: self._classes}))

    @property
    def labels(self) -> list[str]:
        """The names of all classes, as far as the listing tells."""
        return sorted({label for of in self._classes for counts in of.values() for label in counts})


def dataset_notes(facts: DatasetFacts, sweep: Sweep) -> list[str]:
    """The sentences, without those of the listing itself."""
    ready = facts.ready
    leaks = window_sets.leaks_of(facts.recordings) if ready is None else ready.leaks
    notes = window_sets.leakage_notes(leaks)
    if ready is None:
        notes += _without_video(facts.recordings)
    else:
        notes += window_sets.without_video_note(ready.folder, sum(ready.counts.values()))
    if facts.name in {trained for trained, _ in sweep.trained_on()}:
        notes += _not_selectable(facts, sweep)
        notes += [unlabelled_note(sweep, facts.name)] if facts.unfit else []
    return notes


def _without_video(recordings: list[Recording]) -> list[str]:
    """That some recordings have no video, as a sentence; nothing if all or none have."""
    count = sum(not recording.video for recording in recordings)
    if count in (0, len(recordings)):
        return []
    return [f"{count} of {len(recordings)} recordings have no video: {window_sets.USE_WITHOUT}"]


def _not_selectable(facts: DatasetFacts, sweep: Sweep) -> list[str]:
    """Which objectives are never known for a data set that is trained on; a search that needs them
    is refused before."""
    recordings = listed_in_folds(facts.recordings, facts.settings)[0]
    labelled = {recording.split for recording in recordings if recording.labels}
    needed = labelled_splits(sweep.objective, sweep.measures)
    fault = "no labelled recordings in its {} split, so the objective there is not known"
    return [fault.format(split) for split in sorted(needed - labelled)]
