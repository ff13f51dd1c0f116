"""The public API of a distribution as a text that people can read, made from its sources.

Sources and not objects: so it holds what type checkers see (overloads, annotations as they were written), is the
same on every Python, and nothing needs to be installed.
"""

from __future__ import annotations

import ast
import copy
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The public modules of each distribution; all others are free to change.
PUBLIC = {
    "subwatch": (
        *("subwatch", "subwatch.aio", "subwatch.errors", "subwatch.processors.progress", "subwatch.records"),
        *("subwatch.sinks", "subwatch.testing"),
    ),
    **{
        name: (name,)
        for name in ("subwatch_loki", "subwatch_opentelemetry", "subwatch_rich", "subwatch_sentry")
    },
}


def listing(package):
    """List the public modules of a package: what is in their ``__all__``, with signatures and attributes."""
    lines, keywords = [], {}
    for name in PUBLIC[package]:
        module = _Module.load(name)
        lines.append(f"module {name}")
        for exported in module.exported:
            lines += ["    " + line for line in _describe(module, exported, keywords)]
        lines.append("")
    for name in sorted(keywords):
        lines += keywords[name]
    return "\n".join(lines).strip() + "\n"


class _Module:
    known = {}

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.tree = ast.parse(path.read_text("utf-8"))
        self.definitions, self.imports, self.exported = {}, {}, []
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    base = ".".join(
                        filter(
                            None,
                            [package.rsplit(".", node.level - 1)[0] if node.level > 1 else package, base],
                        )
                    )
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (base, alias.name)
        for node in _toplevel(self.tree.body):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.definitions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.definitions.setdefault(node.target.id, []).append(node)
            elif isinstance(node, ast.Assign):
                for name, value in _assigned(node):
                    self.definitions.setdefault(name, []).append(value)
                    if name == "__all__":
                        self.exported = sorted(ast.literal_eval(value))

    @classmethod
    def load(cls, name):
        if name not in cls.known:
            package = name.partition(".")[0]
            home = (
                ROOT if package == "subwatch" else ROOT / "integrations" / package.removeprefix("subwatch_")
            )
            root = home.joinpath("src", *name.split("."))
            path = root / "__init__.py" if root.is_dir() else root.with_suffix(".py")
            cls.known[name] = cls(name, path)
        return cls.known[name]

    def find(self, name):
        """Where a name is defined, and by what; None where that is another distribution."""
        if name in self.definitions:
            return self, self.definitions[name]
        base, original = self.imports.get(name, ("", ""))
        if base.partition(".")[0] != self.name.partition(".")[0]:
            return None
        try:
            return _Module.load(base).find(original)
        except FileNotFoundError:
            return None


def _toplevel(body):
    for node in body:
        yield node
        if isinstance(node, ast.If):  # TYPE_CHECKING
            yield from _toplevel(node.body)
            yield from _toplevel(node.orelse)


def _assigned(node):
    for target in node.targets:
        if isinstance(target, ast.Tuple):
            parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(target.elts)
            yield from ((part.id, value) for part, value in zip(target.elts, parts))
        elif isinstance(target, ast.Name):
            yield target.id, node.value


def _describe(module, name, keywords):
    found = module.find(name)
    if found is None:
        return [name]
    home, nodes = found
    for other in PUBLIC[module.name.partition(".")[0]]:
        if f"{home.name}.".startswith(f"{other}.") and len(other) > len(module.name):
            return [f"{name}: see {other}"]
    nodes = [node for node in nodes if isinstance(node, type(nodes[0]))]
    if isinstance(nodes[0], ast.ClassDef):
        return _class(home, nodes[0], keywords)
    if isinstance(nodes[0], ast.AnnAssign):
        return [f"{name}: {ast.unparse(nodes[0].annotation)}"]
    if isinstance(nodes[0], ast.expr):
        value = ast.unparse(nodes[0])
        return [f"{name} = {value}" if len(value) <= 100 else name]
    nodes = [(home, node) for node in nodes]
    return [line for home, node in _visible(nodes) for line in _function(home, node, "", keywords)]


def _visible(nodes):
    """Of an overloaded function the overloads, else the function."""
    overloads = [(home, node) for home, node in nodes if "overload" in map(ast.unparse, node.decorator_list)]
    return overloads or nodes


