"""Reads a zip archive of an image folder."""

import os
import re
import zipfile
from functools import cached_property

from fer_lib.archives import Zip
from fer_lib.data.picture import MAX_BYTES, SUFFIXES
from fer_lib.data.readers.source import PART_NAMES, PARTS, ImageFiles, in_order, listed, parts_of
from fer_lib.files import UsageError, printable

MAX_ARCHIVE_BYTES = 16 << 30  # of an archive, packed or unpacked
MAX_RATIO = 200  # of unpacked to packed; images are packed already
SPARE = 1 << 20  # bytes that count as no bomb, however well they are packed


class Archive(ImageFiles):
    """A zip of an image folder, read in place: nothing is unpacked to disk."""

    kind = "zip"
    label = "archive of image folders"

    @cached_property
    def _zip(self) -> Zip:
        try:
            return Zip(self.path, MAX_ARCHIVE_BYTES, follow=True)
        except zipfile.BadZipFile as error:
            raise UsageError(f"{self.path}: no readable zip ({error}); download or unpack it") from error

    def _pieces(self, info: zipfile.ZipInfo) -> list[str]:
        """Split the name of a member.

        Raises
        ------
        UsageError
            If it points outside, is encrypted, or is a bomb.
        """
        where = f"{self.path}: member {printable(info.filename)!r}"
        pieces = re.split(r"[/\\]", info.filename)
        if pieces[0] == "" or ".." in pieces or ":" in pieces[0]:
            raise UsageError(f"{where} points outside the archive; do not use this archive")
        if info.flag_bits & 1:
            raise UsageError(f"{where} is encrypted; unpack the archive with its password first")
        if info.file_size > SPARE + MAX_RATIO * info.compress_size:
            raise UsageError(f"{where} unpacks to an absurd size (a zip bomb?); do not use this archive")
        return pieces

    def _check_sizes(self) -> None:
        members, length = self._zip.infolist(), os.stat(self.path).st_size
        if sum(info.compress_size for info in members) > length:
            raise UsageError(f"{self.path}: members lie over each other; do not use this archive")
        if sum(info.file_size for info in members) > min(SPARE + MAX_RATIO * length, MAX_ARCHIVE_BYTES):
            raise UsageError(f"{self.path}: unpacks to an absurd size (a zip bomb?); do not use this archive")

    @cached_property
    def _tree(self) -> dict[tuple[str, str], list[tuple[str, object]]]:
        """Members by (name of the part, class), of the outermost folder with `train`, or else `test`."""
        trees: dict[tuple[str, ...], dict] = {}
        self._check_sizes()
        seen = set()
        for info in self._zip.infolist():
            pieces = self._pieces(info)
            if len(pieces) < 3 or pieces[-3].lower() not in PART_NAMES or pieces[0] == "__MACOSX":
                continue
            hidden = any(piece.startswith(".") for piece in pieces[-2:])
            if hidden or not pieces[-1].lower().endswith(SUFFIXES):
                continue
            if info.filename in seen:
                where = f"{self.path}: member {printable(info.filename)!r}"
                raise UsageError(f"{where} occurs twice; unpack the archive and check it")
            seen.add(info.filename)
            tree = trees.setdefault(tuple(pieces[:-3]), {})
            tree.setdefault((pieces[-3], pieces[-2]), []).append((pieces[-1], info))
        for root in [root for root, tree in trees.items() if {part for part, _ in tree} == {*root[-1:]}]:
            for (part, name), found in trees.pop(root).items():  # train/train/<class>/
                trees.setdefault(root[:-1], {})[f"{part}/{part}", name] = found
        return trees[self._root(trees)]

    def _root(self, trees: dict[tuple[str, ...], dict]) -> tuple[str, ...]:
        """Return the outermost folder that holds `train` or, where none does, `test`."""
        for part in PARTS:
            roots = [root for root, tree in trees.items() if part in parts_of(key[0] for key in tree)]
            roots.sort(key=len)
            if len(roots) > 1 and len(roots[0]) == len(roots[1]):
                both = " and ".join("/".join((*root, part)) for root in roots[:2])
                raise UsageError(f"{self.path}: holds both {both}; unpack it and name one")
            if roots:
                return roots[0]
        there = listed({os.path.dirname(name) or name for name in self._zip.namelist() if name[-1:] != "/"})
        raise UsageError(
            f"{self.path}: no train/<class>/ or test/<class>/ folders inside; its files lie in {there}; "
            "rename these, or give another"
        )

    @cached_property
    def parts(self) -> dict[str, str]:
        return parts_of(part for part, _ in self._tree)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return in_order(name for _, name in self._tree)

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        found = self._tree.get((self.parts.get(part, part), name), [])
        return sorted(found, key=lambda item: item[0])

    def content(self, member: zipfile.ZipInfo, where: str) -> bytes:
        try:
            with self._zip.open(member) as handle:
                return handle.read(MAX_BYTES + 1)
        except Exception as error:  # zlib.error, BadZipFile, RuntimeError, NotImplementedError, EOFError ...
            said = f"is damaged ({error}); download it again"
            if isinstance(error, NotImplementedError):
                method = zipfile.compressor_names.get(member.compress_type, member.compress_type)
                said = f"is packed in a way not read here ({method}); unpack it and give the folder"
            raise UsageError(f"{self.path}: member {where!r} {said}") from error
