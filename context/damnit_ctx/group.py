"""Groups: classes of variables that are instantiated once per detector, motor, sample ...

A group's class is a dataclass, with instances in the context file; the variables of an instance are called
``instance.variable``. :func:`expand` turns them into ordinary variables after the file has been executed.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Callable, Optional, TypeVar, Union, overload

from .errors import GroupError
from .variable import GroupVariable, Variable, identifier, normalized_tags, string_annotations

_Class = TypeVar("_Class", bound=type)

_OWN_FIELDS: dict[str, Any] = {"name": None, "title": None, "tags": None, "sep": "/"}
_GLOB = re.compile(r"[*?\[]")


@overload
def Group(cls: _Class) -> _Class: ...


@overload
def Group(*, tags: Union[str, Iterable[str], None] = None) -> Callable[[_Class], _Class]: ...


def Group(cls: Any = None, *, tags: Union[str, Iterable[str], None] = None) -> Any:
    """Turns a class of variables into a group. Use it as a decorator, also on subclasses.

    ::

        @Group(tags="motor")
        class Motor:
            device: str

            @Variable(title="Position")
            def position(self, run):
                return run[self.device, "actualPosition"].as_single_value()

            @Variable(title="Position [um]")
            def micrometres(self, run, mm: "self#position"):
                return mm * 1000

        sample_x = Motor(device="SPB_SAMPLE/MOTOR/X")    # variables sample_x.position, sample_x.micrometres

    Args:
        tags: added to each variable of each instance; a subclass inherits them unless it has its own.

    Annotated attributes are keyword arguments of the instance. Each group has four more: ``name`` (default: the name
    it is assigned to), ``title`` (default: the name), ``tags``, and ``sep``, the separator between the group's and the
    variable's title.

    ``"self#x"`` refers to a variable of this group, or to the variable of another group in the attribute ``x``
    (``"self#x.y"``: in a nested group). An attribute that is ``None`` has no value.
    """

    def decorate(cls: type) -> type:
        return _make_group(cls, tags)

    return decorate if cls is None else decorate(cls)


def is_group(obj: Any) -> bool:
    """Whether it is an instance of a group."""
    return hasattr(type(obj), "__damnit_group__")


def _make_group(cls: Any, tags: Any) -> type:
    # Most files have no groups, and importing it takes some milliseconds.
    from dataclasses import dataclass

    annotations = _own_annotations(cls)
    for reserved in sorted(set(_OWN_FIELDS) & (set(annotations) | set(cls.__dict__))):
        raise GroupError(
            f"class {cls.__name__}: {reserved!r} is an attribute of every group; choose another name"
        )
    if tags is None:
        tags = next((base.__damnit_tags__ for base in cls.__mro__[1:] if "__damnit_tags__" in vars(base)), ())
    cls.__damnit_group__ = True
    cls.__damnit_tags__ = normalized_tags(tags)
    for own, default in _OWN_FIELDS.items():
        annotations[own] = object
        setattr(cls, own, cls.__damnit_tags__ if own == "tags" else default)
    cls.__annotations__ = annotations
    made: Any = dataclass(init=False)(cls)
    if "__init__" not in vars(cls):
        made.__init__ = _keyword_init
    return made  # type: ignore[no-any-return]


def _own_annotations(cls: type) -> dict[str, Any]:
    """The annotations of the class itself. (Up to Python 3.9, the class attribute may be that of its base.)"""
    if sys.version_info >= (3, 10):
        return dict(inspect.get_annotations(cls))
    return dict(vars(cls).get("__annotations__", {}))


def _keyword_init(self: Any, *positional: Any, **given: Any) -> None:
    """``__init__`` of every group: all fields by keyword, those without a default required.

    Dataclasses have keyword-only fields only since Python 3.10; without these, a field without default could not
    follow the four fields of every group.
    """
    from dataclasses import MISSING

    group = type(self).__name__
    if positional:
        raise TypeError(f"{group}() takes its arguments by keyword: {group}(name=value)")
    missing = []
    init_only = {}
    for name, field in type(self).__dataclass_fields__.items():
        kind = field._field_type.name
        if kind == "_FIELD_CLASSVAR":
            continue
        if field.init and name in given:
            value = given.pop(name)
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            if field.init:
                missing.append(name)
            continue
        if kind == "_FIELD_INITVAR":
            init_only[name] = value
        else:
            setattr(self, name, value)
    if missing:
        raise TypeError(f"{group}() needs {', '.join(f'{name}=' for name in missing)}")
    if given:
        raise TypeError(f"{group}() has no argument {', '.join(map(repr, given))}")
    self.tags = normalized_tags(self.tags)
    if self.title is None:
        self.title = self.name
    if hasattr(self, "__post_init__"):
        self.__post_init__(*init_only.values())


def nested(group: Any) -> Iterable[tuple[str, Any]]:
    """The groups that are attributes of a group: attribute, group."""
    return [(attribute, value) for attribute, value in vars(group).items() if is_group(value)]


def assign_names(namespace: Mapping[str, Any]) -> None:
    """Names groups without a name after the variable that they are assigned to in the file.

    A nested group is called ``outer.attribute``. Of several paths to a group, the shortest counts.

    Raises:
        GroupError: a group has two names that are equally short.
    """
    places: dict[int, tuple[Any, int, set[str]]] = {}
    pending: deque[tuple[Any, str, int]] = deque(
        (value, value.name or name, 0)
        for name, value in namespace.items()
        if is_group(value) and not name.startswith("__")
    )
    walked: set[tuple[int, str]] = set()
    while pending:  # breadth first, so that the first depth seen is the smallest
        group, path, depth = pending.popleft()
        _, known_depth, names = places.setdefault(id(group), (group, depth, set()))
        if depth > known_depth or (id(group), path) in walked:
            continue
        walked.add((id(group), path))
        names.add(path)
        pending.extend((inner, f"{group.name or path}.{attribute}", depth + 1) for attribute, inner in nested(group))
    for group, _, names in places.values():
        if group.name is None:
            if len(names) > 1:
                raise GroupError(
                    f"a group {type(group).__name__} is assigned to several names ({', '.join(sorted(names))}): "
                    "say which is meant by name="
                )
            group.name = names.pop()
        if group.title is None:
            group.title = str(group.name).replace(".", group.sep)


def expand(groups: Iterable[Any], existing: Iterable[str] = ()) -> dict[str, Variable]:
    """The variables of these groups and of those inside them: ``group.variable`` → variable.

    Raises:
        GroupError: a group without a valid name, two with the same name, or a reference to something missing.
    """
    found: dict[int, Any] = {}
    pending = list(groups)
    while pending:
        group = pending.pop(0)
        if id(group) not in found:
            found[id(group)] = group
            pending.extend(inner for _, inner in nested(group))
    by_name: dict[str, Any] = {}
    for group in found.values():
        name = require_name(group)
        if by_name.setdefault(name, group) is not group:
            raise GroupError(f"two groups have the name {name!r}: rename one of them with name=")
    taken = set(existing)
    variables: dict[str, Variable] = {}
    for group in found.values():
        for name, variable in _variables_of(group).items():
            if name in taken or name in variables:
                raise GroupError(f"there are two variables {name!r}, one of them in the group {group.name!r}")
            variables[name] = variable
    return variables


def require_name(group: Any) -> str:
    """The group's name.

    Raises:
        GroupError: it has none, or one that is not a text.
    """
    name = group.name
    if name is None:
        raise GroupError(
            f"a group {type(group).__name__} has no name: assign it to a name in the context file, or pass name="
        )
    if not isinstance(name, str) or not name:
        raise GroupError(f"a group {type(group).__name__} has the name {name!r}: it must be a non-empty string")
    return name


def _variables_of(group: Any) -> dict[str, Variable]:
    declared: dict[str, Variable] = {}
    for cls in reversed(type(group).__mro__):
        for name, value in vars(cls).items():
            if isinstance(value, Variable) and name not in type(group).__dataclass_fields__:
                declared[name] = value
            elif name in declared:
                del declared[name]  # a subclass put something else there
    if group.title is None:
        group.title = group.name
    expanded: dict[str, Variable] = {}
    for variable in declared.values():
        bound = variable.func.__get__(group, type(group))
        own = copy(variable)
        own.func = bound
        own.name = identifier(f"{group.name}.{variable.name}")
        own.title = f"{group.title}{group.sep}{variable.title}"
        own.tags = tuple(sorted({*group.tags, *normalized_tags(variable.tags)}, key=str))
        annotations = {}
        for argument, annotation in string_annotations(variable.func).items():
            if annotation.startswith("self#"):
                annotation, placeholder = _resolve(annotation[len("self#") :], group)
                if placeholder is not None:
                    expanded[placeholder.name] = placeholder
            annotations[argument] = annotation
        own._resolved_annotations = annotations
        expanded[own.name] = own
    return expanded


def _resolve(path: str, group: Any) -> tuple[str, Optional[Variable]]:
    """The ``var#`` annotation for ``self#path``, and its placeholder if the attribute is not set."""
    attribute, _, rest = path.partition(".")
    try:
        value = getattr(group, attribute)
    except AttributeError:
        if _GLOB.search(path):
            return identifier(f"var#{group.name}.{path}"), None
        raise GroupError(
            f"'self#{path}' in the group {group.name!r}: {type(group).__name__} has no attribute {attribute!r}"
        ) from None
    if value is None:
        placeholder = _placeholder(group, path)
        return f"var#{placeholder.name}", placeholder
    if rest:
        return _resolve(rest, value)
    if not isinstance(value, (Variable, GroupVariable)):
        raise GroupError(
            f"'self#{path}' in the group {group.name!r}: the attribute {attribute!r} is a "
            f"{type(value).__name__}, not a Variable"
        )
    return f"var#{value.name}", None


def _placeholder(group: Any, path: str) -> Variable:
    """A variable without a value, in place of an attribute that is ``None``. Its name tells which one."""

    def no_value(run: Any) -> None:
        return None

    placeholder = Variable(transient=True)(no_value)
    placeholder.description = f"The link {path!r} of the group {group.name!r}, which is not set"
    placeholder.name = f"{group.name}.__missing__.{re.sub(r'[^0-9A-Za-z_.]', '_', path)}"
    placeholder.title = placeholder.name
    return placeholder
