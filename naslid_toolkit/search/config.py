"""The settings of a run: composed from the parts, read from TOML, checked by name and type."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from glob import has_magic
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from naslid_toolkit.datasets import ImageTask, load_digits, load_image_parquet
from naslid_toolkit.errors import ConfigError, DataError, nearest_name
from naslid_toolkit.evaluation.benchmark import (
    ReferenceTable,
    digits_truth_path,
    load_reference,
)
from naslid_toolkit.evaluation.scores import Measure
from naslid_toolkit.partition.evidence import BY_ENTRY
from naslid_toolkit.partition.similarity import SIMILARITIES
from naslid_toolkit.partition.split import MODES, SplitConfig
from naslid_toolkit.runtime import OnEvent, Remark, ignore_event
from naslid_toolkit.search.evolution import EvolutionConfig
from naslid_toolkit.search.images import Files, ImagesConfig, checked_files
from naslid_toolkit.search.limits import check_limits
from naslid_toolkit.space.nasbench201 import nasbench201
from naslid_toolkit.space.search_space import SearchSpace
from naslid_toolkit.supernet.network import Skeleton
from naslid_toolkit.supernet.training import TrainingConfig

DIGITS = "digits"
CriterionName = Literal["lid", "gradient", "convolution_count", "exhaustive", "random"]
MODE_OF: Final[Mapping[str, str]] = {
    "gradient": "gradient_matching",
    "convolution_count": "convolution_count",
    "exhaustive": "exhaustive",
}


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Size of the supernet.

    Parameters
    ----------
    channels, cells, affine
        Channels of the first stage, cells a stage, learnt scale and shift of batch norm.
    copies
        Above 1: the later cells exist so many times, one for each range of convolutions
        (:class:`~naslid_toolkit.supernet.decomposed.DecomposedSupernet`); needs ``levels = 0``.
    """

    channels: int = 16
    cells: int = 5
    affine: bool = False
    copies: int = 1


