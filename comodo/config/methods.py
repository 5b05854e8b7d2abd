"""The methods that train a student: of one loss, or of several in a weighted sum.

Code outside asks a method what it needs, not which one it is.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from comodo.config.terms import OwnTerm, TermName, Terms, terms_by_name
from comodo.core.settings import Settings
from comodo.losses.comodo import ComodoLoss
from comodo.losses.infonce import InfonceLoss
from comodo.losses.l2 import L2Loss
from comodo.losses.loss import Loss, Term
from comodo.losses.supervised import SupervisedLoss


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
        """Whether the student learns from labels."""
        return bool(self.labels_reader)

    @property
    def has_classifier(self) -> bool:
        """Whether a classifier is trained with the student."""
        return any(isinstance(loss, SupervisedLoss) for loss in self.losses.values())

    @property
    def needs_views(self) -> bool:
        """Whether the student sees each window in two random changes."""
        return any(loss.needs_views for loss in self.losses.values())

    @property
    def only_labels(self) -> bool:
        """Whether windows without a label teach it nothing."""
        return self.needs_labels and not (self.needs_teacher or self.needs_views)

    @property
    def projectors(self) -> Head | None:
        """Those of student and teacher; None without a teacher."""
        head: Head | None = getattr(self, "head", None)
        return head if self.needs_teacher else None

    @property
    def code(self) -> dict[str, str]:
        """The texts of the files that its losses are from, by name."""
        own = [loss for loss in self.losses.values() if isinstance(loss, OwnTerm)]
        return {file: text for loss in own for file, text in loss.texts.items()}

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
        return self._named(name for name, loss in self.losses.items() if loss.needs_teacher)

    @property
    def labels_reader(self) -> str:
        """What needs labels, as `teacher_reader`."""
        return self._named(name for name, loss in self.losses.items() if loss.needs_labels)

    def _named(self, losses: Iterable[str]) -> str:
        kind, name = "term" if self.name == "terms" else "method", next(iter(losses), "")
        return f"the {kind} {name}" if name else ""


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
        return {name: term for name, term in self.terms.all.items() if term.weight}

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
