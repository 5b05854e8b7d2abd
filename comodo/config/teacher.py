"""The settings of a teacher, and what it sees of a data set's windows under each protocol."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from comodo.config.base import ExistingPath, Weights
from comodo.config.datasets import DatasetConfig, fold_split
from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.config.video_teachers import Pooling
from comodo.core.members import Members
from comodo.core.settings import ADDED_LATER

TEACHERS = Members(
    "comodo.teachers",
    {
        "timesformer": "comodo.models.timesformer:timesformer",
        "videomae": "comodo.models.videomae:videomae",
        "vjepa2": "comodo.models.vjepa2:vjepa2",
        "video": "comodo.models.video_teachers:video",
        "image": "comodo.models.image_teacher:image",
        "efficientnet-lite0": "comodo.models.efficientnet:efficientnet_lite0",
        "precomputed": "comodo.data.precomputed:precomputed_features",
        "several": "comodo.data.concatenated:concatenated_features",
    },
)
"""What builds the teachers of each family, a function of a file with what else is known of the
family; classes of other packages and files are described in docs/extending.md."""


TEACHER_PRESETS: dict[str, dict[str, Any]] = {
    short: {"name": name, **settings}
    for name in TEACHERS.built_in
    for short, settings in TEACHERS.code(name).constants.get("PRESETS", {}).items()
}
"""The settings of teachers by their short names: of each family PRESETS in its file."""

NOT_ENCODERS = ("precomputed", "several")
"""Teachers whose features are made from a file or from those of others."""
WITHOUT_WEIGHTS = ("efficientnet-lite0", *NOT_ENCODERS)
"""Teachers that are not given weights."""
FrameShape = Literal["squeeze", "crop"]
FrameChoice = Literal["middles", "ends"]
PUBLISHED_FRAMES: dict[str, Any] = {"frame_choice": "ends", "flips": True}
"""Defaults of a teacher's settings with `protocol: published`."""


def _known_names(schema: dict[str, Any]) -> None:
    schema["enum"] = [*TEACHERS.names(), CUSTOM]


def _presets(value: Any) -> Any:
    """Teachers of a list that are given by their short names, as settings."""
    if not isinstance(value, list | tuple):
        return value
    return [TEACHER_PRESETS.get(one, one) if isinstance(one, str) else one for one in value]


def _named_or_several(schema: dict[str, Any]) -> None:
    del schema["required"]
    schema["anyOf"] = [{"required": ["name"]}, {"required": ["several"]}]


