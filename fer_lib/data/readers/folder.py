"""Reads an image folder."""

import hashlib
import os
import stat
from collections.abc import Sequence
from functools import cached_property

from fer_lib.data.picture import MAX_BYTES
from fer_lib.data.readers.source import PARTS, SUFFIXES, ImageFiles, in_order, parts_of
from fer_lib.files import UsageError, printable


class Folder(ImageFiles):
    """`train|test/<class>/<image>`; `train|validation` too, with validation as the test part."""

    kind = "folder"
    label = "image folder"

    @cached_property
    def parts(self) -> dict[str, str]:
        there = [name for names in PARTS.values() for name in names if os.path.lexists(self.path / name)]
        for name in there:
            if not (self.path / name).is_dir():
                raise UsageError(f"{self.path / name}: not a folder, nor a link to one; mend or remove it")
        return parts_of(there)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        found: list[str] = []
        for part in self.parts.values():
            try:
                with os.scandir(self.path / part) as entries:
                    found += [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]
            except OSError as error:
                raise UsageError(f"{self.path / part}: cannot be read ({error.strerror})") from error
        return in_order(found)

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        if part not in self.parts:
            return []
        folder = self.path / self.parts[part] / name
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                        continue  # .DS_Store, Thumbs.db, ._x.jpg and their like
                    found.append((entry.name, entry))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UsageError(f"{folder}: cannot be read ({error.strerror})") from error
        return sorted(found, key=lambda item: item[0])

    def _status(self, entry: os.DirEntry) -> os.stat_result:
        try:
            status = entry.stat()
        except OSError as error:  # a broken or circular link
            raise UsageError(f"{printable(entry.path)}: cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever
            raise UsageError(f"{printable(entry.path)}: not a regular file; remove it")
        return status

    def content(self, member: os.DirEntry, where: str) -> bytes:
        self._status(member)
        try:
            with open(member.path, "rb", buffering=0) as handle:
                return handle.read(MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{printable(member.path)}: cannot be read ({error.strerror})") from error

    def stamps(self, part: str, classes: Sequence[str]) -> dict[str, str]:
        stamps = {}
        for name in classes:
            digest = hashlib.sha256(os.fsencode(os.path.abspath(self.path)))
            members = self.members(part, name)
            if not members:
                raise self.missing(part, name)
            for file, entry in members:
                status = self._status(entry)
                key = (file, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                digest.update(repr(key).encode())
            stamps[name] = f"{self.parts[part]}/{name} {digest.hexdigest()}"
        return stamps
