"""Which trials have students whose embeddings are in the space of the teacher's, as the measures of
that space need."""

from comodo.config.measures import Measures
from comodo.config.trial import TrialConfig


def refuse_outside_shared_space(trial: TrialConfig, measures: Measures) -> None:
    """Raises ValueError, its message the key first, for a student that learns from a teacher whose
    space it does not share. Methods without a teacher are left out by these measures."""
    names = [name for name, of in measures.declared.items() if of.needs_shared_space]
    losses = {name: loss for name, loss in trial.method.losses.items() if loss.needs_teacher}
    if not names or not losses:
        return
    if all(loss.is_relational for loss in losses.values()):
        fix = "add one that matches it, such as infonce or l2"
        raise ValueError(
            f"trial.method: {names[0]} compares embeddings of student and teacher, which "
            f"{' and '.join(losses)} alone do not bring together; {fix}"
        )
    if "zero-shot-text" not in measures:
        return
    if trial.teacher is None or trial.teacher.pooling != "joint":
        raise ValueError(
            "trial.teacher: zero-shot-text needs features in the space that the teacher shares "
            "with text; write {name: image, weights: openai/clip-vit-base-patch16, pooling: joint} "
            "or another model of video or images and text"
        )
    head = trial.method.projectors
    if head is not None and head.teacher_projector:
        raise ValueError(
            "trial.method.head: zero-shot-text needs a student in the teacher's own space, without "
            "a random projector of the teacher; set head: {kind: linear}, or teacher_projector: "
            "false"
        )
