"""Which kinds of data sets a sweep file may have. The settings of each kind are next to its reader,
those that all have in common in `dataset_base`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from comodo.config.base import ExistingPath
from comodo.config.channels import CHANNELS
from comodo.config.dataset_base import BaseDataset, FoldSplit, Units
from comodo.config.member_settings import OneOf
from comodo.config.own_code import CUSTOM, OwnCode, known_member
from comodo.core.members import Members

READERS = Members(
    "comodo.readers",
    {
        "simulated": "comodo.data.readers.simulated:SimulatedReader",
        "folder": "comodo.data.readers.folder:FolderReader",
        "gopro": "comodo.data.readers.gopro:GoproReader",
        "aria": "comodo.data.readers.aria:AriaReader",
        "utd-mhad": "comodo.data.readers.utd_mhad:UtdMhadReader",
        "ego4d": "comodo.data.readers.ego4d:Ego4dReader",
        "egoexo4d": "comodo.data.readers.egoexo4d:EgoExo4dReader",
        "uestc-mmea-cl": "comodo.data.readers.uestc_mmea:UestcMmeaReader",
        "hapt": "comodo.data.readers.hapt:HaptReader",
        "wharf": "comodo.data.readers.wharf:WharfReader",
        "whar": "comodo.data.readers.whar:WharReader",
        "anymo-bench": "comodo.data.readers.anymo_bench:AnymoBenchReader",
        "hd-epic": "comodo.data.readers.hd_epic:HdEpicReader",
        "actrectut": "comodo.data.readers.actrectut:ActRecTutReader",
        "wear": "comodo.data.readers.wear:WearReader",
        "epic-kitchens": "comodo.data.readers.epic_kitchens:EpicKitchensReader",
    },
)
"""The classes of readers by kinds of data sets. Those of this package have their settings as
`SETTINGS`; those of other packages and files are described in docs/extending.md."""


class OwnDataset(BaseDataset, OwnCode):
    """Recordings that a class of a file reads, or of an installed package: of that the kind is the
    name there."""

    MEMBERS: ClassVar[Members] = READERS
    NAMED_BY: ClassVar[str] = "reader"
    WRITTEN: ClassVar[str] = f"kind: {CUSTOM}"

    kind: Literal["custom"]
    """A reader of your own, see docs/extending.md."""
    reader: str = CUSTOM
    """Filled in: `custom`, or the name in an installed package."""
    path: ExistingPath
    """File or folder that the reader is given."""
    settings: dict[str, int | float | bool | str] = Field({})
    """Further arguments of the class's constructor."""

    @field_validator("reader")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return known_member(name, READERS)

    @model_validator(mode="after")
    def _takes_its_settings(self) -> "OwnDataset":
        self.refuse_unknown(self.settings, ("path",))
        return self


def _of_installed(written: Any) -> Any:
    """A data set whose kind is the name of an installed package's reader, as an OwnDataset."""
    kind = written.get("kind") if isinstance(written, dict) else None
    if isinstance(kind, str) and kind != CUSTOM and READERS.is_installed(kind):
        return {**written, "kind": CUSTOM, "reader": kind}
    return written


DatasetConfig = Annotated[
    BaseDataset, OneOf(READERS, "kind", OwnDataset), BeforeValidator(_of_installed)
]


def settings_of(kind: Any) -> type[BaseDataset] | None:
    """The settings of a kind of data sets, whose reader is imported; None if comodo has no such
    kind."""
    is_known = isinstance(kind, str) and kind in READERS.built_in
    return READERS.get(kind).SETTINGS if is_known else None


def published_units(datasets: Mapping[str, DatasetConfig]) -> dict[str, Units]:
    """`PUBLISHED_UNITS` of each data set."""
    return {name: settings.PUBLISHED_UNITS for name, settings in datasets.items()}


def following(protocol: str, datasets: dict[str, Any], is_swept: bool) -> dict[str, Any]:
    """The data sets of a sweep file, as read from YAML, with the settings that `protocol` implies.

    Windows are made once for all trials of a sweep. So where its protocol `is_swept`, such a
    setting has to be written: raises ValueError for one that is not.
    """
    filled = {}
    for name, written in datasets.items():
        kind = written.get("kind") if isinstance(written, dict) else None
        of_kind = settings_of(kind)
        implied = {} if of_kind is None else of_kind.BY_PROTOCOL
        for key, published in implied.items():
            if of_kind is not None and is_swept and key not in written:
                values = " or ".join([str(of_kind.model_fields[key].default), published])
                raise ValueError(
                    f"datasets.{name}.{key}: follows the protocol, which is swept, but windows are "
                    f"made once for all trials; write {values}"
                )
        filled[name] = {**implied, **written} if implied and protocol == "published" else written
    return filled


def channels_of_kind(kind: Any) -> tuple[str, ...]:
    """The channels of the windows of a kind of data set, unless its settings say otherwise."""
    settings = settings_of(kind)
    return CHANNELS if settings is None else tuple(settings.model_fields["channels"].default)


def fold_split(settings: DatasetConfig) -> FoldSplit | None:
    """The data set's `split_by_group` if it makes folds."""
    shares = settings.split_by_group
    return shares if isinstance(shares, FoldSplit) else None
