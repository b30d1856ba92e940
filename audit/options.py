"""Commands made from config dataclasses: a field is an option, its docstring is the help text."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

C = TypeVar("C")
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else there.")]
DEBUG = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def field_docs(config: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and of its bases, one line each."""
    docs: dict[str, str] = {}
    for owner in reversed([c for c in config.__mro__ if is_dataclass(c)]):
        docs |= _own_docs(owner)
    return docs


@cache
def _own_docs(config: type) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    docs: dict[str, str] = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_string(text):
            docs[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[attr-defined]
    return docs


def command_of(
    config: type[C], positional: tuple[str, ...] = ()
) -> Callable[[Callable[[C, bool], None]], Callable[..., None]]:
    """Decorator that turns `body(config, json)` into a command with one option per field of `config`.

    Args:
        config: a dataclass with a docstring under each field.
        positional: fields that are arguments rather than options.
    """

    def decorate(body: Callable[[C, bool], None]) -> Callable[..., None]:
        def command(json: bool = False, **values: Any) -> None:
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            body(config(**{**values, **lists}), json)

        parameters = [parameter_of(config, field, field.name in positional) for field in fields(config)]  # type: ignore[arg-type]
        return with_signature(command, body, [*parameters, keyword("json", JSON, False)])

    return decorate


def with_signature(
    command: Callable[..., None], source: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Gives `command` the name and help of `source` and the parameters that the CLI should show."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__, command.__name__ = source.__doc__, source.__name__
    return command


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword-only parameter."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def parameter_of(config: type, field: Field[Any], positional: bool) -> inspect.Parameter:
    """A field of a config as the parameter that the CLI shows."""
    doc = field_docs(config).get(field.name, "")
    hint = get_type_hints(config)[field.name]
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    declared = (f"--{field.name.replace('_', '-')}",) if hint is bool else ()
    metavar = None
    if get_origin(hint) is tuple:
        hint, metavar = list[get_args(hint)[0]], "<str>"  # type: ignore[misc]
        default = list(field.default)  # type: ignore[arg-type]
    if positional:
        info: Any = typer.Argument(help=doc, show_default=False)
    else:
        info = typer.Option(*declared, help=doc, metavar=metavar)
    return keyword(field.name, Annotated[hint, info], default)


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
