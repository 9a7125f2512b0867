"""Count what makes a house hard to extend, and say where it stands: `make house`.

Everything is read off the syntax tree of the package; nothing of it is imported. Exits 1 beyond the limits.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Lines of a file and of a function.
FILE_LINES, FUNCTION_LINES = 350, 60
#: Names with an underscore that are no private ones, or have no public form; and why.
ALLOWED = {
    "os._exit": "in Python's documentation",
    "torch.utils._python_dispatch": "in PyTorch's documentation, Extending PyTorch",
    "ATEN.": "the names of PyTorch's own operators, which graphs hold",
    "openvino._offline_transformations": "the only way to these passes that reports nothing to their maker",
}


@dataclass(frozen=True)
class Module:
    """A file of the package."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    def at(self, node: ast.AST) -> str:
        """Return where something stands, to click on."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


class House:
    """The modules of a package, and what is counted in them. Each count is a list of places."""

    def __init__(self, root: Path = ROOT, package: str = "edgecnn") -> None:
        self.package = package
        self.modules = {}
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            self.modules[name] = Module(name, path, path.read_text())

    # Options -----------------------------------------------------------------------------------------------

    def options(self) -> dict[tuple[str, str], list[str]]:
        """Return by command and option where that is declared: fields of its requests, and click's options.

        A request has the fields of its bases and of the groups in it; a command has the requests that its
        file names.
        """
        requests = _Requests(self.modules.values())
        places: dict[tuple[str, str], list[str]] = defaultdict(list)
        for module in self.modules.values():
            if not module.name.startswith(f"{self.package}.cli.commands."):
                continue
            command = module.name.rpartition(".")[2]
            named = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
            declared = set().union(*(requests.declared(name) for name in named))
            for option, place in sorted(declared):
                places[command, option].append(place)
            for option, place in _click_options(module):
                places[command, option].append(place)
        return places

    def declared_twice(self) -> list[str]:
        """Return the options with more than one declaration."""
        return [
            f"{command} --{option.replace('_', '-')}: {', '.join(found)}"
            for (command, option), found in sorted(self.options().items())
            if len(found) > 1
        ]

    # Backends ----------------------------------------------------------------------------------------------

    def backends(self) -> list[dict[str, object]]:
        """Return the rows of the table, as far as they are literals."""
        rows = []
        for node in ast.walk(self.modules[f"{self.package}.backends"].tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Backend":
                row: dict[str, object] = {}
                for keyword in node.keywords:
                    try:
                        row[str(keyword.arg)] = ast.literal_eval(keyword.value)
                    except ValueError:
                        continue
                rows.append(row)
        return rows

    def who_knows_a_backend(self) -> list[str]:
        """Return where a backend's name stands as a string, outside of the table and of its own files."""
        rows = self.backends()
        names = {name for row in rows for name in (row["name"], row["library"], *row.get("aliases", ()))}
        own = {str(row[key]).partition(":")[0] for row in rows for key in ("engine", "builder", "probe")}
        own |= {name.partition(":")[0] for row in rows for name in row.get("profilers", {}).values()}
        # A backend's own files begin with the same word: ort_engine, ort_builder, ort_binding.
        beginnings = {re.sub(r"_[^.]*$", "_", name) for name in own}
        places = []
        for module in self.modules.values():
            if module.name == f"{self.package}.backends" or module.name.startswith(tuple(beginnings)):
                continue
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Constant) and _names_one(node.value, names):
                    places.append(f"{module.at(node)} {str(node.value)[:60]!r}")
        return places

    def long_files(self) -> list[str]:
        """Return the files that are too long."""
        return [
            f"{module.path.relative_to(ROOT)} {lines}"
            for module in self.modules.values()
            if (lines := len(module.text.splitlines())) > FILE_LINES
        ]

    def long_functions(self) -> list[str]:
        """Return the functions that are too long, without decorators and docstrings."""
        places = []
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1
                if lines > FUNCTION_LINES:
                    places.append(f"{module.at(node)} {node.name} {lines}")
        return places

    # Imports -----------------------------------------------------------------------------------------------

    def imports(self, module: Module) -> set[str]:
        """Return the modules of the package that a module imports, wherever it does."""
        found = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in self.modules else node.module)
        return {name for name in found if name in self.modules} - {module.name}

    def circles(self) -> list[str]:
        """Return the sets of modules that import each other (Tarjan 1972, strongly connected components)."""
        graph = {name: sorted(self.imports(module)) for name, module in self.modules.items()}
        return [" ~ ".join(sorted(component)) for component in _components(graph) if len(component) > 1]

    def private_interfaces(self) -> list[str]:
        """Return where a private name of another library is imported or read.

        A name with an underscore is another's if nothing of the package is called so.
        """
        own = {name for module in self.modules.values() for name in _defined(module.tree)}
        places = []
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                name = None
                if (
                    isinstance(node, ast.ImportFrom)
                    and not node.level
                    and _is_foreign(node.module, self.package)
                ):
                    name = next(
                        (
                            f"{node.module}.{a.name}"
                            for a in node.names
                            if _private(f"{node.module}.{a.name}")
                        ),
                        None,
                    )
                elif isinstance(node, ast.Import):
                    name = next((a.name for a in node.names if _private(a.name)), None)
                elif isinstance(node, ast.Attribute) and _private(node.attr) and node.attr not in own:
                    name = ast.unparse(node)
                elif isinstance(node, ast.Call):
                    name = _required(node)
                if name and _private(name) and not name.startswith(tuple(ALLOWED)):
                    places.append(f"{module.at(node)} {name}")
        return places