@dataclass(frozen=True, slots=True)
class RunConfig:
    """All settings of a few-shot search.

    Parameters
    ----------
    space
        Name of the search space.
    data
        ``"digits"``, or a Parquet file of images; several as a list, as a pattern such as
        ``train-*.parquet``, or as a folder.
    truth, truth_column
        A table of reference accuracies and its column, as
        :func:`~naslid_toolkit.evaluation.benchmark.load_reference` reads them. Empty: for the
        digits the table that ships with the project, for other images none.
    criterion
        ``"lid"``, ``"gradient"`` (matching), ``"convolution_count"``, ``"exhaustive"`` (one
        sub-supernet for each operation of an edge drawn by chance), or ``"random"``. Where
        settings are read and no ``split.mode`` is given, the criterion's own is taken.
    levels
        Splits between the root and a leaf: ``split.groups ** levels`` leaves.
    warmup_epochs
        Epochs of the root before the first split. The rest of ``training.epochs`` is divided
        evenly among the levels below; one cosine runs along the whole way.
    single
        Whether to train one unsplit supernet for the same total number of steps beside.
    score
        ``"accuracy"`` on the validation images, or their mean ``"log_likelihood"`` (see
        :class:`~naslid_toolkit.evaluation.scores.LeafScore`).
    sample
        Architectures to score, at most.
    seed
        Seed of everything that is random.
    network, images, training, split, evolution
        The settings of the parts.

    Raises
    ------
    ConfigError
        If a number is out of its range, or a level would have no epoch.
    """

    space: Literal["nasbench201"] = "nasbench201"
    data: Files = DIGITS
    truth: str = ""
    truth_column: str = ""
    criterion: CriterionName = "lid"
    levels: int = 2
    warmup_epochs: int = 50
    single: bool = True
    score: Measure = "accuracy"
    sample: int = 200
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)

    def __post_init__(self) -> None:
        check_limits(asdict(self))
        if self.network.copies != 1 and (self.levels or not 2 <= self.network.copies <= 4):
            raise ConfigError(
                f"a decomposed supernet has 2 to 4 copies and no levels, got "
                f"{self.network.copies} copies and {self.levels} levels"
            )
        if self.criterion == "gradient" and SIMILARITIES[self.split.similarity] in BY_ENTRY:
            raise ConfigError(
                f"criterion 'gradient' needs split.similarity 'cosine' (published) or "
                f"'euclidean', got {self.split.similarity!r}, which compares entry by entry"
            )
        rest = self.training.epochs - self.warmup_epochs
        if self.levels and (self.warmup_epochs < 1 or rest < self.levels):
            raise ConfigError(
                f"{self.levels} levels need at least as many of the {self.training.epochs} "
                f"training epochs after warmup_epochs, which is {self.warmup_epochs}"
            )

    def search_space(self) -> SearchSpace:
        """Return the search space."""
        return nasbench201()

    def skeleton(self, task: ImageTask) -> Skeleton:
        """Return the skeleton of the supernets for a task."""
        return Skeleton(
            channels=self.network.channels,
            cells=self.network.cells,
            image_shape=task.image_shape,
            classes=len(task.classes),
            affine=self.network.affine,
        )

    def epochs_of(self, level: int) -> tuple[int, int]:
        """Return the first epoch of a level's training, and the one after its last."""
        if not self.levels:
            return 0, self.training.epochs
        if level == 0:
            return 0, self.warmup_epochs
        rest = self.training.epochs - self.warmup_epochs
        bounds = [self.warmup_epochs + rest * i // self.levels for i in range(self.levels + 1)]
        return bounds[level - 1], bounds[level]

    @property
    def total_epochs(self) -> int:
        """Epochs of all supernets together: the budget of the single supernet."""
        ranges = [self.epochs_of(level) for level in range(self.levels + 1)]
        groups = self.split.groups
        return sum(groups**level * (last - first) for level, (first, last) in enumerate(ranges))

    def single_training(self) -> TrainingConfig:
        """Return the training of the single supernet with the same total number of steps."""
        return replace(self.training, epochs=self.total_epochs)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as TOML-able data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunConfig":
        """Build the settings from nested data, as TOML gives them.

        Raises
        ------
        ConfigError
            For an unknown key (names the nearest legal one), a wrong type or a bad value.
        """
        mode = MODE_OF.get(str(data.get("criterion", "lid")), "default")
        split = data.get("split", {})
        if isinstance(split, Mapping) and "mode" not in split:
            data = {**data, "split": {"mode": mode, **split}}
        config: RunConfig = _build(cls, data, "")
        return config

    @classmethod
    def from_toml(cls, path: str | Path) -> "RunConfig":
        """Read the settings from a TOML file; what it leaves out has its default.

        Raises
        ------
        DataError
            If the file is missing.
        ConfigError
            If it is not TOML, or as :meth:`from_dict`; the file is named in a note.
        """
        data = read_toml(path)
        try:
            return cls.from_dict(data)
        except ConfigError as error:
            error.add_note(f"while reading {path}")
            raise

    @classmethod
    def preset(cls, name: str, **settings: Any) -> "RunConfig":  # noqa: ANN401 - any field
        """Return a preset, ``"tiny"``, ``"demo"``, ``"small"`` or ``"paper"``, with changes.

        Raises
        ------
        ConfigError
            If there is no such preset, or as :meth:`from_dict`.

        Examples
        --------
        >>> RunConfig.preset("demo", levels=1, training={"epochs": 60}).training.epochs
        60
        """
        return cls.from_dict(merged(read_preset(name), settings))


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    folder = resources.files("naslid_toolkit.search") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset as nested data.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; {nearest_name(name, preset_names())}")
    file = resources.files("naslid_toolkit.search") / "presets" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    DataError
        If the file is missing.
    ConfigError
        If it is not TOML.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no settings file {path}; expected a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def mode_settings(mode: str) -> dict[str, Any]:
    """Return all settings that make up a mode, as nested data to go over others.

    Raises
    ------
    ConfigError
        If the mode is unknown.

    Examples
    --------
    >>> mode_settings("official_code")["training"]
    {'sampler': 'markov'}
    """
    split = asdict(SplitConfig.of_mode(mode))
    decided = {name for settings in MODES.values() for name in settings}
    sampler = "markov" if mode == "official_code" else "uniform"
    return {
        "split": {"mode": mode, **{name: split[name] for name in sorted(decided)}},
        "training": {"sampler": sampler},
    }


def load_task(config: RunConfig, *, on_event: OnEvent = ignore_event) -> ImageTask:
    """Load the images that a run is configured for.

    Parameters
    ----------
    config
        The settings.
    on_event
        Receives a :class:`~naslid_toolkit.runtime.Remark` on everything that was chosen,
        converted or left out.

    Raises
    ------
    DataError
        If an image file is missing, damaged or foreign.
    ConfigError
        If settings ask for what the digits do not have.
    """
    images = config.images
    if config.data == DIGITS:
        if images.asked:
            name = next(iter(images.asked))
            raise ConfigError(f"images.{name} is for files of images, but data is {DIGITS!r}")
        return load_digits()
    path = Path(config.data) if isinstance(config.data, str) else None
    if path is not None and not path.suffix and not path.exists() and not has_magic(str(path)):
        hint = nearest_name(str(path), [DIGITS])
        raise DataError(f"no file {path}; data is {DIGITS!r} or a Parquet file of images ({hint})")
    task = load_image_parquet(
        config.data,
        valid=images.valid,
        test=images.test,
        limit=images.limit or None,
        size=images.size or None,
        **images.asked,
    )
    for note in task.notes:
        on_event(Remark(note))
    return task


def load_truth(config: RunConfig) -> ReferenceTable | None:
    """Load the reference accuracies of a run, if there are any; see :class:`RunConfig`.

    Raises
    ------
    DataError
        If the table is missing, damaged or foreign.
    """
    if config.truth:
        return load_reference(config.truth, column=config.truth_column or None)
    if config.data == DIGITS:
        return load_reference(digits_truth_path())
    return None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with some of them replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = merged(below, value)  # noqa: PLW2901 - the deeper settings
        result[key] = value
    return result


def _build(cls: type, data: Mapping[str, Any], section: str) -> Any:  # noqa: ANN401 - TOML
    """Build a settings record from nested data, checking every name and type."""
    kinds = get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    values = {}
    for key, value in data.items():
        place = f"{section}{key}"
        if key not in names:
            raise ConfigError(f"unknown setting {place!r}; {nearest_name(key, names)}")
        values[key] = _checked(kinds[key], value, place)
    if cls is SplitConfig:
        return SplitConfig.of_mode(values.pop("mode", "default"), **values)
    return cls(**values)


def _checked(kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - TOML
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place!r} is a section, got {value!r}")
        return _build(kind, value, f"{place}.")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            hint = nearest_name(str(value), map(str, get_args(kind)))
            raise ConfigError(f"{place!r} cannot be {value!r}; {hint}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind == Files:
        return checked_files(value, place)
    if type(value) is not kind:
        raise ConfigError(f"{place!r} must be {kind.__name__}, got {value!r}")
    return value
