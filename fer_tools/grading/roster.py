"""The teacher's own export of Canvas' gradebook, in which one column is filled and no other byte changes."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_lib.files import MEGABYTE, UsageError, atomic_path, printable, read_regular

LARGEST = 32 * MEGABYTE
MOST_ROWS = 100_000
# By which a student is known, in the words of Canvas.
KEYS = ("ID", "SIS User ID", "SIS Login ID", "Integration ID")
ASSIGNMENT = re.compile(r".*\(\d+\)", re.DOTALL)  # "Faces (12345)"
POINTS = "points possible"
FORMULA = ("=", "+", "-", "@")  # with which a cell begins that spreadsheets execute


@dataclass(frozen=True)
class _Cell:
    """A cell: where its bytes are, and what it says."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Roster:
    """An export of the gradebook.

    Attributes
    ----------
    content : bytes
        As it was read.
    rows : list of list of _Cell
        Those of students.
    header : list of str
    column : int
        That is filled.
    possible : float or None
        What its row "Points Possible" says of this column.
    """

    path: Path
    content: bytes
    header: list[str]
    rows: list[list[_Cell]]
    column: int
    possible: float | None

    def matched(self, students: Mapping[str, tuple[str, bool]]) -> tuple[dict[str, int], list[str]]:
        """Find the row of each student.

        Parameters
        ----------
        students : dict of str to tuple
            By what each is known, and whether that is the ID of Canvas and can be no other.

        Returns
        -------
        dict of str to int
            Rows.
        list of str
            What could not be matched, one line each.
        """
        found: dict[str, int] = {}
        said = []
        for student, (key, canvas) in students.items():
            columns = [
                self.header.index(name) for name in KEYS[: 1 if canvas else None] if name in self.header
            ]
            key = key.strip().casefold()
            rows = {
                i
                for i, row in enumerate(self.rows)
                if key and key in {row[column].text.strip().casefold() for column in columns}
            }
            if len(rows) == 1:
                found[student] = min(rows)
            else:
                what = (
                    f"{len(rows)} rows of the roster have its ID or login"
                    if rows
                    else "is in no row of the roster"
                )
                said.append(f"{student}: {what}")
        for row in {row for row in found.values() if list(found.values()).count(row) > 1}:
            both = [student for student, own in found.items() if own == row]
            said.append(f"{self.student(row)}: has several submissions ({', '.join(both)}); its cell is left")
            found = {student: own for student, own in found.items() if own != row}
        return found, said

    def student(self, row: int) -> str:
        """Return the name in a row: fit for a line."""
        return printable(self.rows[row][0].text)[:80]

    def formulas(self) -> list[str]:
        """Say which rows hold what a spreadsheet would execute; these are kept as they are."""
        return [
            f"{self.path.name}: the row of {self.student(i)!r} has a cell that begins with "
            f"{cell.text.lstrip()[0]!r}, which a spreadsheet may execute; import the file without opening "
            "it in one"
            for i, row in enumerate(self.rows)
            if (cell := next((c for c in row if _is_formula(c.text)), None))
        ]

    def kept(self, row: int) -> str:
        """Return what stands in the cell of a row and is no number, such as EX; that is not filled."""
        text = self.rows[row][self.column].text.strip()
        return "" if _points(text) is not None else printable(text)[:40]

    def filled(self, points: Mapping[int, float]) -> bytes:
        """Return the file with points in the cells of some rows; all other bytes are what they were."""
        pieces, at = [], 0
        for row in sorted(points):
            cell = self.rows[row][self.column]
            pieces += [self.content[at : cell.start], number(points[row]).encode()]
            at = cell.end
        return b"".join([*pieces, self.content[at:]])

    def write(self, path: Path, points: Mapping[int, float]) -> None:
        """Write what `filled` returns."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.filled(points))


def number(points: float) -> str:
    """Return points as a cell: 12 or 12.5, never what a spreadsheet could take for a formula."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def read(path: Path, column: str | None = None) -> Roster:
    """Read an export of the gradebook.

    Parameters
    ----------
    path : Path
    column : str, optional
        Name of the column that is to be filled, or its beginning; not needed where there is one assignment.

    Raises
    ------
    UsageError
        In one line, if it is none, or the column cannot be told.
    """
    content = read_regular(path, LARGEST, follow=True)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{path}: is in UTF-16; export it from Canvas again, which writes UTF-8")
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    end_of_header = re.search(rb"[\r\n]|$", content[start:]).start() + start
    separator = max(b",", b";", b"\t", key=content[start:end_of_header].count)
    rows = _cells(path, content, start, separator)
    header = [cell.text.strip() for cell in rows[0]] if rows else []
    if not header or header[0] != "Student" or not set(KEYS) & set(header):
        raise UsageError(
            f"{path}: not an export of Canvas' gradebook, whose first row begins with Student, ID, ...; "
            "in Canvas: Grades, Export"
        )
    for i, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UsageError(
                f"{path}: row {i}: {len(row)} cells, and the first has {len(header)}; export it again"
            )
    chosen = _column(path, header, column)
    possible = [row[chosen].text for row in rows[1:] if row[0].text.strip().casefold() == POINTS]
    places = [header.index(name) for name in KEYS if name in header]
    students = [row for row in rows[1:] if any(row[place].text.strip() for place in places)]
    return Roster(path, content, header, students, chosen, _points(possible[0] if possible else ""))


