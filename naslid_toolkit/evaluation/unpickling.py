"""Reading records of benchmark results out of a pickle, without executing anything in it."""

import pickle  # its opcodes are interpreted here, its calls are not made
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any, Final

import numpy as np

from naslid_toolkit.errors import DataError

_LONGEST: Final = 1 << 26  # bytes of one string or frame; longer ones are an attack
_TRIAL: Final = frozenset({"eval_acc1es", "eval_losses", "eval_names", "epochs", "seed"})
_ARCHITECTURE: Final = frozenset({"all_results", "arch_str"})
_FEW: Final = 16
_EPOCH_KEY: Final = re.compile(r".+@\d+")  # 'x-valid@199': often new in every trial
_NUMBER_TYPE: Final = re.compile(r"[<>=|]?[fiub][1248]")


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of one architecture, reduced to its last epoch.

    ``results`` maps a split of the data set to accuracy in per cent and loss; ``seconds`` is the
    time of training, NaN where the file does not say.
    """

    seed: int
    epochs: int
    parameters: float
    flops: float
    seconds: float
    results: Mapping[str, tuple[float, float]]


class _Forgotten:
    """Stands for an object of an earlier record, which is no longer kept."""


_FORGOTTEN: Final = _Forgotten()
OnArchitecture = Callable[[str, Mapping[tuple[str, int], Trial]], None]


class TrainingsError(DataError):
    """A file that holds trainings of a benchmark and no plain table."""


def read_plain(file: BufferedIOBase) -> Any:  # noqa: ANN401 - whatever the file holds
    """Interpret the pickles of a file that hold a table: plain containers, numbers and texts.

    Parameters
    ----------
    file
        Stands at the start of one pickle, or of several one after the other.

    Returns
    -------
    object
        What the pickle holds; of several a list.

    Raises
    ------
    TrainingsError
        At the first training of an official benchmark file, which is no table.
    DataError
        As :func:`read_records`.
    """
    found = []
    start = file.tell()
    while file.read(1):
        file.seek(start)
        found.append(read_records(file, _refuse_architecture, on_trial=_refuse_trial))
        start = file.tell()
    return found[0] if len(found) == 1 else found


def _refuse_trial(_record: Mapping[str, Any]) -> Trial:
    raise TrainingsError(
        "the file holds trainings of a benchmark; make a table of it with 'naslid truth import'"
    )


def _refuse_architecture(_name: str, trials: Mapping[tuple[str, int], Trial]) -> None:
    _refuse_trial(trials)  # type: ignore[arg-type]  # whatever it holds, it is refused


def read_records(
    file: BufferedIOBase,
    on_architecture: OnArchitecture,
    *,
    on_trial: Callable[[Mapping[str, Any]], Trial] | None = None,
) -> Any:  # noqa: ANN401 - whatever the file holds
    """Interpret one pickle and hand over each architecture's trials as soon as they are read.

    Only opcodes that build plain data are understood. Ordered dictionaries, sets and numpy
    numbers are rebuilt, tensors are skipped; any other global name is an error, so nothing
    from the file is ever imported or called. Of what was handed over nothing is kept, which
    bounds the memory by one architecture.

    Parameters
    ----------
    file
        Stands at the start of a pickle and is left behind it.
    on_architecture
        Receives the official string and the trials by data set and seed.
    on_trial
        Reduces the record of one training; None keeps its last epoch.

    Returns
    -------
    object
        What the pickle held apart from the records.

    Raises
    ------
    DataError
        If the pickle is truncated, or names anything but plain data.
    """
    try:
        return _Reader(_Guarded(file), on_architecture, on_trial or _trial).load()
    except DataError:
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise DataError(f"the pickle is truncated or damaged ({error})") from error


class _Guarded:
    """A file that refuses to read unreasonably much at once."""

    def __init__(self, file: BufferedIOBase) -> None:
        self.file = file

    def read(self, size: int) -> bytes:
        if size > _LONGEST:
            raise DataError(f"the pickle announces a piece of {size} bytes; it was not read")
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(_LONGEST)


_Standard: Any = vars(pickle)["_Unpickler"]  # the interpreter written in Python


class _Reader(_Standard):  # type: ignore[misc]  # the standard library does not type it
    """The standard library's interpreter, restricted to plain data."""

    def __init__(
        self,
        file: _Guarded,
        on_architecture: OnArchitecture,
        on_trial: Callable[[Mapping[str, Any]], Trial],
    ) -> None:
        super().__init__(file)
        self._on_architecture = on_architecture
        self._on_trial = on_trial
        self._fresh: list[int] = []
        self._puts = 0
        self._keys: Counter[str] = Counter()

    def find_class(self, module: str, name: str, /) -> Callable[..., Any]:
        """Return the stand-in of a global name, or refuse it."""
        if module.partition(".")[0] == "torch":
            return _nothing
        if (module, name) not in _STANDINS:
            raise DataError(
                f"the pickle names {module}.{name}, which no benchmark file needs; "
                f"nothing of it was executed"
            )
        return _STANDINS[module, name]

    def persistent_load(self, _reference: object, /) -> None:
        """Leave out the numbers of tensors."""

    def _keep(self, index: int) -> None:
        self.memo[index] = self.stack[-1]
        self._fresh.append(index)
        self._puts = max(self._puts, index + 1)

    def _put(self) -> None:
        self._keep(int(self.readline()))

    def _binput(self) -> None:
        self._keep(self.read(1)[0])

    def _long_binput(self) -> None:
        self._keep(int.from_bytes(self.read(4), "little"))

    def _memoize(self) -> None:
        self._keep(self._puts)

    def _get(self) -> None:
        self.append(self.memo.get(int(self.readline()), _FORGOTTEN))

    def _binget(self) -> None:
        self.append(self.memo.get(self.read(1)[0], _FORGOTTEN))

    def _long_binget(self) -> None:
        self.append(self.memo.get(int.from_bytes(self.read(4), "little"), _FORGOTTEN))

    def _build(self) -> None:
        self.stack.pop()  # attributes of a rebuilt object; none is needed

    def _setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._fill([key, value])

    def _setitems(self) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list[Any]) -> None:
        """Fill the dictionary on top of the stack; reduce it if it is a record."""
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value
        if target.keys() >= _TRIAL:
            self.stack[-1] = self._on_trial(target)
            self._forget()
        elif target.keys() >= _ARCHITECTURE:
            self._on_architecture(target["arch_str"], target["all_results"])
            self.stack[-1] = None
            self._forget()

    def _forget(self) -> None:
        """Drop what only the record just read could refer to."""
        for index in self._fresh:
            if not self._may_come_again(self.memo[index]):
                del self.memo[index]
        self._fresh.clear()

    def _may_come_again(self, value: object) -> bool:
        """Say whether other records may refer to a value.

        Keys such as 'x-valid@199' and ('cifar10', 777) are either one object for all records or
        a new one in each; the first few of a value are kept, so that both work and the memory
        stays bounded.
        """
        short = isinstance(value, tuple) and all(isinstance(one, str | int) for one in value)
        if short or (isinstance(value, str) and _EPOCH_KEY.fullmatch(value)):
            self._keys[str(value)] += 1
            return self._keys[str(value)] <= _FEW
        return _shared(value)

    def _refuse(self) -> None:
        raise DataError("the pickle uses an operation that no benchmark file needs")