class TeacherConfig(OwnCode):
    """The frozen video encoder. `video` is any video encoder of transformers; `image` any image
    encoder, with its features averaged over the frames."""

    model_config = ConfigDict(json_schema_extra=_named_or_several)

    MEMBERS: ClassVar[Members] = TEACHERS

    name: str = Field(json_schema_extra=_known_names)
    """Family of the encoder; `precomputed` reads features from a file; `custom` is the class of a
    file. Installed packages may have others."""
    weights: Weights | None = None
    """A hub id or a local folder; required for the families of transformers."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`. `video` with `allow_remote_code` needs a
    commit."""
    allow_remote_code: Weights | None = Field(None, exclude_if=lambda value: value is None)
    """The value of `weights` again, if they come with code that you have read and want to run."""
    pooling: Annotated[Pooling | None, ADDED_LATER] = Field(None, exclude_if=lambda v: v is None)
    """`video` and `image`: what of the encoder's output is the feature: the `mean` of all tokens,
    the first token (`cls`), the model's own `pooled` output, or `joint`, its embedding in the space
    that it shares with text. By default that of the architecture (docs/method.md), which
    `comodo plan` prints."""
    frames: int | None = Field(None, ge=1, le=256)
    """Frames of each window; by default as many as the teacher was trained with, and 8 for image
    encoders (efficientnet-lite0: 4)."""
    frame: Annotated[FrameShape | None, ADDED_LATER] = None
    """How a frame becomes square: `squeeze` scales all of it, `crop` its short side, and cuts out
    the middle. By default as the data set's published features: `squeeze` on UESTC-MMEA-CL."""
    frame_choice: Annotated[FrameChoice, ADDED_LATER] = Field(
        "middles", json_schema_extra={"x-published": "ends"}
    )
    """Which frames of a window: those at the middles of equal parts, or as published evenly from
    the first to the last (`ends`)."""
    flips: Annotated[bool, ADDED_LATER] = Field(False, json_schema_extra={"x-published": True})
    """Whether half of the training windows, drawn once, are seen mirrored; published: yes."""
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the computation; `bf16` is autocast. Features are stored as float32."""
    path: ExistingPath | None = None
    """`precomputed`: an .npz or Parquet file of features."""
    ids: str = "id"
    """`precomputed`: name of the array or column of window or recording ids."""
    features: str = "feature"
    """`precomputed`: name of the array or column of features."""
    several: Annotated[
        "tuple[TeacherConfig, ...] | None",
        ADDED_LATER,
        BeforeValidator(_presets, json_schema_input_type="list[str | TeacherConfig] | None"),
    ] = Field(None, exclude_if=lambda value: value is None)
    """In place of a name: the features of these teachers, each of unit length, one after the other,
    as in `{several: [timesformer-base-k400, videomae-base-k400]}`. Each encodes the windows by
    itself, so a store that has one of them needs only the others."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known_member(name, TEACHERS)

    @model_validator(mode="before")
    @classmethod
    def _is_several(cls, data: Any) -> Any:
        if isinstance(data, dict) and "several" in data and "name" not in data:
            return {"name": "several", **data}
        return data

    @property
    def encoders(self) -> "tuple[TeacherConfig, ...]":
        """The teachers that it consists of; itself, if it is one."""
        return (self,) if self.several is None else self.several

    @property
    def sees_video(self) -> bool:
        return any(encoder.name != "precomputed" for encoder in self.encoders)

    @model_validator(mode="after")
    def _complete(self) -> "TeacherConfig":
        is_own = self.name not in TEACHERS.built_in
        if is_own and self.weights is not None:
            raise ValueError(f"weights: {self.name} loads its own; remove weights")
        if self.weights is None and not is_own and self.name not in WITHOUT_WEIGHTS:
            raise ValueError(f"{self.name} needs weights: a hub id or a local folder")
        if self.allow_remote_code not in (None, self.weights):
            raise ValueError("allow_remote_code must repeat weights, whose code may then run")
        if self.name == "video" and self.allow_remote_code is not None:
            self._refuse_moving_code()
        if self.pooling is not None and self.name not in ("video", "image"):
            raise ValueError(f"pooling: only video and image have it, not {self.name}; remove it")
        if (self.name == "precomputed") != (self.path is not None):
            raise ValueError("path is required for the teacher 'precomputed', and only for it")
        if self.name == "several" or self.several is not None:
            self._refuse_odd_parts()
        return self

    def _refuse_odd_parts(self) -> None:
        parts = self.several or ()
        if self.name != "several":
            raise ValueError(f"several: only without a name, not with {self.name}; remove one")
        if len(parts) < 2 or any(part.several for part in parts):
            raise ValueError(
                "several: list two or more teachers, such as [dinov2-base, vjepa2-vitl]"
            )
        kept = {"name", "several"}
        alone = TeacherConfig.model_construct(name=self.name, several=parts)
        for key in type(self).model_fields.keys() - kept:
            if getattr(self, key) != getattr(alone, key):
                raise ValueError(f"{key}: give it to each of several")

    def _refuse_moving_code(self) -> None:
        """Raises ValueError for code on the hub of which somebody may make another version."""
        is_folder = Path(str(self.weights)).is_absolute()
        if not is_folder and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError(
                "revision: must be the 40 digits of the commit whose code you have read, as "
                "allow_remote_code runs it"
            )


def as_published(teacher: TeacherConfig) -> TeacherConfig:
    """The teacher with the published defaults of what its settings leave out; they stay unset, so
    that they follow a change of the protocol."""
    if teacher.several is not None:
        parts = tuple(map(as_published, teacher.several))
        return teacher.model_copy(update={"several": parts})
    update = {k: v for k, v in PUBLISHED_FRAMES.items() if k not in teacher.model_fields_set}
    if teacher.name == "precomputed" or not update:
        return teacher
    teacher = teacher.model_copy(update=update)
    teacher.model_fields_set.difference_update(update)
    return teacher


def teacher_on(teacher: TeacherConfig, dataset: DatasetConfig) -> TeacherConfig:
    """The teacher of a data set: what becomes of its frames is decided."""
    if teacher.several is not None:
        parts = tuple(teacher_on(part, dataset) for part in teacher.several)
        return teacher.model_copy(update={"several": parts})
    if teacher.frame is not None or teacher.name == "precomputed":
        return teacher
    return teacher.model_copy(update={"frame": dataset.FRAME})


def refuse_pictures(teacher: TeacherConfig, name: str, dataset: DatasetConfig) -> None:
    """Raises ValueError, its message the key first, where a teacher would see whole frames, but
    small copies, which are cropped, have only their middle; and where it would mirror the training
    windows, but which windows those are differs by fold."""
    for part in teacher.several or ():
        refuse_pictures(part, name, dataset)
    if dataset.videos == "shrink" and teacher_on(teacher, dataset).frame == "squeeze":
        raise ValueError(
            f"datasets.{name}.videos: the small copies are cropped, but the teacher needs whole "
            "frames (trial.teacher.frame: squeeze, the default for UESTC-MMEA-CL); set videos: "
            "original, or trial.teacher.frame: crop"
        )
    if teacher.flips and fold_split(dataset) is not None:
        raise ValueError(
            f"trial.teacher.flips: mirrors the training windows when they are encoded, and in "
            f"folds (datasets.{name}.split_by_group) each window is trained on; set flips: false"
        )
