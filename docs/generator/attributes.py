"""The string under a field is its documentation, here as in the code."""

from __future__ import annotations

import ast
import inspect
import textwrap


def documented(owner: type) -> dict[str, str]:
    """Field -> the string under it, in one line, of a class and those it comes from."""
    found: dict[str, str] = {}
    for source in reversed(owner.__mro__):
        if source.__module__.split(".")[0] in ("recognizer", "monitoring", "gateway", "training"):
            found |= _of_class(source)
    return found


def _of_class(owner: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, under in zip(tree.body, tree.body[1:], strict=False):
        target = field.target if isinstance(field, ast.AnnAssign) else None
        if isinstance(field, ast.Assign):
            target = field.targets[0] if isinstance(field.targets[0], ast.Name) else None
        if isinstance(target, ast.Name) and isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant):
            found[target.id] = " ".join(str(under.value.value).split())
    return found
