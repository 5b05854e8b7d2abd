"""Settings that are next to the code which they are for: a member of an open set has its settings
class as `SETTINGS`. The module of a member is imported only where settings that name it are read,
so reading a sweep file takes no longer with every member that there is. Knows no kind of member.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from comodo.config.own_code import CUSTOM, OwnCode
from comodo.core.members import Members
from comodo.core.settings import Settings


@dataclass(frozen=True)
class OneOf:
    """Marks a value as the settings of a member of this package, whose name is at `key`, or those
    of `own` code: `Annotated[Base, OneOf(MEMBERS, "name", OwnMember)]`."""

    members: Members
    key: str
    own: type[OwnCode]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {
            name: handler.generate_schema(Annotated[Any, _Imported(self.members, name)])
            for name in self.members.built_in
        }
        choices[CUSTOM] = handler.generate_schema(self.own)
        return core_schema.tagged_union_schema(choices, self.key)


@dataclass(frozen=True)
class _Imported:
    """Marks a value as the settings of one member, which is imported when there is such a value, or
    for the JSON schema."""

    members: Members
    name: str

    @property
    def settings(self) -> type[Settings]:
        found: type[Settings] = self.members.get(self.name).SETTINGS
        return found

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(self.settings.__pydantic_core_schema__)

    def _checked(self, value: Any, info: ValidationInfo) -> Settings:
        return self.settings.model_validate(value, context=info.context)
