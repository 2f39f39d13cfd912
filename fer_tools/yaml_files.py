"""YAML of somebody else's: no objects, no references, no key twice, bounded."""

from pathlib import Path
from typing import Any

import yaml

from fer_lib.files import MEGABYTE, UsageError, read_regular

LARGEST = MEGABYTE  # of a file; a study of a thousand points written one by one has a tenth of it


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, of which one would be lost without a word, and references.

    A few lines of references to lists of references are gigabytes as soon as they are written out.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "references (*name) are not read", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        pairs = self.construct_pairs(node, deep=True)
        if len({str(key) for key, _ in pairs}) < len(pairs):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return {str(key): value for key, value in pairs}


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file that the user named; a link is followed.

    Raises
    ------
    UsageError
        If the file is missing, unreadable, beyond reason or not YAML.
    """
    return parsed(read_regular(path, LARGEST, follow=True), str(path))


def parsed(content: bytes, where: str) -> Any:
    """Return what YAML says; messages call it `where`.

    Raises
    ------
    UsageError
        If it is not YAML, or has references, or a key twice.
    """
    try:
        return yaml.load(content.decode(), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