def _column(path: Path, header: list[str], wanted: str | None) -> int:
    assignments = [name for name in header if ASSIGNMENT.fullmatch(name)]
    among = (
        assignments
        if wanted is None
        else [name for name in header if name == wanted]
        or [name for name in assignments if name.startswith(wanted)]
    )
    if len(among) != 1 or header.count(among[0]) != 1 or among[0] in ("Student", *KEYS):
        names = ", ".join(printable(name)[:60] for name in assignments[:10]) or "none"
        raise UsageError(f"{path}: --column: name one of its assignments ({names})")
    return header.index(among[0])


def _points(text: str) -> float | None:
    try:
        return float(text.strip())
    except ValueError:  # "(read only)"
        return None


def _is_formula(text: str) -> bool:
    text = text.lstrip()
    return text.startswith(FORMULA) and not re.fullmatch(r"[+-]?[\d.,]+%?|-+", text)


def _cells(path: Path, content: bytes, start: int, separator: bytes) -> list[list[_Cell]]:
    """Split CSV into rows of cells, keeping where each is; a quoted cell may hold separators and lines."""
    pattern = re.compile(
        rb'(?P<quoted>"(?:[^"]|"")*")?(?P<plain>[^%s\r\n"]*)(?P<end>%s|\r\n|\n|\r|\Z)'
        % ((re.escape(separator),) * 2)
    )
    rows: list[list[_Cell]] = []
    row: list[_Cell] = []
    at = start
    while at < len(content):
        match = pattern.match(content, at)
        if match is None or (match["quoted"] and match["plain"].strip()):
            raise UsageError(
                f"{path}: row {len(rows) + 1}: a quotation mark that is not closed; export it again"
            )
        whole = content[match.start() : match.start("end")]
        try:
            text = match["quoted"][1:-1].replace(b'""', b'"').decode() if match["quoted"] else whole.decode()
        except ValueError:
            raise UsageError(f"{path}: row {len(rows) + 1}: not UTF-8; export it from Canvas again") from None
        row.append(_Cell(match.start(), match.start("end"), text))
        at = match.end()
        if match["end"] != separator:
            if len(row) > 1 or row[0].text.strip():  # a line without anything is no row
                rows.append(row)
            row = []
            if len(rows) > MOST_ROWS:
                raise UsageError(f"{path}: more than {MOST_ROWS:,} rows")
    if row:  # the last cell is empty, and no line ends it
        rows.append([*row, _Cell(len(content), len(content), "")])
    return rows
