"""What ships with the toolkit: the benchmark's table, a finished run, a study, the notebooks."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from naslid_toolkit.errors import ConfigError, DataError

_PACKAGE: Final = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return where something that ships is: within the package, or in the project's folder.

    Parameters
    ----------
    name
        Relative path, such as ``"data/nb201_digits.parquet"`` or ``"notebooks"``.

    Raises
    ------
    DataError
        If it is in neither place.
    """
    places = [_PACKAGE / name, _PACKAGE.parent / name]
    for place in places:
        if place.exists():
            return place
    raise DataError(
        f"{name} ships with naslid_toolkit, but is neither {places[0]} nor {places[1]}; "
        f"install the toolkit again"
    )


def example_run(out: str | Path | None = None) -> Path:
    """Return the folder of a finished run on digits, to look at without any training.

    It is the method at the demo's budget with half its channels, two sampled paths an edge and
    40 probe images, so that everything fits in 3 MB (``python -m benchmarks.example``).

    Parameters
    ----------
    out
        A folder to copy it to, which is needed where a run is to be changed or continued; one
        that holds a run already is left as it is. None returns the shipped folder itself.

    Raises
    ------
    ConfigError
        If ``out`` exists and holds no run.

    Examples
    --------
    >>> sorted(path.name for path in example_run().glob("*.json"))
    ['environment.json', 'tree.json']
    """
    source = shipped("data/example_run")
    if out is None:
        return source
    folder = Path(out)
    if not (folder / "config.toml").exists():
        copy_whole({"": source}, folder)
    return folder


def example_study() -> Path:
    """Return the folder of the study behind ``docs/results.md``.

    All arms at equal budget on NB201-digits, three seeds; read by
    :func:`~naslid_toolkit.search.study.load_study`.
    """
    return shipped("data/study_digits")


def new_workspace(out: str | Path, *, settings: str) -> Path:
    """Fill a new folder with the notebooks, settings to change, and the finished run.

    Parameters
    ----------
    out
        The folder; it must not exist, or be empty.
    settings
        Content of ``search.toml``.

    Raises
    ------
    ConfigError
        If the folder is in use.
    """
    folder = Path(out)
    notebooks = {path.name: path for path in sorted(shipped("notebooks").glob("*.ipynb"))}
    run = {"runs/example": example_run()}
    texts = {"search.toml": settings}
    return copy_whole({**notebooks, **run}, folder, texts=texts)


def copy_whole(
    sources: dict[str, Path], folder: Path, *, texts: dict[str, str] | None = None
) -> Path:
    """Copy files and folders to their names in a new folder, all or nothing.

    Raises
    ------
    ConfigError
        If the folder is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is in use; name a folder that does not exist or is empty")
    parent = folder.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as place:
        made = Path(place) / "made"
        for name, source in sources.items():
            target = made / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(source, target)
        for name, text in (texts or {}).items():
            (made / name).write_text(text, encoding="utf-8")
        if folder.exists():  # it may be where somebody stands, so it stays what it is
            for part in made.iterdir():
                part.replace(folder / part.name)
        else:
            made.replace(folder)
    return folder
