"""The methods that train a student, and the losses that they are made of.

A loss is the whole of one method, or a term of the method `terms`, a weighted sum. Code outside
asks a method what it needs, not which one it is.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from comodo.config.base import ADDED_LATER, Settings
from comodo.core.errors import nearest


class Head(Settings):
    """The student's projector, and whether the teacher has one: a random, frozen MLP. Either `mlp`
    on both sides, or one `linear` layer from student to feature size and none for the teacher."""

    kind: Literal["mlp", "linear"] = "mlp"
    """The student's projector: `mlp` is linear, batch norm, GELU, linear; `linear` is one layer."""
    teacher_projector: bool = Field(default_factory=lambda data: data.get("kind") == "mlp")
    """Whether a random, frozen MLP projects the teacher's feature; by default only with `mlp`."""
    hidden_dim: int = Field(2048, ge=1)
    """Width of the MLP's hidden layer; published 2048."""
    output_dim: int = Field(128, ge=1)
    """Size of the projectors' output; without a teacher projector that of the feature."""


class Loss(Settings):
    """The settings of a loss."""

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False


class ComodoLoss(Loss):
    """COMODO: the student's similarities to a queue are trained to match the teacher's."""

    queue_size: int = Field(1024, ge=1)
    """Teacher embeddings in the queue; limited by the training windows, as the first epoch needs
    some that are not in the queue."""
    teacher_temperature: float = Field(0.1, gt=0)
    """Divides the teacher's similarities; with a smaller one fewer entries count; published 0.1."""
    student_temperature: float = Field(0.05, gt=0)
    """Divides the student's similarities; published 0.05."""
    hold_out_queue: bool = True
    """Whether the windows that fill the queue are trained on only from the second epoch."""


class InfonceLoss(Loss):
    """InfoNCE: a contrastive loss within the batch."""

    learn_temperature: Annotated[bool, ADDED_LATER] = False
    """Whether the temperature is trained too, as in CLIP; it stays at 0.01 or above."""
    temperature: float = Field(
        default_factory=lambda data: 0.07 if data.get("learn_temperature") else 0.1, gt=0
    )
    """Divides the cosine similarities; by default 0.1. With `learn_temperature` the first value, by
    default 0.07."""
    symmetric: bool = False
    """Whether to add the direction from video to IMU."""


class L2Loss(Loss):
    """The student's embedding is trained to match the teacher's."""


class SupervisedLoss(Loss):
    """Cross-entropy on the labels, through a linear layer."""

    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True

    layer_norm: Annotated[bool, ADDED_LATER] = False
    """Whether a layer normalisation precedes the linear layer; with `protocol: published` it does
    for mantis, unless it is a term."""


class Method(Settings):
    """A method, of one loss or of several."""

    name: str

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses that are computed, by name."""
        return {self.name: self} if isinstance(self, Loss) else {}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each of `losses`."""
        return dict.fromkeys(self.losses, 1.0)

    @property
    def needs_teacher(self) -> bool:
        """Whether the student learns from a teacher."""
        return any(loss.needs_teacher for loss in self.losses.values())

    @property
    def needs_labels(self) -> bool:
        """Whether the student learns from labels, and so has a classifier."""
        return any(loss.needs_labels for loss in self.losses.values())

    @property
    def projectors(self) -> Head | None:
        """Those of student and teacher; None without a teacher."""
        head: Head | None = getattr(self, "head", None)
        return head if self.needs_teacher else None

    @property
    def queue(self) -> ComodoLoss | None:
        """The loss with a queue."""
        found = (loss for loss in self.losses.values() if isinstance(loss, ComodoLoss))
        return next(found, None)

    @property
    def title(self) -> str:
        """Its name for people; of a sum with its terms, as `comodo+supervised`."""
        return self.name

    @property
    def teacher_reader(self) -> str:
        """What needs a teacher, `the method comodo` or `the term infonce`; empty if nothing."""
        found = [name for name, loss in self.losses.items() if loss.needs_teacher]
        kind = "term" if self.name == "terms" else "method"
        return f"the {kind} {found[0]}" if found else ""


def queue_key(method: Method) -> str:
    """The dotted key of a method's queue size."""
    return f"method.{'terms.comodo.' * (method.name == 'terms')}queue_size"


class ComodoMethod(ComodoLoss, Method):
    """COMODO: the student's similarities to a queue are trained to match the teacher's."""

    name: Literal["comodo"]
    """Equations 1 to 3 of the paper: similarities to a queue of teacher embeddings."""
    head: Head = Head()
    """Projectors of student and teacher."""


class InfonceMethod(InfonceLoss, Method):
    """InfoNCE: a contrastive loss within the batch."""

    name: Literal["infonce"]
    """Each window has to identify its own video within the batch."""
    head: Head = Head()
    """Projectors of student and teacher; with `protocol: published` `linear` by default."""


class L2Method(L2Loss, Method):
    """The student's embedding is trained to match the teacher's."""

    name: Literal["l2"]
    """Mean squared error between the normalised embeddings of student and teacher."""
    head: Head = Head()
    """Projectors of student and teacher; with `protocol: published` `linear` by default."""


class SupervisedMethod(SupervisedLoss, Method):
    """The student trained with labels instead of a teacher, through a linear layer."""

    name: Literal["supervised"]
    """Cross-entropy on the labels; windows without a label are left out."""


