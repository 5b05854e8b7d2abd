"""What report and model card say about students that started from trained ones: from which, and who
of val and test these have seen. Does not know how it is found.
"""

from comodo.core.markdown import as_text
from comodo.evaluation.results import Results
from comodo.search.earlier_stages import sources_of
from comodo.search.labels import BEFORE_THIS_STAGE
from comodo.search.trial import Trial


def started_from(results: Results) -> list[str]:
    """For the head of a report, as paragraphs."""
    titles = [source.title for source in sources_of(results.sweep)]
    if not titles:
        return []
    text = f"Students start from a trained one: {as_text('; '.join(titles))}."
    if any(row.label.startswith(BEFORE_THIS_STAGE) for row in results.rows):
        text += f" '{BEFORE_THIS_STAGE}' is that student as it came, which the others have to beat."
    return [text]


def card_start(trial: Trial, results: Results) -> list[str]:
    """For a model card, as paragraphs: the chain that the student comes from, and its cautions."""
    if (source := trial.config.student.start) is None:
        return []
    chain = f"Training started from {as_text(source.title)}."
    cautions = [f"**{as_text(note[0].upper() + note[1:])}.**" for note in results.stage_notes]
    return [chain, *cautions]
