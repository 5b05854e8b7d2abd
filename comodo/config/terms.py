"""The losses that students are trained with, and the terms of a weighted sum of them.

Most losses are also a method of their own, in `methods`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.core.errors import nearest
from comodo.core.members import Members
from comodo.core.settings import ADDED_LATER, Settings

OF_TRAINING = ("student_dim", "classes")
"""Arguments of an own loss's constructor that the training gives."""
TERM_NAME = r"[a-z][a-z0-9_]*"


class Loss(Settings):
    """The settings of a loss."""

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    needs_views: ClassVar[bool] = False
    """Whether it compares two random changes of a window."""
    is_relational: ClassVar[bool] = False
    """Whether it compares what is between windows only, so that a student may lie anywhere."""


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


class Term(Loss):
    """A loss with its weight in a sum."""

    CLASS: ClassVar[str]
    """What computes it, `module:Class`; the module is imported only where students are trained."""

    weight: float = Field(1.0, ge=0)
    """Multiplies the loss; with 0 it is not computed."""


class ComodoTerm(ComodoLoss, Term):
    """The loss of the method comodo."""

    CLASS = "comodo.training.terms.comodo:ComodoTerm"


class InfonceTerm(InfonceLoss, Term):
    """The loss of the method infonce."""

    CLASS = "comodo.training.terms.infonce:InfonceTerm"


class L2Term(L2Loss, Term):
    """The loss of the method l2."""

    CLASS = "comodo.training.terms.l2:L2Term"


class SiglipTerm(Term):
    """SigLIP: each pair of a window and a video of the batch is a match or none (arXiv 2303.15343);
    the factor of the similarities and the bias are trained, from 10 and -10."""

    CLASS = "comodo.training.terms.siglip:SiglipTerm"


class RkdDistanceTerm(Term):
    """RKD-D (arXiv 1904.05068): the distances between the windows of a batch, relative to their
    mean; published with weight 1."""

    CLASS = "comodo.training.terms.relational:DistanceTerm"
    is_relational: ClassVar[bool] = True


class RkdAngleTerm(Term):
    """RKD-A (arXiv 1904.05068): the angles between three windows of a batch; published with weight
    2. Memory grows with the cube of the batch."""

    CLASS = "comodo.training.terms.relational:AngleTerm"
    is_relational: ClassVar[bool] = True


class VicregTerm(Term):
    """VICReg (arXiv 2105.04906): two changes of a window, by `augment`, should have one embedding,
    whose dimensions vary and do not repeat each other. Needs neither teacher nor labels."""

    CLASS = "comodo.training.terms.vicreg:VicregTerm"
    needs_teacher: ClassVar[bool] = False
    needs_views: ClassVar[bool] = True

    width: int = Field(1024, ge=2)
    """Width of the three layers between feature and embedding; published 8192."""


class NtXentTerm(Term):
    """NT-Xent of SimCLR (arXiv 2002.05709): each of two changes of a window, by `augment`, has to
    find the other among those of the batch, after a projection head. Needs neither teacher nor
    labels."""

    CLASS = "comodo.training.terms.nt_xent:NtXentTerm"
    needs_teacher: ClassVar[bool] = False
    needs_views: ClassVar[bool] = True

    temperature: float = Field(0.1, gt=0)
    """Divides the cosine similarities; published 0.1 for ImageNet, 0.5 for CIFAR-10."""
    width: int = Field(128, ge=1)
    """Width of the embedding, after a hidden layer as wide as the student's feature; published
    128."""


class SupervisedTerm(SupervisedLoss, Term):
    """The loss of the method supervised, on the student's feature before its projector. With a term
    that needs a teacher it learns from those windows with video that have a label."""

    CLASS = "comodo.training.terms.supervised:SupervisedTerm"


class BuiltInTerms(Settings):
    """The terms of comodo, by name."""

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
    vicreg: VicregTerm | None = None
    """Two changes of a window by `augment`, with neither teacher nor labels."""
    nt_xent: NtXentTerm | None = None
    """Each of two changes of a window by `augment` has to identify the other within the batch."""


TERM_SETTINGS: dict[str, type[Term]] = {
    name: get_args(of.annotation)[0] for name, of in BuiltInTerms.model_fields.items()
}
"""The settings of the terms of comodo, by name."""
TERMS = Members("comodo.terms", {name: of.CLASS for name, of in TERM_SETTINGS.items()})
"""The classes of losses by the names of their terms; those of other packages and files are
described in docs/extending.md."""
TermName: Any = Literal[tuple(TERMS.built_in)]


class OwnTerm(OwnCode, Term):
    """A loss of a file, under any name, or of an installed package, under its name there. What it
    needs are constants of the class, see docs/extending.md."""

    MEMBERS: ClassVar[Members] = TERMS

    name: str = CUSTOM
    """Filled in: `custom`, or the name in an installed package."""
    settings: dict[str, float | bool | str] = Field({})
    """Arguments of the class's constructor."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known_member(name, TERMS)

    @model_validator(mode="after")
    def _takes_its_settings(self) -> "OwnTerm":
        self.refuse_unknown(self.settings, OF_TRAINING)
        return self

    def _constant(self, name: str, default: bool) -> bool:
        code = self.read_code
        return default if code is None else bool(code.constants.get(name, default))

    @property
    def needs_teacher(self) -> bool:  # type: ignore[override]
        return self._constant("NEEDS_TEACHER", True)

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        return self._constant("NEEDS_LABELS", False)

    @property
    def needs_views(self) -> bool:  # type: ignore[override]
        return self._constant("NEEDS_VIEWS", False)


class Terms(BuiltInTerms):
    """The terms of a sum, each once; those that are not listed are not in it. Others are own
    terms."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, OwnTerm] = Field(init=False)

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: term for name, term in dump(self).items() if term is not None}

    @property
    def all(self) -> dict[str, Term]:
        """Those in the sum, by name."""
        found = {name: getattr(self, name) for name in Terms.model_fields}
        return {name: term for name, term in found.items() if term is not None} | self.own

    @property
    def own(self) -> dict[str, OwnTerm]:
        """Those of files and of installed packages."""
        return dict(self.__pydantic_extra__)


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
            if value[name] is None:
                raise ValueError(f"{name}: write {{}} for its default settings, or leave it out")
        return {name: _own_term(name, term) for name, term in value.items()}
    return value


def _own_term(name: Any, term: Any) -> Any:
    """A term of a file or an installed package with its name there; others as they are. Raises
    ValueError for an unknown one."""
    if name in Terms.model_fields:
        return term
    if isinstance(term, Mapping) and "file" in term:
        if not re.fullmatch(TERM_NAME, str(name)):
            raise ValueError(f"{name}: needs small letters, digits and underscores, as my_loss")
        return {**term, "name": CUSTOM}
    if name not in TERMS:
        raise ValueError(f"unknown term '{name}'{nearest(str(name), TERMS.names())}")
    return {**term, "name": name} if isinstance(term, Mapping) else term
