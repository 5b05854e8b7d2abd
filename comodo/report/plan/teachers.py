"""What a plan says of a teacher's features. Loads no weights."""

from comodo.config import TeacherConfig
from comodo.config.video_teachers import POOLINGS
from comodo.core.hub import known_config


def pooling_of(teacher: TeacherConfig) -> str:
    """What of the encoder's output is the feature, in words; empty for other families."""
    if teacher.name not in ("video", "image"):
        return ""
    if teacher.pooling is not None:
        return f"pooling {teacher.pooling}"
    if teacher.name == "image":
        return "pooled output, or the mean of the tokens of an encoder that has none"
    kind = known_config(str(teacher.weights), teacher.revision).get("model_type")
    if kind is None:
        return "pooling of their architecture, which is not known before they are downloaded"
    if kind in POOLINGS:
        return f"pooling {POOLINGS[kind][0]}, the default of {kind}"
    return f"no pooling is known for {kind}: set trial.teacher.pooling to mean, cls or pooled"