def _allowed(opcodes: str) -> dict[int, Callable[..., None]]:
    """Take over the standard library's reading of plain data."""
    every = dict.fromkeys(range(256), _Reader._refuse)  # noqa: SLF001 - of this module
    standard = _Reader.dispatch
    plain = [getattr(pickle, name)[0] for name in opcodes.split()]
    return {**every, **{code: standard[code] for code in plain}}


_PLAIN: Final = """
PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
BINBYTES SHORT_BINBYTES BINBYTES8
EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
EMPTY_DICT DICT EMPTY_SET ADDITEMS FROZENSET GLOBAL STACK_GLOBAL REDUCE PERSID BINPERSID
"""


def _shared(value: object) -> bool:
    """Say whether other records may refer to this: names, short lists of them, stand-ins."""
    if isinstance(value, list):
        return len(value) <= _FEW and all(isinstance(item, str) for item in value)
    return callable(value) or isinstance(value, str)


def _nothing(*_arguments: object) -> None:
    """Stand for a tensor."""


def _number_type(code: str, *_arguments: object) -> str:
    """Stand for a numpy type."""
    if not _NUMBER_TYPE.fullmatch(code):
        raise DataError(f"the pickle holds a numpy type {code!r}; only numbers are expected")
    return code


def _number(code: str, data: bytes | str) -> float | int:
    """Rebuild one numpy number."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    value: float | int = np.frombuffer(raw, _number_type(code), count=1)[0].item()
    return value


_STANDINS: Final[Mapping[tuple[str, str], Callable[..., Any]]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("numpy", "dtype"): _number_type,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
}
_Reader.dispatch = _allowed(_PLAIN)
_Reader.dispatch |= {
    pickle.PUT[0]: _Reader._put,  # noqa: SLF001 - of this module, as below
    pickle.BINPUT[0]: _Reader._binput,  # noqa: SLF001
    pickle.LONG_BINPUT[0]: _Reader._long_binput,  # noqa: SLF001
    pickle.MEMOIZE[0]: _Reader._memoize,  # noqa: SLF001
    pickle.GET[0]: _Reader._get,  # noqa: SLF001
    pickle.BINGET[0]: _Reader._binget,  # noqa: SLF001
    pickle.LONG_BINGET[0]: _Reader._long_binget,  # noqa: SLF001
    pickle.BUILD[0]: _Reader._build,  # noqa: SLF001
    pickle.SETITEM[0]: _Reader._setitem,  # noqa: SLF001
    pickle.SETITEMS[0]: _Reader._setitems,  # noqa: SLF001
}


def _trial(record: Mapping[str, Any]) -> Trial:
    """Reduce the record of one training to its last epoch."""
    last = record["epochs"] - 1
    accuracies, losses = record["eval_acc1es"], record["eval_losses"]
    names = record["eval_names"]
    for name in names:
        if f"{name}@{last}" not in accuracies:
            raise DataError(
                f"a training over {last + 1} epochs with seed {record['seed']} has no result after "
                f"the last of them on {name}: the file is partial"
            )
    results = {name: (accuracies[f"{name}@{last}"], losses[f"{name}@{last}"]) for name in names}
    train = record.get("train_acc1es")
    if isinstance(train, Mapping) and last in train:
        results["train"] = train[last], record["train_losses"][last]
    times = record.get("train_times")
    return Trial(
        seed=int(record["seed"]),
        epochs=int(record["epochs"]),
        parameters=float(record["params"]),
        flops=float(record["flop"]),
        seconds=float(sum(times.values())) if isinstance(times, Mapping) else float("nan"),
        results=results,
    )