def _function(home, node, indent, keywords):
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    marks = [
        f"{indent}@{mark}"
        for mark in map(ast.unparse, node.decorator_list)
        if mark in ("classmethod", "staticmethod")
    ]
    unpacked = node.args.kwarg and node.args.kwarg.annotation
    if isinstance(unpacked, ast.Subscript) and ast.unparse(unpacked.value) == "Unpack":
        _keywords(home, ast.unparse(unpacked.slice), keywords)
    return [*marks, f"{indent}{kind} {node.name}({ast.unparse(node.args)}){returns}"]


def _keywords(home, name, keywords):
    """A TypedDict of keywords, and those that it is made of."""
    found = home.find(name)
    if found is None or name in keywords:
        return
    home, (node, *_) = found
    bases = [base for base in map(ast.unparse, node.bases) if base != "TypedDict"]
    keywords[name] = [f"keywords {name}({', '.join(bases)})" if bases else f"keywords {name}"]
    keywords[name] += [
        f"    {item.target.id}: {ast.unparse(item.annotation)}"
        for item in node.body
        if isinstance(item, ast.AnnAssign)
    ]
    for base in bases:
        _keywords(home, base, keywords)


def _class(home, node, keywords):
    bases = ", ".join(map(ast.unparse, node.bases))
    return [f"class {node.name}({bases})" if bases else f"class {node.name}", *_members(home, node, keywords)]


def _members(home, node, keywords):
    """Members of a class and of those of its bases that are not public themselves."""
    attributes, methods = {}, {}
    _collect(home, node, attributes, methods)
    lines = [f"    {name}{kind}" for name, kind in sorted(attributes.items())]
    for name in sorted(methods, key=lambda name: (name != "__init__", name)):
        for where, method in _visible(methods[name]):
            marks = list(map(ast.unparse, method.decorator_list))
            if "property" in marks:
                lines.append(
                    f"    {name}: {ast.unparse(method.returns) if method.returns else '?'}  (read only)"
                )
            elif not any(mark.endswith(".setter") for mark in marks):
                lines += _function(where, method, "    ", keywords)
    return lines


def _collect(home, node, attributes, methods):
    for base in node.bases:
        found = home.find(ast.unparse(base).partition("[")[0])
        if found is not None and isinstance(found[1][0], ast.ClassDef) and base is not node:
            where, (parent, *_) = found
            if parent.name.startswith("_") or parent.name not in where.exported:
                _collect(where, parent, attributes, methods)
    own = {}
    for item in _toplevel(node.body):
        if isinstance(item, ast.AnnAssign) and not item.target.id.startswith("_"):
            kind = ast.unparse(item.annotation)
            if calls := list(_calls(home, kind, item.target.id)):  # typed as what is called
                own[item.target.id] = calls
                continue
            attributes[item.target.id] = (
                f": {kind} = {ast.unparse(item.value)}" if item.value else f": {kind}"
            )
        elif isinstance(item, ast.Assign):
            for name, value in _assigned(item):
                if not name.startswith("_"):
                    attributes[name] = f" = {ast.unparse(value)}"
        elif isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if item.name == "__init__":
                _instance_attributes(item, attributes)
            if not item.name.startswith("_") or (item.name.startswith("__") and item.name not in _OBJECT):
                own.setdefault(item.name, []).append((home, item))
    methods.update(own)


def _calls(home, kind, name):
    """The overloads of a protocol that is called, as functions of a name."""
    found = home.find(kind) if kind.isidentifier() else None
    if found is not None and isinstance(found[1][0], ast.ClassDef):
        for node in found[1][0].body:
            if isinstance(node, ast.FunctionDef) and node.name == "__call__":
                node = copy.copy(node)
                node.name = name
                yield found[0], node


# What every object has, and what is how a promise is kept rather than the promise.
_OBJECT = {
    *("__repr__", "__eq__", "__hash__", "__str__", "__del__", "__getstate__", "__setstate__", "__reduce__"),
    *("__init_subclass__", "__getattr__", "__setattr__", "__delattr__"),
}


def _instance_attributes(function, attributes):
    kinds = {arg.arg: arg.annotation for arg in [*function.args.args, *function.args.kwonlyargs]}
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign):
            targets, kind = [node.target], ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            given = kinds.get(node.value.id) if isinstance(node.value, ast.Name) else None
            targets, kind = node.targets, ast.unparse(given) if given is not None else ""
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                if not target.attr.startswith("_"):
                    attributes[target.attr] = f": {kind}" if kind else ""
