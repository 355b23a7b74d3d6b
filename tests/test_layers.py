"""The promise: imports point down only, no module needs another one's private parts, and every module can be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "aecodec"
# Rooms, from the roof to the ground; each may import what is below it, and itself (docs/architecture.md).
LAYERS = (
    ("command",),
    ("cli",),
    ("training",),
    ("archive", "benchmark", "plugins"),
    ("native",),
    ("codec",),
    ("encoding", "salvaging", "tensors"),
    ("description", "facts", "many", "patching", "rate"),
    ("analysis", "canvas"),
    ("inputs", "models", "patches"),
    ("families",),
    ("exact", "options", "picture", "pipeline"),
    ("coding", "container", "files", "metrics", "perceptual"),
    ("errors", "hardware", "progress", "signals", "tiling"),
)
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
NAMES_OF_ROOMS = {"pillow": "plugins"}  # what people import, and where it lives
LINES = 400
# What does not keep a rule yet.
LONG: set[str] = set()


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(text), text


def room_of(name: str) -> str:
    """Of a module's path or dotted name, without the package's own."""
    room = re.split(r"[./]", name)[0]
    return NAMES_OF_ROOMS.get(room, room)


def imports(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Dotted names of aecodec's modules without "aecodec.", and what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("aecodec."):
                    yield alias.name.removeprefix("aecodec."), []
        elif isinstance(node, ast.ImportFrom) and node.module == "aecodec":
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aecodec."):
            assert node.module is not None
            yield node.module.removeprefix("aecodec."), [alias.name for alias in node.names]


def test_every_room_has_its_layer() -> None:
    rooms = {room_of(path.removesuffix(".py")) for path, _, _ in modules()} - {"__init__", "__main__"}
    assert rooms == set(LEVELS)


def test_imports_point_down() -> None:
    wrong = []
    for path, tree, _ in modules():
        own = room_of(path.removesuffix(".py"))
        if own in ("__init__", "__main__"):
            continue
        for name, _ in imports(tree):
            other = room_of(name)
            if other != own and other in LEVELS and LEVELS[other] <= LEVELS[own]:
                wrong.append(f"{path} imports {name}")
    assert not wrong


def test_modules_do_not_import_each_other_in_circles() -> None:
    names = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tree for path, tree, _ in modules()}
    needed = {
        own: {
            module if module in names else name
            for name, imported in imports(tree)
            for module in [f"{name}.{one}" for one in imported] or [name]
        }
        - {own}
        for own, tree in names.items()
    }
    TopologicalSorter(needed).prepare()  # raises CycleError with the circle


def test_families_are_strangers() -> None:
    """To each other, to what they share, and to the rest of the codec, which knows their seam only."""
    wrong = []
    for path, tree, _ in modules():
        own = re.match(r"families/(aec\d)/", path)
        for name, _ in imports(tree):
            other = re.match(r"families\.(aec\d)", name)
            if other and not (own and own[1] == other[1]):
                wrong.append(f"{path} imports {name}")
    assert not wrong


def test_nobody_imports_private_names() -> None:
    wrong = [
        f"{path} imports {name} from {module}"
        for path, tree, _ in modules()
        for module, names in imports(tree)
        for name in [*names, *module.split(".")]
        if name.startswith("_")
    ]
    assert not wrong


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    assert {path for path, _, text in modules() if text.count("\n") > LINES} <= LONG


def test_the_page_on_the_architecture_names_every_room_in_the_same_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = re.findall(r"^\| ((?:`[\w/.]+`(?:, )?)+) \|", page, re.MULTILINE)
    assert [tuple(re.findall(r"`(\w+)", row)) for row in table] == list(LAYERS)