#: What is counted: words, the method of House, the most there may be.
LIMITS = (
    ("options that are declared more than once", "declared_twice", 0),
    ("places outside of the table that know a backend", "who_knows_a_backend", 0),
    (f"files over {FILE_LINES} lines", "long_files", 0),
    (f"functions over {FUNCTION_LINES} lines", "long_functions", 0),
    ("import circles", "circles", 0),
    ("private interfaces of other libraries", "private_interfaces", 0),
)


class _Requests:
    """The classes whose fields are options, by the call of `option`; and what they take from each other."""

    def __init__(self, modules: Iterable[Module]) -> None:
        #: By class: its own options and where they stand; whose options it has as well, and without which.
        self._fields: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._others: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
        #: Functions that declare an option which several classes have, and where they stand.
        self._shared: dict[str, str] = {}
        for module in modules:
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
                    call = node.body[-1].value
                    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "option":
                        self._shared[node.name] = module.at(node)
        for module in modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    self._read(node, module)

    def _read(self, node: ast.ClassDef, module: Module) -> None:
        self._others[node.name] += [(base.id, set()) for base in node.bases if isinstance(base, ast.Name)]
        for item in node.body:
            call = item.value if isinstance(item, ast.AnnAssign) else None
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id == "option" and isinstance(item.target, ast.Name):
                settings = {keyword.arg: keyword.value for keyword in call.keywords}
                name = settings.get("name", ast.Constant(item.target.id))
                self._fields[node.name].append((str(ast.literal_eval(name)), module.at(item)))
            elif call.func.id in self._shared and isinstance(item.target, ast.Name):
                self._fields[node.name].append((item.target.id, self._shared[call.func.id]))
            elif call.func.id == "group" and call.args and isinstance(call.args[0], ast.Name):
                without = {str(ast.literal_eval(name)) for name in call.args[1:]}
                self._others[node.name].append((call.args[0].id, without))

    def declared(self, name: str) -> set[tuple[str, str]]:
        """Return the options of a class, with those of its bases and groups, and where they stand."""
        found = set(self._fields.get(name, ()))
        for other, without in self._others.get(name, ()):
            found |= {(option, place) for option, place in self.declared(other) if option not in without}
        return found


def _click_options(module: Module) -> Iterator[tuple[str, str]]:
    """Yield each option that a file gives click by name, and where."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "option":
            for word in node.args:
                if isinstance(word, ast.Constant) and str(word.value).startswith("--"):
                    yield str(word.value).partition("/")[0][2:].replace("-", "_"), module.at(node)


def _names_one(value: object, names: set[object]) -> bool:
    """Return whether a string is a backend's name, gives it to `--backend`, or lists two of them."""
    if not isinstance(value, str) or "\n\n" in value:
        return False
    if value in names:
        return True
    words = value.replace(",", " ").replace(";", " ").split()
    if any(word == "--backend" and following in names for word, following in itertools.pairwise(words)):
        return True
    return sum(word in names for word in words) > 1


def _private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def _required(node: ast.AST) -> str | None:
    """Return the module that a call of `require` or `import_module` imports, if it is one."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return None
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return str(node.args[0].value) if called in ("require", "import_module") else None


def _is_foreign(module: str | None, package: str) -> bool:
    return module is not None and module.partition(".")[0] not in (package, "__future__")


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield the private names that a module gives: of functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _components(graph: dict[str, list[str]]) -> list[list[str]]:
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            component: list[str] = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            components.append(component)

    sys.setrecursionlimit(10_000)
    for node in graph:
        if node not in order:
            visit(node)
    return components


def main() -> None:
    """Print the counts, and end with 1 where one is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    asked = parser.parse_args()
    house = House()
    counts = {method: getattr(house, method)() for _, method, _ in LIMITS}
    if asked.json:
        print(json.dumps(counts, indent=1))
    else:
        for words, method, limit in LIMITS:
            found = counts[method]
            print(f"{'ok ' if len(found) <= limit else 'NO '} {len(found):4}  {words}")
            for place in found:
                print(f"           {place}")
        print(f"     {len(house.options()):4}  options of {len({c for c, _ in house.options()})} commands")
    sys.exit(any(len(counts[method]) > limit for _, method, limit in LIMITS))


if __name__ == "__main__":
    main()
