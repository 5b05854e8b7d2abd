"""Members of open sets, such as the students: classes by name, also those of other packages and of
the user's own files. What is known of a class before it is used is read from its text: its literal
constants and its arguments. That runs nothing; only `run` and `get` do. Knows no kind of member.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

MAX_BYTES = 200_000


class CodeError(ValueError):
    """Code that is not what it has to be; the message names it, what is wrong, and the fix."""


@dataclass(frozen=True)
class Code:
    """A class, or a function, as the text of its file."""

    file: str
    """In messages and tracebacks."""
    name: str
    text: str
    may_run: bool = False
    """Whether the user allows that."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The constants that are literals: in capitals, assigned in the class, or in those of the
        same file that it inherits from; of a function those of its file. Raises CodeError."""
        found: dict[str, Any] = {}
        for body in reversed([node.body for node in self._classes] or [self._module.body]):
            for name, value in _assigned(body):
                found[name] = value
        return found

    @cached_property
    def arguments(self) -> tuple[str, ...] | None:
        """Names of the arguments of the class (without `self`) or function; None: not known, or it
        takes any. Raises CodeError."""
        definition = self._definition
        functions = _initialisers(self._classes)
        if isinstance(definition, ast.FunctionDef):
            functions = [definition]
        if not functions or functions[0].args.kwarg:
            return None
        taken = functions[0].args
        names = [each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
        return tuple(names[isinstance(definition, ast.ClassDef) :])

    def run(self) -> Any:
        """The class or function; runs the text. Raises CodeError, also if it may not run."""
        if not self.may_run:
            raise CodeError(f"{self.file} is code that was not allowed to run")
        _ = self._definition
        module = _module(f"comodo_own_{self.digest[:16]}", self)
        return getattr(module, self.name)

    @cached_property
    def _module(self) -> ast.Module:
        try:
            return _parsed(self.text)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
            raise CodeError(f"{self.file}{line}: not valid Python: {error}") from None

    @cached_property
    def _definition(self) -> ast.ClassDef | ast.FunctionDef:
        known = {
            node.name: node
            for node in self._module.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
        }
        if self.name not in known:
            names = ", ".join(known) or "no class or function"
            raise CodeError(f"{self.file} defines no {self.name}; it has {names}")
        return known[self.name]

    @cached_property
    def _classes(self) -> list[ast.ClassDef]:
        """The class and those of its file that it inherits from, nearest first; of a function
        none."""
        first, of_file = self._definition, self._module.body
        if not isinstance(first, ast.ClassDef):
            return []
        by_name = {node.name: node for node in of_file if isinstance(node, ast.ClassDef)}
        found, left = list[ast.ClassDef](), [first]
        while left:
            node = left.pop(0)
            if node not in found:
                found.append(node)
                names = [base.id for base in node.bases if isinstance(base, ast.Name)]
                left += [by_name[name] for name in names if name in by_name]
        return found


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """The constants in capitals that these lines assign literals to."""
    for line in body:
        if isinstance(line, ast.Assign):
            target, value = line.targets[0], line.value
        elif isinstance(line, ast.AnnAssign) and line.value is not None:
            target, value = line.target, line.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id.isupper():
            with suppress(ValueError, TypeError, RecursionError):  # it is computed, so not known
                yield target.id, ast.literal_eval(value)


def _initialisers(classes: Iterable[ast.ClassDef]) -> list[ast.FunctionDef]:
    return [
        line
        for node in classes
        for line in node.body
        if isinstance(line, ast.FunctionDef) and line.name == "__init__"
    ]


@cache
def _module(name: str, code: Code) -> ModuleType:
    """A new module whose text was run; tracebacks show its lines."""
    module = ModuleType(name)
    module.__file__ = code.file
    linecache.cache[code.file] = (len(code.text), None, code.text.splitlines(True), code.file)
    sys.modules[name] = module  # where dataclasses and torch look a class's module up
    try:
        exec(compile(code.text, code.file, "exec"), module.__dict__)
    except Exception as error:  # whatever it raises, it is its author's to correct
        del sys.modules[name]
        raise CodeError(f"{code.file} cannot be run: {type(error).__name__}: {error}") from error
    return module


def read_code(path: Path) -> str:
    """The text of a file of Python code. Raises CodeError."""
    try:
        if not path.is_file():
            raise CodeError(f"{path} does not exist; give a file that does")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CodeError(f"{path} has {size} bytes; at most {MAX_BYTES} are read")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CodeError(f"{path} cannot be read: {error}") from None


class Members:
    """The members of one kind: those of this package, and those that installed packages declare as
    entry points of a group, such as `comodo.students`. Both are written `module:Class`.

    A package that is broken is noticed only where one of its members is used.
    """

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        self.group, self.built_in = group, dict(built_in)

    @cached_property
    def installed(self) -> dict[str, str]:
        """The members of other packages. Names of this package's own members stay theirs."""
        found = importlib.metadata.entry_points(group=self.group)
        return {entry.name: entry.value for entry in found if entry.name not in self.built_in}

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self.installed

    def is_installed(self, name: str) -> bool:
        """Whether it is of another package."""
        return name not in self.built_in and name in self.installed

    def names(self) -> list[str]:
        """All names, first this package's."""
        return [*self.built_in, *self.installed]

    def code(self, name: str) -> Code:
        """A member's text, without importing its module. Raises CodeError."""
        module, _, attribute = self._place(name).partition(":")
        try:
            spec = importlib.util.find_spec(module)
            source = getattr(spec and spec.loader, "get_source", lambda module: None)(module)
        except Exception as error:  # of a parent package, which this imports
            raise self._broken(name, error) from error
        if source is None:
            raise self._broken(name, ImportError(f"no source of {module}"))
        return Code(module, attribute, source)

    def get(self, name: str) -> Any:
        """A member; imports its module. Raises CodeError."""
        module, _, attribute = self._place(name).partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever an installed package raises
            if name in self.built_in:
                raise
            raise self._broken(name, error) from error

    def _place(self, name: str) -> str:
        return self.built_in[name] if name in self.built_in else self.installed[name]

    def _broken(self, name: str, error: Exception) -> CodeError:
        reason = f"{type(error).__name__}: {error}"
        return CodeError(
            f"'{name}', which an installed package declares in {self.group} as "
            f"{self._place(name)}, cannot be used: {reason}; update or remove that package"
        )
