"""The settings of a trial: teacher, student, method, training, protocol."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from comodo.config.base import ExistingPath, Settings, Weights, nearest

Channel = Literal["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

Protocol = Literal["corrected", "published"]
"""`published` computes what the published code does where that parts from the paper."""


def _by_protocol(corrected: Any, published: Any) -> Any:
    """A field whose default follows the trial's protocol."""
    return Field(
        default_factory=lambda data: (
            published if data.get("protocol") == "published" else corrected
        ),
        json_schema_extra={"default": corrected, "x-published": published},
    )


TEACHER_PRESETS: dict[str, dict[str, Any]] = {
    "timesformer-base-k400": {
        "name": "timesformer",
        "weights": "facebook/timesformer-base-finetuned-k400",
    },
    "videomae-base-k400": {
        "name": "videomae",
        "weights": "MCG-NJU/videomae-base-finetuned-kinetics",
    },
    "vjepa2-vitl": {
        "name": "vjepa2",
        "weights": "facebook/vjepa2-vitl-fpc64-256",
        "frames": 16,  # of the 64 that it was trained with: a quarter of the cost or less
    },
    "dinov2-base": {"name": "image", "weights": "facebook/dinov2-base"},
    "clip-vit-base": {"name": "image", "weights": "openai/clip-vit-base-patch16"},
    "siglip-base": {"name": "image", "weights": "google/siglip-base-patch16-224"},
    "efficientnet-lite0": {"name": "efficientnet-lite0"},
}
STUDENT_PRESETS: dict[str, dict[str, Any]] = {
    "mantis-8m": {"name": "mantis", "weights": "paris-noah/Mantis-8M"},
    "mantis-v2": {"name": "mantis-v2", "weights": "paris-noah/MantisV2"},
    "moment-small": {"name": "moment", "weights": "AutonLab/MOMENT-1-small"},
    "moment-base": {"name": "moment", "weights": "AutonLab/MOMENT-1-base"},
    "moment-large": {"name": "moment", "weights": "AutonLab/MOMENT-1-large"},
    **{
        f"chronos-bolt-{size}": {"name": "chronos-bolt", "weights": f"amazon/chronos-bolt-{size}"}
        for size in ("tiny", "mini", "small", "base")
    },
    **{name: {"name": name} for name in ("dlinear", "informer", "timesnet")},
}


RESIZED_TO = {"mantis": 512, "mantis-v2": 512, "dlinear": 1000, "informer": 1000, "timesnet": 1000}
"""Samples that windows are resized to; others take them as they are."""


