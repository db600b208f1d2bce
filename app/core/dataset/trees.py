"""Walks through JSON values, by loops rather than recursion, so that no nesting is too deep for them."""

from collections.abc import Iterable, Iterator

from app.core.dataset.findings import member


def deeper_than(value: object, levels: int) -> bool:
    """Tell whether more objects and lists than that stand inside each other."""
    level = [value]
    for _ in range(levels):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def walk(value: object) -> Iterator[tuple[str, object]]:
    """Yield JSON path and value of all that is inside, the keys of objects among them."""
    waiting: list[tuple[str, object]] = [("$", value)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if isinstance(node, dict):
            for key, child in node.items():
                yield member(path, key), key
                waiting.append((member(path, key), child))
        elif isinstance(node, list):
            waiting.extend((f"{path}[{index}]", child) for index, child in enumerate(node))
