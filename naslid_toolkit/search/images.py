"""Settings of image files: what is read of them, and how it is divided."""

from dataclasses import dataclass
from typing import Any

from naslid_toolkit.errors import ConfigError

Files = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """How image files are read and divided; the embedded digits have fixed parts.

    Parameters
    ----------
    limit
        Images to use, drawn at random; 0 uses all.
    valid, test
        Shares of validation and test images, in (0, 1), where the files do not give these parts.
    size
        Height to bring the images to, by averaging over areas of pixels; 0 leaves them.
    image_column, label_column
        Columns of the images and of their labels; empty for those that are declared or plain.
    test_data
        Files of test images, as ``RunConfig.data`` names files; empty for none of their own.
    drop_unlabelled
        Whether to leave out images without a usable label, instead of refusing them.
    """

    limit: int = 0
    valid: float = 0.2
    test: float = 0.2
    size: int = 0
    image_column: str = ""
    label_column: str = ""
    test_data: Files = ""
    drop_unlabelled: bool = False

    def __post_init__(self) -> None:
        if min(self.limit, self.size) < 0 or not (0 < self.valid < 1 and 0 < self.test < 1):
            raise ConfigError(
                f"images needs limit and size >= 0 and shares in (0, 1), got limit={self.limit}, "
                f"size={self.size}, valid={self.valid}, test={self.test}"
            )

    @property
    def asked(self) -> dict[str, Any]:
        """The settings, among those that only files of images know, that are not left empty."""
        names = ("image_column", "label_column", "test_data", "drop_unlabelled")
        return {name: value for name in names if (value := getattr(self, name))}


def checked_files(value: Any, place: str) -> Files:  # noqa: ANN401 - TOML
    """Return the name of a file, or those of several.

    Raises
    ------
    ConfigError
        If it is something else; names the setting.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ConfigError(f"{place!r} must be a file, or a list of files, got {value!r}")
