"""The committed test vectors are those that are written today, and small."""

from fer_lib.files import ROOT
from fer_tools import face_to_input
from fer_tools.json_files import read_json

COMMITTED = ROOT / "tests" / "references" / "face_to_input.json"


def test_the_committed_vectors_are_those_of_today(tmp_path):
    face_to_input.write(tmp_path / "vectors.json")
    written, committed = read_json(tmp_path / "vectors.json"), read_json(COMMITTED)
    for vector in [*written["vectors"], *committed["vectors"]]:
        vector.pop("png")  # its bytes depend on who compresses; its pixels decide on the others
    assert written == committed
    assert COMMITTED.stat().st_size < 300_000
