"""Ways to damage, swap and delete a file; each is drawn from a generator of its own seed."""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

Damage = Callable[[Path, Path, random.Random], None]  # the file, a canary outside, the draw
HUGE = 10**30
DEEP = 100_000
ODD: tuple[Any, ...] = (None, True, -1, 5, HUGE, 1e308, "0.5", "", "../../x", [], {}, [None])


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of damage.

    ``shows`` says whether a reader can know it without hashes: what leaves a file well-formed,
    with other but possible numbers, nobody can know in a run of format 1 or in a bare table.
    """

    name: str
    apply: Damage
    shows: bool = False


def _flip(path: Path, _canary: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        place = draw.randrange(len(data))
        data[place] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _cut(share: float) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: max(0, min(len(data) - 1, int(share * len(data))))])

    return apply


def _content(data: bytes) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        path.write_bytes(data)

    return apply


def _gone(path: Path, _canary: Path, _draw: random.Random) -> None:
    path.unlink()


def _link(path: Path, canary: Path, _draw: random.Random) -> None:
    shutil.copyfile(path, canary)
    path.unlink()
    path.symlink_to(canary)


def _dangling(path: Path, canary: Path, _draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(canary.with_name("nothing"))


def _pipe(path: Path, _canary: Path, _draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, _canary: Path, _draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _neighbour(path: Path, _canary: Path, draw: random.Random) -> None:
    """Put another file of the same ending, or else of any, in its place."""
    root = next(p for p in path.parents if p.name == "victim")
    others = [p for p in sorted(root.rglob("*")) if p.is_file() and p != path]
    alike = [p for p in others if p.suffix == path.suffix] or others
    if alike:
        shutil.copyfile(draw.choice(alike), path)


COMMON: tuple[Kind, ...] = (
    *(Kind(f"flip{number}", _flip) for number in range(8)),
    *(Kind(f"cut{int(100 * share)}", _cut(share)) for share in (0.1, 0.5, 0.9)),
    Kind("cut1byte", _cut(1.0)),
    Kind("empty", _content(b"")),
    Kind("junk", _content(random.Random(0).randbytes(4096)), shows=True),
    Kind("nul", _content(b"\0" * 512), shows=True),
    Kind("swap", _neighbour),
    Kind("gone", _gone),
    Kind("link", _link),
    Kind("dangling", _dangling),
    Kind("pipe", _pipe),
    Kind("folder", _folder),
)


def kinds_of(path: Path) -> tuple[Kind, ...]:
    """Return the damages of a file, with those of its format."""
    special = {
        ".json": _json_kinds,
        ".jsonl": _line_kinds,
        ".toml": _toml_kinds,
        ".parquet": _table_kinds,
        ".safetensors": _tensor_kinds,
        ".csv": _csv_kinds,
    }.get(path.suffix)
    return (*COMMON, *(special(path) if special else ()))


def _json_kinds(path: Path) -> list[Kind]:
    data = json.loads(path.read_text())
    places = list(_places(data))
    kinds = [
        Kind("deep", _content(b"[" * DEEP + b"]" * DEEP), shows=True),
        Kind("null", _content(b"null"), shows=True),
        Kind("list", _content(b"[1, 2]"), shows=True),
        Kind("nan", _content(b'{"format": NaN}'), shows=True),
        Kind("format99", _put(("format",), 99), shows=True),
        Kind("format list", _put(("format",), []), shows=True),
    ]
    for place in _some(places, 14):
        label = ".".join(map(str, place))
        kinds.append(Kind(f"without {label}", _without(place)))
        kinds += [Kind(f"{label} {number}", _put(place, v)) for number, v in enumerate(ODD)]
    return kinds


def _places(data: Any, below: tuple = ()) -> Any:
    """Go through the places in nested data, of lists the first item alone."""
    items = data.items() if isinstance(data, dict) else enumerate(data[:1])
    for key, value in items:
        yield (*below, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*below, key))


def _some(places: list, count: int) -> list:
    step = max(1, len(places) // count)
    return places[::step]


def _put(place: tuple, value: Any) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        data = json.loads(path.read_text())
        target = data
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value
        path.write_text(json.dumps(data))

    return apply


def _without(place: tuple) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        data = json.loads(path.read_text())
        target = data
        for key in place[:-1]:
            target = target[key]
        del target[place[-1]]
        path.write_text(json.dumps(data))

    return apply


def _line_kinds(path: Path) -> list[Kind]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [
        Kind("no objects", _content(b"[1]\n"), shows=True),
        Kind("null lines", _content(b"null\n"), shows=True),
        Kind("deep line", _content(b"[" * DEEP + b"]" * DEEP + b"\n"), shows=True),
        Kind("odd lines", _content(b"{}\n"), shows=True),
        Kind("twice", _twice),
        Kind("reversed", _reversed),
    ]
    seen: set[str] = set()
    for number, row in enumerate(rows):
        kind = str(row.get("event", ""))
        if kind in seen:
            continue
        seen.add(kind)
        for key in row:
            if key == "chain":
                continue
            kinds.append(Kind(f"line {number} without {key}", _in_line(number, key, ...)))
            for place, value in enumerate(ODD):
                kinds.append(Kind(f"line {number} {key} {place}", _in_line(number, key, value)))
    return kinds


def _in_line(number: int, key: str, value: Any) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        lines = path.read_text().splitlines()
        row = json.loads(lines[number])
        if value is ...:
            del row[key]
        else:
            row[key] = value
        lines[number] = json.dumps(row)
        path.write_text("\n".join(lines) + "\n")

    return apply


def _twice(path: Path, _canary: Path, _draw: random.Random) -> None:
    """Give one architecture, or event, a second and other line."""
    first = path.read_text().splitlines()[0]
    row = json.loads(first)
    row |= {"score": 0.987654} if "score" in row else {}
    path.write_text(path.read_text() + json.dumps(row) + "\n")


def _reversed(path: Path, _canary: Path, _draw: random.Random) -> None:
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")


def _toml_kinds(path: Path) -> list[Kind]:
    import tomllib

    data = tomllib.loads(path.read_text())
    kinds = [
        Kind("unknown key", _content(b"../../x = 1\n"), shows=True),
        Kind("deep", _content(b"a = " + b"[" * 5000 + b"]" * 5000), shows=True),
    ]
    odd = [value for value in ODD if value is not None and value != [None]]
    odd[odd.index(HUGE)] = 2**62
    for place in _places(data):
        label = ".".join(map(str, place))
        kinds += [
            Kind(f"{label} {number}", _put_toml(place, value)) for number, value in enumerate(odd)
        ]
    return kinds


def _put_toml(place: tuple, value: Any) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        import tomllib

        data = tomllib.loads(path.read_text())
        target = data
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value
        path.write_text(tomli_w.dumps(data))

    return apply


def _table_kinds(path: Path) -> list[Kind]:
    frame = pd.read_parquet(path)
    kinds = [
        Kind("no rows", _framed(lambda f: f.iloc[:0])),
        Kind("no columns", _framed(lambda f: f[[]]), shows=True),
        Kind("other columns", _framed(lambda _: pd.DataFrame({"../../x": [1]})), shows=True),
        Kind("plain index", _framed(lambda f: f.reset_index(drop=True))),
        Kind("rows twice", _framed(lambda f: pd.concat([f, f]))),
        Kind("a row less", _framed(lambda f: f.iloc[1:])),
        Kind("nested", _nested, shows=True),
    ]
    for name in list(frame)[:8]:
        kinds.append(Kind(f"without {name}", _framed(lambda f, n=name: f.drop(columns=[n]))))
        for number, value in enumerate((None, float("nan"), float("inf"), -1.0, 5.0, "x", True)):
            kinds.append(Kind(f"{name} {number}", _framed(_with(name, value))))
    return kinds


def _with(name: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{name: [value] * len(frame)})

    return change


def _framed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
        change(pd.read_parquet(path)).to_parquet(path)

    return apply


def _nested(path: Path, _canary: Path, _draw: random.Random) -> None:
    pq.write_table(pa.table({"score": [[{"a": 1}], [{"a": 2}]]}), path)


def _tensor_kinds(_path: Path) -> list[Kind]:
    def header(change: Callable[[dict], dict]) -> Damage:
        def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
            data = path.read_bytes()
            (size,) = struct.unpack("<Q", data[:8])
            head = json.dumps(change(json.loads(data[8 : 8 + size]))).encode()
            path.write_bytes(struct.pack("<Q", len(head)) + head + data[8 + size :])

        return apply

    def tensors(change: Callable[[dict], dict]) -> Damage:
        def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
            from safetensors import safe_open
            from safetensors.torch import load_file, save_file

            with safe_open(path, framework="pt") as handle:
                metadata = handle.metadata()
            save_file(change(load_file(path)), path, metadata=metadata)

        return apply

    def first(change: Callable[[Any], Any]) -> Callable[[dict], dict]:
        return lambda t: {n: (change(v) if i == 0 else v) for i, (n, v) in enumerate(t.items())}

    return [
        Kind("no tensors", tensors(lambda _: {}), shows=True),
        Kind("a tensor less", tensors(lambda t: dict(list(t.items())[1:])), shows=True),
        Kind("renamed", tensors(lambda t: {f"{n}x": v for n, v in t.items()}), shows=True),
        Kind("one flat", tensors(first(lambda v: v.flatten()[:1].clone())), shows=True),
        Kind(
            "one larger",
            tensors(first(lambda v: v.repeat(2, *[1] * (v.ndim - 1)) if v.ndim else v.repeat(2))),
            shows=True,
        ),
        Kind("one of bytes", tensors(first(lambda v: v.bool()))),
        Kind("a stranger", tensors(lambda t: {**t, "snapshotx.a": next(iter(t.values())).clone()})),
        Kind("no metadata", header(lambda h: {n: v for n, v in h.items() if n != "__metadata__"})),
        Kind("odd metadata", header(lambda h: {**h, "__metadata__": {"store": "[]"}})),
        Kind(
            "empty metadata",
            header(lambda h: {**h, "__metadata__": {"store": '{"layers": 1, "edges": [{}]}'}}),
        ),
    ]


def _csv_kinds(_path: Path) -> list[Kind]:
    def lines(change: Callable[[list[str]], list[str]]) -> Damage:
        def apply(path: Path, _canary: Path, _draw: random.Random) -> None:
            path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

        return apply

    def number(text: str) -> Damage:
        return lines(lambda rows: [rows[0], *(r.rpartition(",")[0] + f",{text}" for r in rows[1:])])

    return [
        Kind("no head", lines(lambda rows: rows[1:])),
        Kind("only head", lines(lambda rows: rows[:1]), shows=True),
        Kind("more cells", lines(lambda rows: [rows[0], *(f"{r},1,2" for r in rows[1:])])),
        Kind("quotes", lines(lambda rows: [rows[0], '"' + rows[1], *rows[2:]])),
        *(Kind(f"all {text}", number(text)) for text in ("nan", "inf", "-1", "1e999", "x", "")),
    ]
