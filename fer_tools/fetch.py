"""Download FER2013: checked before it is put in place, and never half.

Two sources, tried in order:

1. Kaggle, `msambare/fer2013`: the image folder whose digests are in `published/fer2013.digests.json`. Through
   the package kagglehub; a public data set needs no account.
2. Hugging Face, `JimmyUnleashed/FER-2013`: the archive of the original challenge with `fer2013.csv`, the one
   that the R package torchvision downloads and checks by the same MD5. Over plain HTTPS, without a package.

FER2013 was collected from web searches without consent of the people shown: do not redistribute it.
"""

import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fer_lib.files import UsageError, open_regular
from fer_tools.published.verdict import Verdict, judge, md5_of_file

KAGGLE = "msambare/fer2013"
ARCHIVE = "https://huggingface.co/datasets/JimmyUnleashed/FER-2013/resolve/main/fer2013.tar.gz"
ARCHIVE_MD5 = "ca95d94fe42f6ce65aaae694d18c628a"
ARCHIVE_BYTES = 1 << 30  # refuse more; it has 97 MB
CSV_BYTES = 2 << 30  # refuse more; it has 301 MB
TIMEOUT = 60  # seconds without a byte


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fetch(destination: str | Path, say: Callable[[str], None] = _say) -> Verdict:
    """Download FER2013 into `destination`, unless it is there already.

    What has been downloaded of an archive is kept beside it in `.<name>.part` and continued next time.

    Parameters
    ----------
    destination : str or Path
        A folder that does not exist yet, or is empty.
    say : callable
        Called with a line of progress.

    Raises
    ------
    UsageError
        If `destination` holds something else, or no source gives the published data.
    """
    destination = Path(destination).expanduser()
    if destination.is_dir() and any(destination.iterdir()):
        verdict = judge(destination)
        if verdict.status != "authentic":
            what = f"{verdict.status}: {verdict.detail}"
            raise UsageError(f"{destination}: holds something else ({what}); move it away first")
        say(f"{destination}: already there. {verdict.detail}")
        return verdict
    downloads = destination.parent / f".{destination.name}.part"
    problems = []
    for name, download in (("Kaggle", _from_kaggle), ("Hugging Face", _from_hugging_face)):
        say(f"{name}: downloading FER2013 ...")
        try:
            verdict = _put_in_place(download, destination, downloads)
            say(f"{destination}: {verdict.detail}")
            return verdict
        except UsageError as error:
            problems.append(f"{name}: {error}")
        except OSError as error:
            problems.append(f"{name}: {error.filename or destination}: {error.strerror or error}")
        say(problems[-1])
    raise UsageError(
        f"FER2013 could not be fetched ({'; '.join(problems)}); download it with a browser from "
        f"https://www.kaggle.com/datasets/{KAGGLE} and unpack it into {destination}"
    )


def _put_in_place(download: Callable[[Path, Path], None], destination: Path, downloads: Path) -> Verdict:
    """Download, judge, and only then move what came to `destination`."""
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads) as temporary:
        folder = Path(temporary) / "fer2013"
        download(folder, downloads)
        verdict = judge(folder)
        if verdict.status != "authentic":
            raise UsageError(f"what came is {verdict.status} ({verdict.detail})")
        if destination.is_dir():
            destination.rmdir()  # it was empty
        folder.rename(destination)
    shutil.rmtree(downloads, ignore_errors=True)
    return verdict


def _from_kaggle(folder: Path, downloads: Path) -> None:
    try:
        import kagglehub
    except ImportError as error:
        raise UsageError("kagglehub is not installed (pip install kagglehub)") from error
    before = os.environ.get("KAGGLEHUB_CACHE")
    # Beside the destination: moving is a rename then, and no second copy stays in the user's cache.
    os.environ["KAGGLEHUB_CACHE"] = str((downloads / "kagglehub").resolve())
    try:
        path = kagglehub.dataset_download(KAGGLE)
    except Exception as error:  # kagglehub and requests have many of their own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"download failed ({reason})") from error
    finally:
        del os.environ["KAGGLEHUB_CACHE"]
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before
    Path(path).rename(folder)


def _from_hugging_face(folder: Path, downloads: Path) -> None:
    archive = downloads / "fer2013.tar.gz"
    _download(ARCHIVE, archive)
    if (md5 := md5_of_file(archive, ARCHIVE_BYTES)) != ARCHIVE_MD5:
        archive.unlink()  # nothing to be continued
        raise UsageError(f"{ARCHIVE} has MD5 {md5}, expected {ARCHIVE_MD5}")
    folder.mkdir()
    try:
        with (
            open_regular(archive, ARCHIVE_BYTES) as packed,
            tarfile.open(fileobj=packed) as members,
            open(folder / "fer2013.csv", "wb") as target,
        ):
            for member in members:
                # Only this file, under a name of our own: nothing in the archive chooses where we write.
                if member.isreg() and Path(member.name).name == "fer2013.csv" and member.size <= CSV_BYTES:
                    shutil.copyfileobj(members.extractfile(member), target, 1 << 20)
                    return
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"{archive}: damaged ({error})") from error
    raise UsageError(f"{archive}: no fer2013.csv inside")


def _download(url: str, path: Path) -> None:
    """Download into `<path>.part`, going on where an earlier attempt ended; rename it when whole."""
    if path.exists():
        return
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            length = int(answer.headers.get("Content-Length", -1))
            with open(part, "ab" if have and answer.status == 206 else "wb") as target:
                end = target.tell() + length
                while block := answer.read(1 << 20):
                    if target.tell() + len(block) > ARCHIVE_BYTES:
                        raise UsageError(f"{url}: over {ARCHIVE_BYTES >> 20} MiB, not what was expected")
                    target.write(block)
                left = end - target.tell()
        if left > 0:
            raise UsageError(f"{url}: ended early, {left:,} bytes are missing; run it again to go on")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the server has no more bytes than we have
            part.unlink(missing_ok=True)
        raise UsageError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise UsageError(f"{url}: no connection ({reason}); run it again to go on") from error
    except ValueError as error:
        raise UsageError(f"{url}: not an answer one can use ({error})") from error
    part.rename(path)
