"""Reads an image folder."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from fer_lib.data.picture import MAX_BYTES, SUFFIXES
from fer_lib.data.readers.source import PART_NAMES, ImageFiles, in_order, parts_of
from fer_lib.files import UsageError, kind_of, printable, read_regular


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # a broken or circular link, or no permission
        path = printable(os.fsdecode(error.filename or folder))
        raise UsageError(f"{path}: cannot be read ({error.strerror}); mend or remove it") from error


def _unlike(path: str | Path, status: os.stat_result, expected: str) -> UsageError:
    kind = kind_of(status.st_mode)
    return UsageError(f"{printable(str(path))}: {kind}, not {expected}; remove or replace it")


class Folder(ImageFiles):
    """`train|test/<class>/<image>`; `train|validation` too, with validation as the test part."""

    kind = "folder"
    label = "image folder"

    @cached_property
    def parts(self) -> dict[str, str]:
        with _readable(self.path):
            there = [name for name in os.listdir(self.path) if name.lower() in PART_NAMES]
        for name in there.copy():
            if not (self.path / name).is_dir():
                raise UsageError(f"{self.path / name}: not a folder, nor a link to one; mend or remove it")
            if self._folders(self.path / name) == [name] and self._folders(self.path / name / name):
                there[there.index(name)] = f"{name}/{name}"
        return parts_of(there)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return in_order(name for part in self.parts.values() for name in self._folders(self.path / part))

    def _folders(self, part: Path) -> list[str]:
        """Name the folders in a part. Files, such as a README, may stand beside them.

        Raises
        ------
        UsageError
            At a pipe, a socket, a device or a broken link: in place of a folder it would be a class that is
            missing without a word. (At a file in place of one, see `members`: a name tells no class.)
        """
        found = []
        with _readable(part), os.scandir(part) as entries:
            for entry in entries:
                if entry.name[0] == ".":
                    continue
                if entry.is_dir():
                    found.append(entry.name)
                elif not entry.is_file():
                    raise _unlike(entry.path, entry.stat(), "a folder of images")
        return found

    def members(self, part: str, name: str) -> list[tuple[str, object]]:
        folder = self.path / self.parts.get(part, part) / name
        if not os.path.lexists(folder):
            return []
        found = []
        with _readable(folder):
            if not folder.is_dir():
                raise _unlike(folder, folder.stat(), "a folder of images")
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                        continue  # .DS_Store, Thumbs.db, ._x.jpg and their like
                    if not entry.is_file():  # it would be counted, and could not be read
                        raise _unlike(entry.path, entry.stat(), "a regular file")
                    found.append((entry.name, entry))
        return sorted(found, key=lambda item: item[0])

    def missing(self, part: str, name: str) -> UsageError:
        self.members(part, name)  # refuses what stands in its place
        return super().missing(part, name)

    def content(self, member: os.DirEntry, where: str) -> bytes:
        return read_regular(member.path, MAX_BYTES, follow=True)

    def stamps(self, part: str, classes: Sequence[str]) -> dict[str, str]:
        stamps = {}
        for name in classes:
            digest = hashlib.sha256(os.fsencode(os.path.abspath(self.path)))
            members = self.members(part, folder := self.folder_of(part, name))
            if not members:
                raise self.missing(part, name)
            with _readable(self.path / self.parts[part] / folder):
                for file, entry in members:
                    status = entry.stat()
                    key = (file, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                    digest.update(repr(key).encode())
            stamps[name] = f"{self.where(part, folder, '')}\n{digest.hexdigest()}"
        return stamps