class NoneMethod(Method):
    """The student before training: untrained or as pretrained."""

    name: Literal["none"]
    """No training."""


class Term(Loss):
    """A loss with its weight in a sum."""

    weight: float = Field(1.0, ge=0)
    """Multiplies the loss; with 0 it is not computed."""


class ComodoTerm(ComodoLoss, Term):
    """The loss of the method comodo."""


class InfonceTerm(InfonceLoss, Term):
    """The loss of the method infonce."""


class L2Term(L2Loss, Term):
    """The loss of the method l2."""


class SiglipTerm(Term):
    """SigLIP: each pair of a window and a video of the batch is a match or none (arXiv 2303.15343);
    the factor of the similarities and the bias are trained, from 10 and -10."""


class RkdDistanceTerm(Term):
    """RKD-D (arXiv 1904.05068): the distances between the windows of a batch, relative to their
    mean; published with weight 1."""


class RkdAngleTerm(Term):
    """RKD-A (arXiv 1904.05068): the angles between three windows of a batch; published with weight
    2. Memory grows with the cube of the batch."""


class SupervisedTerm(SupervisedLoss, Term):
    """The loss of the method supervised, on the student's feature before its projector. With a term
    that needs a teacher it learns from those windows with video that have a label."""


class Terms(Settings):
    """The terms of a sum, each once; those that are not listed are not in it."""

    comodo: ComodoTerm | None = None
    """Similarities to a queue of teacher embeddings."""
    infonce: InfonceTerm | None = None
    """Each window has to identify its own video within the batch."""
    l2: L2Term | None = None
    """Distance between the embeddings of student and teacher."""
    supervised: SupervisedTerm | None = None
    """Cross-entropy on the labels."""
    siglip: SiglipTerm | None = None
    """Each pair of window and video within the batch is a match or none."""
    rkd_distance: RkdDistanceTerm | None = None
    """Distances between the windows of a batch."""
    rkd_angle: RkdAngleTerm | None = None
    """Angles between the windows of a batch."""

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: term for name, term in dump(self).items() if term is not None}


def terms_by_name(value: Any) -> Any:
    """A list of terms, each a name or a mapping with a name, as a mapping by name; other values as
    they are. Raises ValueError for a term that is unknown, or listed twice."""
    if isinstance(value, list):
        found: dict[str, Any] = {}
        for entry in value:
            term = {"name": entry} if isinstance(entry, str) else entry
            if not isinstance(term, dict) or not isinstance(term.get("name"), str):
                raise ValueError(f"each term needs a name, such as {{name: l2}}, not {entry!r}")
            if term["name"] in found:
                raise ValueError(f"the term '{term['name']}' is listed twice; keep one")
            found[term["name"]] = {key: part for key, part in term.items() if key != "name"}
        value = found
    if isinstance(value, Mapping):
        for name in value:
            if name not in Terms.model_fields:
                raise ValueError(f"unknown term '{name}'{nearest(str(name), Terms.model_fields)}")
            if value[name] is None:
                raise ValueError(f"{name}: write {{}} for its default settings, or leave it out")
    return value


TermName = Literal["comodo", "infonce", "l2", "supervised", "siglip", "rkd_distance", "rkd_angle"]


class TermsMethod(Method):
    """A weighted sum of losses, trained together. Those that compare with the teacher share the
    projectors; what else a loss trains, such as a classifier, is its own."""

    name: Literal["terms"] = "terms"
    """A weighted sum of losses; can be left out where `terms` is given."""
    terms: Annotated[
        Terms,
        BeforeValidator(
            terms_by_name, json_schema_input_type=Terms | list[TermName | dict[str, Any]]
        ),
    ]
    """The losses: a list, `[{name: comodo}, {name: infonce, weight: 0.5}]`, or a mapping by name.
    Dotted keys address a term by its name, as in `method.terms.infonce.weight`."""
    head: Head = Head()
    """Projectors of student and teacher."""

    @model_validator(mode="after")
    def _has_a_loss(self) -> "TermsMethod":
        if not self.losses:
            raise ValueError("name at least one term with a weight above 0")
        return self

    @property
    def _terms(self) -> dict[str, Term]:
        terms = {name: getattr(self.terms, name) for name in Terms.model_fields}
        return {name: term for name, term in terms.items() if term is not None and term.weight}

    @property
    def losses(self) -> dict[str, Loss]:
        return dict(self._terms)

    @property
    def weights(self) -> dict[str, float]:
        return {name: term.weight for name, term in self._terms.items()}

    @property
    def title(self) -> str:
        names = "+".join(self.losses)
        return names if len(self.losses) > 1 else f"terms {names}"  # no other method's name


MethodConfig = Annotated[
    ComodoMethod | InfonceMethod | L2Method | SupervisedMethod | NoneMethod | TermsMethod,
    Field(discriminator="name"),
]
METHODS: dict[str, type[Method]] = {
    get_args(method.model_fields["name"].annotation)[0]: method
    for method in (
        ComodoMethod,
        InfonceMethod,
        L2Method,
        SupervisedMethod,
        NoneMethod,
        TermsMethod,
    )
}
"""Their settings, by name."""
MethodName = Literal["comodo", "infonce", "l2", "supervised", "none"]
"""Of the methods that need no settings."""


def method_settings(value: Any) -> Any:
    """A method that is given by its name, or by its terms, as a mapping with a name; other values
    as they are."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "terms" in value and "name" not in value:
        return {"name": "terms", **value}
    return value
