"""Reading records of benchmark results out of a pickle, without executing anything in it."""

import pickle  # its opcodes are interpreted here, its calls are not made
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any, Final

import numpy as np

from naslid_toolkit.errors import DataError

_LONGEST: Final = 1 << 26  # bytes of one string or frame; longer ones are an attack
_TRIAL: Final = frozenset({"eval_acc1es", "eval_losses", "eval_names", "epochs", "seed"})
_ARCHITECTURE: Final = frozenset({"all_results", "arch_str"})
_ALWAYS: Final = 1 << 22  # bytes that any packed file may unfold to, and how many for each of its
_PACKED_TO: Final = 100
_FEW: Final = 16
_KEY_DEPTH: Final = 3  # tuples within each other in a key, and the most entries of each
_KEY_ENTRIES: Final = 64
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


def most_unpacked(packed: int) -> int:
    """Return how many bytes a packed file of data may unfold to: an attack gives far more.

    Examples
    --------
    >>> most_unpacked(2_000) / 2**20 < 5
    True
    """
    return _ALWAYS + _PACKED_TO * packed


class _Forgotten:
    """Stands for an object of an earlier record, which is no longer kept."""


_FORGOTTEN: Final = _Forgotten()
OnArchitecture = Callable[[str, Mapping[tuple[str, int], Trial]], None]


def read_records(
    file: BufferedIOBase,
    on_architecture: OnArchitecture,
    *,
    on_trial: Callable[[Mapping[str, Any]], Trial] | None = None,
    most_bytes: int | None = None,
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
    most_bytes
        How much to read at most; None: any amount.

    Returns
    -------
    object
        What the pickle held apart from the records.

    Raises
    ------
    DataError
        If the pickle is truncated, larger than allowed, or names anything but plain data.
    """
    try:
        return _Reader(_Guarded(file, most_bytes), on_architecture, on_trial or _trial).load()
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"the pickle is truncated or damaged ({error})") from error


_DAMAGED: Final = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


class _Guarded:
    """A file that refuses to read unreasonably much, at once or in all."""

    def __init__(self, file: BufferedIOBase, most_bytes: int | None) -> None:
        self.file = file
        self._left = float("inf") if most_bytes is None else most_bytes

    def read(self, size: int) -> bytes:
        if size > _LONGEST:
            raise DataError(f"the pickle announces a piece of {size} bytes; it was not read")
        return self._counted(self.file.read(size))

    def readline(self) -> bytes:
        return self._counted(self.file.readline(_LONGEST))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise DataError("the packed data unfolds to far more than data does; it was not read")
        return data


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

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    def _additems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(map(_key, items))

    def _frozenset(self) -> None:
        self.append(frozenset(map(_key, self.pop_mark())))

    def _fill(self, items: list[Any]) -> None:
        """Fill the dictionary on top of the stack; reduce it if it is a record."""
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value
        if target.keys() >= _TRIAL:
            self.stack[-1] = self._on_trial(target)
            self._forget(names=False)  # other trainings of the architecture may refer to them
        elif target.keys() >= _ARCHITECTURE:
            self._on_architecture(target["arch_str"], target["all_results"])
            self.stack[-1] = None
            self._forget(names=True)

    def _forget(self, *, names: bool) -> None:
        """Drop what only the record just read could refer to, and its names if that is wanted."""
        waiting = []
        for index in self._fresh:
            value = self.memo.get(index)
            if not names and (isinstance(value, str) or _is_short(value)):
                waiting.append(index)
            elif not self._may_come_again(value):
                self.memo.pop(index, None)
        self._fresh = waiting

    def _may_come_again(self, value: object) -> bool:
        """Say whether other records may refer to a value.

        Keys such as 'x-valid@199' and ('cifar10', 777) are either one object for all records or
        a new one in each; the first few of a value are kept, so that both work and the memory
        stays bounded.
        """
        if _is_short(value) or (isinstance(value, str) and _EPOCH_KEY.fullmatch(value)):
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
EMPTY_DICT EMPTY_SET GLOBAL STACK_GLOBAL REDUCE PERSID BINPERSID
"""


def _is_short(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str | int) for one in value)


def _shared(value: object) -> bool:
    """Say whether other records may refer to this: names, short lists of them, stand-ins."""
    if isinstance(value, list):
        return len(value) <= _FEW and all(isinstance(item, str) for item in value)
    return callable(value) or isinstance(value, str)


def _key(value: Any, depth: int = _KEY_DEPTH) -> Any:  # noqa: ANN401 - plain data
    """Return a key; refuse tuples so deep or long that hashing them would never end."""
    if isinstance(value, tuple | frozenset):
        if not depth or len(value) > _KEY_ENTRIES:
            raise DataError("the pickle has a key that is nested too deeply for a name")
        for one in value:
            _key(one, depth - 1)
    return value


def _ordered(items: Iterable[tuple[Any, Any]] = ()) -> "OrderedDict[Any, Any]":
    """Stand for an ordered dictionary."""
    return OrderedDict((_key(key), value) for key, value in items)


def _set(items: Iterable[Any] = ()) -> set[Any]:
    """Stand for a set."""
    return set(map(_key, items))


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
    ("collections", "OrderedDict"): _ordered,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
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
    pickle.DICT[0]: _Reader._dict,  # noqa: SLF001
    pickle.ADDITEMS[0]: _Reader._additems,  # noqa: SLF001
    pickle.FROZENSET[0]: _Reader._frozenset,  # noqa: SLF001
}


def _trial(record: Mapping[str, Any]) -> Trial:
    """Reduce the record of one training to its last epoch."""
    last = record["epochs"] - 1
    accuracies, losses = record["eval_acc1es"], record["eval_losses"]
    names = record["eval_names"]
    for name in names:
        if not isinstance(name, str):
            raise DataError("a training names what it was evaluated on by no text")
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
