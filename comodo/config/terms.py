"""The losses that can be terms of a weighted sum, each a file in comodo/losses, and the user's own.

Some are also a method of their own, in `methods`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal, get_args

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
from comodo.core.settings import Settings
from comodo.losses.comodo import ComodoTerm
from comodo.losses.infonce import InfonceTerm
from comodo.losses.l2 import L2Term
from comodo.losses.loss import Term
from comodo.losses.nt_xent import NtXentTerm
from comodo.losses.relational import RkdAngleTerm, RkdDistanceTerm
from comodo.losses.siglip import SiglipTerm
from comodo.losses.supervised import SupervisedTerm
from comodo.losses.vicreg import VicregTerm

OF_TRAINING = ("student_dim", "classes")
"""Arguments of an own loss's constructor that the training gives."""
TERM_NAME = r"[a-z][a-z0-9_]*"


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
"""The losses of comodo, by the names of their terms."""
TERMS = Members(
    "comodo.terms", {name: f"{of.__module__}:{of.__name__}" for name, of in TERM_SETTINGS.items()}
)
"""The classes of losses by the names of their terms; those of other packages and files are
described in docs/extending.md."""
TermName: Any = Literal[tuple(TERMS.built_in)]


class OwnTerm(OwnCode, Term):
    """A loss of a file, under any name, or of an installed package, under its name there. What it
    needs are constants of the class, see docs/extending.md."""

    MEMBERS: ClassVar[Members] = TERMS

    name: str = CUSTOM
    """Filled in: `custom`, or the name in an installed package."""
    settings: dict[str, int | float | bool | str] = Field({})
    """Arguments of the class's constructor."""

    def for_key(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Whole numbers are in it as others are, as they were before classes got them as such."""
        content = super().for_key(exclude)
        written = content["settings"].items()
        content["settings"] = {k: float(v) if type(v) is int else v for k, v in written}
        return content

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
