"""What the report says about selection over folds; does not know how a choice is measured."""

from comodo.core.markdown import as_text
from comodo.evaluation.nested import chosen_in_each_fold
from comodo.evaluation.results import Results
from comodo.report.tables import cell, test_accuracy


def selection_over_folds(results: Results) -> list[str]:
    """A paragraph with the accuracy of the selection itself; none without folds or a choice."""
    if (found := chosen_in_each_fold(results)) is None:
        return []
    accuracy, counts = found
    competing = sum(results.objectives(label) is not None for label in results.candidates)
    most = counts.most_common(3)
    chosen = [f"{as_text(results.title(label))} in {count} of the folds" for label, count in most]
    if others := sum(counts.values()) - sum(count for _, count in most):
        chosen.append(f"others in {others}")
    return [
        "The val groups of one fold are in test of others, so the selected configuration was "
        "chosen by groups that it is tested on. Chosen in each fold by its own val groups, out of "
        f"{competing} configurations, {test_accuracy(results)} is {cell(accuracy)} % "
        f"({', '.join(chosen)})."
    ]
