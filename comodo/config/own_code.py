"""Settings that name code: a member of this package or of an installed one by its name, or a class
of a file, which the sweep file has to allow. Reads such code as text and runs none of it.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from comodo.config.base import ConfigError
from comodo.core.errors import nearest
from comodo.core.members import Code, CodeError, Members, read_code
from comodo.core.settings import ADDED_LATER, FILLED_IN, NOT_IN_KEY, Settings

CUSTOM = "custom"
"""The name of members that are classes of the user's files."""


def _is_none(value: Any) -> bool:
    return value is None


class OwnCode(Settings):
    """A member of an open set."""

    model_config = ConfigDict(serialize_by_alias=True)

    MEMBERS: ClassVar[Members]
    NAMED_BY: ClassVar[str] = "name"
    """The key with the member's name."""
    WRITTEN: ClassVar[str] = f"name: {CUSTOM}"
    """What stands before `file` where a class of a file is meant."""

    file: Annotated[str | None, NOT_IN_KEY] = Field(None, exclude_if=_is_none)
    """`custom`: a Python file, which has to be listed in `allow_code`. See docs/extending.md."""
    class_name: Annotated[str | None, ADDED_LATER] = Field(
        None, alias="class", exclude_if=_is_none, pattern=r"^[A-Za-z_]\w*$"
    )
    """`custom`: the class in `file`."""
    code: Annotated[str | None, ADDED_LATER, FILLED_IN] = Field(None, exclude_if=_is_none)
    """Filled in, not to be written: the SHA-256 of `file`, or the version of an installed package's
    class. It is part of the keys of what is computed with it."""

    _text: str | None = PrivateAttr(None)
    _may_run: bool = PrivateAttr(False)

    @model_validator(mode="before")
    @classmethod
    def _identified(cls, data: Any, info: ValidationInfo) -> Any:
        """The settings with `code`, which another file, or a change of it, changes."""
        if not isinstance(data, dict):
            return data
        context, name, file = info.context or {}, data.get(cls.NAMED_BY), data.get("file")
        if isinstance(file, str):
            texts: Mapping[str, str] = context.get("code", {})
            if file in texts:
                return {**data, "code": Code(file, "", texts[file]).digest}
            if "code" in context:
                raise ValueError(
                    f"file: {file} is code, and is run only if the sweep file allows it; read it, "
                    f"then add allow_code: [{file}]"
                )
        elif isinstance(name, str) and cls.MEMBERS.is_installed(name):
            recorded = data.get("code") if context.get("read_back") else None
            return {**data, "code": recorded or f"version {cls._version(name)}"}
        return data

    @classmethod
    def _version(cls, name: str) -> Any:
        code = cls.MEMBERS.code(name)
        if (version := code.constants.get("VERSION")) is None:
            raise ValueError(
                f"{cls.NAMED_BY}: '{name}' of {code.file} has no VERSION; its class needs one, "
                "such as VERSION = 1, which is raised when its numbers change"
            )
        return version

    @model_validator(mode="after")
    def _names_its_code(self, info: ValidationInfo) -> "OwnCode":
        name = getattr(self, self.NAMED_BY)
        if name != CUSTOM:
            for key in ("file", "class_name"):
                if getattr(self, key) is not None:
                    key = "class" if key == "class_name" else key
                    raise ValueError(f"{key}: only for {self.NAMED_BY}: {CUSTOM}; remove {key}")
            return self
        if self.file is None or self.class_name is None:
            key = "file" if self.file is None else "class"
            example = f"{{{self.WRITTEN}, file: my_code.py, class: Mine}}"
            raise ValueError(f"{key}: is missing; write {example}")
        context = info.context or {}
        self._text = context.get("code", {}).get(self.file)
        self._may_run = not context.get("read_back")  # a store may be somebody else's
        if (own := self.own_code) is not None:
            _ = own.arguments  # raises CodeError, if there is no such class
        return self

    def __eq__(self, other: object) -> bool:
        """As the settings are, whether their code was recorded or read."""
        return type(self) is type(other) and vars(self) == vars(other)

    @property
    def own_code(self) -> Code | None:
        """The class of the user's file; None for other members, and where only what was recorded of
        them is known."""
        if self._text is None:
            return None
        return Code(str(self.file), str(self.class_name), self._text, self._may_run)

    @property
    def texts(self) -> dict[str, str]:
        """The text of its file, by name, as `allowed_code` gives it."""
        return {} if self._text is None else {str(self.file): self._text}

    @property
    def read_code(self) -> Code | None:
        """The class as text, wherever it is from; None as for `own_code`."""
        name = getattr(self, self.NAMED_BY)
        return self.own_code if name == CUSTOM else self.MEMBERS.code(name)

    def refuse_unknown(self, settings: Collection[str], given: Collection[str]) -> None:
        """Raises ValueError for one of `settings` that the class does not take, as far as that is
        known; `given`: arguments that are not settings."""
        code = self.read_code
        known = None if code is None else code.arguments
        if known is None:
            return
        for key in settings:
            if key not in known:
                close = nearest(key, [name for name in known if name not in given])
                raise ValueError(f"settings.{key}: unknown{close}")


def known_member(name: str, members: Members) -> str:
    """The name, if it is that of a member, or CUSTOM; ValueError for another one."""
    if name not in members and name != CUSTOM:
        raise ValueError(f"unknown '{name}'{nearest(name, [*members.names(), CUSTOM])}")
    return name


def allowed_code(data: Any, folder: Path) -> dict[str, str]:
    """The texts of the files that a sweep file allows to run, as it names them. Raises ConfigError
    for one that cannot be read."""
    files = data.get("allow_code") if isinstance(data, dict) else None
    texts = {}
    for file in files if isinstance(files, list) else ():
        if isinstance(file, str):
            try:
                texts[file] = read_code(folder / Path(file).expanduser())
            except CodeError as error:
                raise ConfigError.at("allow_code", str(error)) from None
    return texts