def _preset(presets: dict[str, dict[str, Any]], settings: type[Settings]) -> BeforeValidator:
    """A known model may be given by its name alone."""
    given: Any = Literal[tuple(presets)] | settings

    def expand(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in presets:
            raise ValueError(f"unknown name '{value}'{nearest(value, presets)}")
        return presets[value]

    return BeforeValidator(expand, json_schema_input_type=given)


class TeacherConfig(Settings):
    """The frozen video encoder; `image` is any image encoder of transformers, its features
    averaged over the frames."""

    name: Literal["timesformer", "videomae", "vjepa2", "image", "efficientnet-lite0", "precomputed"]
    """Family of the encoder; `precomputed` reads features that were made elsewhere."""
    weights: Weights | None = None
    """A hub id or a local folder; needed by the families of transformers."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`."""
    allow_remote_code: Weights | None = Field(None, exclude_if=lambda value: value is None)
    """`weights` once more, where these bring code of their own and you have read it: it is run."""
    frames: int | None = Field(None, ge=1, le=256)
    """Frames for each window; by default what the teacher was trained with, and of image networks
    8 (efficientnet-lite0: 4)."""
    precision: Literal["float32", "bf16"] = "float32"
    """What it computes in; `bf16` is autocast. Features are kept as float32 either way."""
    path: ExistingPath | None = None
    """`precomputed`: an .npz or Parquet file of features."""
    ids: str = "id"
    """`precomputed`: name of the array or column of window or recording ids."""
    features: str = "feature"
    """`precomputed`: name of the array or column of features."""

    @model_validator(mode="after")
    def _complete(self) -> "TeacherConfig":
        given = self.name in ("efficientnet-lite0", "precomputed")
        if not given and self.weights is None:
            raise ValueError(f"{self.name} needs weights: a hub id or a local folder")
        if self.allow_remote_code not in (None, self.weights):
            raise ValueError(
                "allow_remote_code names the weights whose code may run, and weights are others"
            )
        if (self.name == "precomputed") != (self.path is not None):
            raise ValueError("path belongs to the teacher 'precomputed', which needs it")
        return self


_MANTIS_SIZE = {
    "seq_len", "hidden_dim", "num_patches", "scalar_scales", "hidden_dim_scalar_enc",
    "epsilon_scalar_enc", "transf_depth", "transf_num_heads", "transf_mlp_dim",
    "transf_dim_head", "transf_dropout",
}  # fmt: skip
_T5_SIZE = {"d_model", "num_layers", "num_heads", "d_kv", "d_ff", "dropout_rate"}
STUDENT_SIZES: dict[str, set[str]] = {
    "mantis": _MANTIS_SIZE,
    "mantis-v2": _MANTIS_SIZE | {"kernel_size"},
    "moment": _T5_SIZE | {"seq_len", "patch_len"},
    "chronos-bolt": _T5_SIZE | {"context_length", "input_patch_size", "input_patch_stride"},
    "dlinear": {"seq_len", "moving_average"},
    "informer": {
        "seq_len", "d_model", "heads", "layers", "d_ff", "factor", "distil", "dropout",
    },
    "timesnet": {
        "seq_len", "d_model", "d_ff", "periods", "kernels", "layers", "dropout",
    },
}  # fmt: skip
"""The keys of `size` for each student from scratch: its library's constructor arguments."""
BASELINE_NAMES = ("dlinear", "informer", "timesnet")
"""Students that are classifiers of all channels together, and so learn from labels alone."""


class StudentConfig(Settings):
    """The IMU encoder that is trained."""

    name: Literal[
        "mantis", "mantis-v2", "moment", "chronos-bolt", "dlinear", "informer", "timesnet"
    ]
    """Family of the encoder."""
    weights: Weights | None = None
    """Without weights the encoder starts from scratch at `size`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; by default `main`."""
    size: dict[str, int | float] = Field({})
    """For students from scratch: arguments of the family's constructor, as hidden_dim."""
    pooling: Literal["concat", "mean"] = "concat"
    """What becomes of the channels' features, each channel going through the encoder alone: side by
    side, or averaged."""
    channels: tuple[Channel, ...] = Field(CHANNELS, min_length=1)
    """The IMU channels that the student sees, in this order."""

    @model_validator(mode="after")
    def _size_is_from_scratch(self) -> "StudentConfig":
        for key in self.size:
            if key not in STUDENT_SIZES[self.name]:
                raise ValueError(f"size.{key}: unknown{nearest(key, STUDENT_SIZES[self.name])}")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("channels: each channel once")
        if self.weights is not None and self.size:
            raise ValueError("size is for students from scratch; leave out weights or size")
        if self.is_baseline and self.weights is not None:
            raise ValueError(f"weights: {self.name} starts from scratch; leave them out")
        if self.is_baseline and self.pooling != "concat":
            raise ValueError(
                f"pooling: {self.name} looks at all channels together; leave pooling out"
            )
        return self

    @property
    def samples(self) -> int | None:
        """How many samples it resizes windows to, unless its weights say otherwise; None: none."""
        default = RESIZED_TO.get(self.name)
        return None if default is None else int(self.size.get("seq_len", default))

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of `BASELINES`."""
        return self.name in BASELINE_NAMES


class Head(Settings):
    """The student's projector, and whether the teacher has one: an MLP, random and frozen.

    By default `mlp` on both sides, or one `linear` layer from student to feature size with the
    teacher's feature taken as it is.
    """

    kind: Literal["mlp", "linear"] = "mlp"
    """Of the student's projector: `mlp` is linear, batch norm, GELU, linear; `linear` one layer."""
    teacher_projector: bool = Field(default_factory=lambda data: data.get("kind") == "mlp")
    """Whether the teacher's feature goes through a random, frozen MLP; by default with `mlp`
    only."""
    hidden_dim: int = Field(2048, ge=1)
    """Width inside an MLP; published 2048."""
    output_dim: int = Field(128, ge=1)
    """Without a teacher's projector the output has the size of the feature."""


class ComodoMethod(Settings):
    """COMODO: the student's similarities to a queue are pulled to the teacher's."""

    name: Literal["comodo"]
    """Equations 1 to 3 of the paper: similarities to a queue of teacher embeddings."""
    queue_size: int = Field(1024, ge=1)
    """Teacher embeddings in the queue; at most what the training split leaves for a first epoch."""
    teacher_temperature: float = Field(0.1, gt=0)
    """Divides the teacher's similarities; the smaller, the fewer entries count; published 0.1."""
    student_temperature: float = Field(0.05, gt=0)
    """Divides the student's similarities; published 0.05."""
    hold_out_queue: bool = True
    """Whether the windows that fill the queue join the training from the second epoch only."""
    head: Head = Head()
    """Projectors of student and teacher."""


class InfonceMethod(Settings):
    """InfoNCE: a contrastive loss within the batch."""

    name: Literal["infonce"]
    """Each window has to pick its own video out of its batch."""
    temperature: float = Field(0.1, gt=0)
    """Divides the cosine similarities."""
    symmetric: bool = False
    """Whether the direction from video to IMU is added."""
    head: Head = Head()
    """Projectors of student and teacher; with `protocol: published` `linear` by default."""


class L2Method(Settings):
    """The student's embedding is pulled to the teacher's itself."""

    name: Literal["l2"]
    """Mean squared error between the unit embeddings of student and teacher."""
    head: Head = Head()
    """Projectors of student and teacher; with `protocol: published` `linear` by default."""


class SupervisedMethod(Settings):
    """The student trained with the labels instead of a teacher, through a linear layer."""

    name: Literal["supervised"]
    """Cross-entropy on the labels; windows without one are left out."""


class NoneMethod(Settings):
    """The student as it starts, untrained or as pretrained."""

    name: Literal["none"]
    """No training."""


DistillingMethod = ComodoMethod | InfonceMethod | L2Method
"""Methods that learn from a teacher."""
MethodConfig = Annotated[
    DistillingMethod | SupervisedMethod | NoneMethod, Field(discriminator="name")
]
MethodName = Literal["comodo", "infonce", "l2", "supervised", "none"]


def _method_by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class TrialConfig(Settings):
    """One student, trained by one method on one dataset; the seed is added by the sweep."""

    protocol: Protocol = "corrected"
    """What follows the paper's text or its code, see docs/method.md; the sweep's `protocol`."""
    dataset: str
    """A name under `datasets`, trained on."""
    teacher: Annotated[TeacherConfig, _preset(TEACHER_PRESETS, TeacherConfig)]
    """A known one by its name, or its settings."""
    student: Annotated[StudentConfig, _preset(STUDENT_PRESETS, StudentConfig)]
    """A known one by its name, or its settings."""
    method: Annotated[
        MethodConfig,
        BeforeValidator(_method_by_name, json_schema_input_type=MethodName | MethodConfig),
    ]
    """By its name alone, with defaults, or its settings."""
    epochs: int = Field(20, ge=1)
    """Passes over the training windows; published 20."""
    batch_size: int = Field(128, ge=2)
    """Windows in a step, over all workers; published 128."""
    learning_rate: float = Field(3e-4, gt=0)
    """Peak of AdamW's rate; published 3e-4. It rises in `warmup` and falls linearly to zero."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from zero."""
    schedule: Literal["steps", "published"] = _by_protocol("steps", "published")
    """The learning rate follows the real `steps`; as `published`, the queue's samples are counted
    as steps too, so that a longer queue means a lower learning rate."""
    last_window: Literal["keep", "drop"] = _by_protocol("keep", "drop")
    """As published, the last full window of a recording is dropped for training, not for the
    probe."""
    probe_mask: bool = _by_protocol(True, False)
    """Whether the probe tells MOMENT what is padding, as training does; published: no."""
    probe_ties: Literal["middle", "smallest"] = _by_protocol("middle", "smallest")
    """Which of equally good values of the probe's C is taken: the one nearest to 1; as published,
    the smallest, with which the class probabilities can fall to chance where labels are few."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """What the student is trained in; its weights stay float32, and so it is measured. `bf16` is
    autocast; `tf32` shortens the factors of matrix products on GPUs that can, and is as float32
    on others and on CPUs."""

    @model_validator(mode="after")
    def _baselines_learn_from_labels(self) -> "TrialConfig":
        if self.student.is_baseline and not isinstance(self.method, SupervisedMethod):
            raise ValueError(
                f"method: {self.student.name} is a classifier, which only the method 'supervised' "
                f"trains, not '{self.method.name}'; with other students beside it, give trial the "
                "method supervised and sweep the others under when: {student.name: [...]}"
            )
        return self

    @model_validator(mode="after")
    def _published_heads(self) -> "TrialConfig":
        """`infonce` and `l2` as published have a linear head."""
        method = self.method
        if (
            self.protocol == "published"
            and isinstance(method, InfonceMethod | L2Method)
            and "head" not in method.model_fields_set
        ):
            method = method.model_copy(update={"head": Head(kind="linear")})
            method.model_fields_set.discard("head")  # it follows the protocol, if that changes
            object.__setattr__(self, "method", method)
        return self
