"""Benchmark files and tables that were made, or damaged, to break whoever reads them."""

import bz2
import gzip
import io
import os
import pickle
import random
import struct
import zipfile
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from naslid_toolkit.cli import main
from naslid_toolkit.errors import DataError
from naslid_toolkit.evaluation.importing import import_benchmark
from naslid_toolkit.evaluation.plain_pickles import read_plain
from naslid_toolkit.evaluation.reading import read_raw
from naslid_toolkit.evaluation.unpickling import read_records
from naslid_toolkit.space.nasbench201 import benchmark_order, format_architecture

NAMES = [format_architecture(a) for a in benchmark_order()[:12]]
START = b"\x80\x04"
SEEDS = (777, 888)
SPLITS = ("x-valid", "ori-test")


def text(value: str, shared: bool) -> str:
    """The same text, or an equal one that is an object of its own."""
    return value if shared else "".join(list(value))


def trial(seed: int, shared: bool) -> dict:
    keys = [text(f"{split}@1", shared) for split in SPLITS]
    return {
        "params": 1.0,
        "flop": 2.0,
        "train_times": {0: 1.0, 1: 1.0},
        "eval_acc1es": dict.fromkeys(keys, 60.0 + seed / 1000),
        "eval_losses": dict.fromkeys(keys, 1.0),
        "eval_names": [text(split, shared) for split in SPLITS],
        "seed": seed,
        "epochs": 2,
    }


def architecture(name: str, shared: bool) -> dict:
    trials = {(text("cifar10", shared), seed): trial(seed, shared) for seed in SEEDS}
    return {"full": {"arch_str": name, "all_results": trials}}


def benchmark(names: list[str], *, shared: bool = True) -> dict:
    return {"arch2infos": {i: architecture(name, shared) for i, name in enumerate(names)}}


TABLE = {NAMES[0]: 1.5, NAMES[1]: 2, "others": [1, (2, 3), None, True, b"x", 10**30, {4}]}
BENCHMARKS = [pickle.dumps(benchmark(NAMES[:1]), protocol=p) for p in range(2, 6)]
TABLES = [pickle.dumps(TABLE, protocol=p) for p in range(2, 6)]


def records(content: bytes) -> list:
    found = []
    read_records(io.BytesIO(content), lambda name, trials: found.append((name, trials)))
    return found


def plain(content: bytes) -> object:
    return read_plain(io.BytesIO(content))


def only_refused(read, content: bytes) -> None:
    """Read it, or refuse it as data; another error goes on."""
    with suppress(DataError):
        read(content)


def flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("shared", [True, False])
def test_texts_are_understood_whether_records_share_them_or_not(shared):
    found = records(pickle.dumps(benchmark(NAMES * 4, shared=shared), protocol=4))

    assert [name for name, _ in found] == NAMES * 4
    assert all(set(trials) == {("cifar10", seed) for seed in SEEDS} for _, trials in found)


def test_texts_that_trainings_of_one_architecture_share_are_understood():
    infos = {}
    for number, name in enumerate(NAMES * 4):  # more of each text than are kept for all records
        made = architecture(name, shared=False)
        first, second = made["full"]["all_results"].values()
        for part in ("eval_acc1es", "eval_losses"):
            second[part] = dict(zip(first[part], second[part].values(), strict=True))
        infos[number] = made

    found = records(pickle.dumps({"arch2infos": infos}, protocol=4))

    assert len(found) == len(infos)
    assert all(trials["cifar10", 888].results["ori-test"][0] == 60.888 for _, trials in found)


@pytest.mark.parametrize("content", BENCHMARKS + TABLES)
def test_a_pickle_cut_anywhere_is_refused(content):
    read = records if content in BENCHMARKS else plain

    for end in range(len(content)):
        if end or read is records:
            with pytest.raises(DataError):
                read(content[:end])


@pytest.mark.parametrize("number", range(4))
def test_flipped_bytes_and_random_operations_never_escape_as_another_error(number):
    draw = random.Random(number)

    for _ in range(400):
        only_refused(records, flipped(BENCHMARKS[number], draw))
        only_refused(plain, flipped(TABLES[number], draw))
        noise = bytes(draw.randrange(256) for _ in range(draw.randint(1, 30)))
        only_refused(plain, START + noise + b".")


DEEP = 20_000
PAIRS = b"".join(b"0(h" + bytes([i]) + b"h" + bytes([i]) + b"t\x94" for i in range(60))
ATTACKS = {
    "lists within each other": b"(" * DEEP + b"l" * DEEP,
    "a key of tuples within each other": b"})" + b"\x85" * DEEP + b"Ns",
    "a set of tuples within each other": b"\x8f()" + b"\x85" * DEEP + b"\x90",
    "a frozen set of tuples within each other": b"()" + b"\x85" * DEEP + b"\x91",
    "a dictionary of tuples within each other": b"()" + b"\x85" * DEEP + b"Nd",
    "ordered by tuples within each other": b"ccollections\nOrderedDict\n(()"
    + b"\x85" * DEEP
    + b"Ntl\x85R",
    "a list within itself": b"]\x94h\x00a",
    "a value that doubles 60 times": b"K\x01\x94" + PAIRS,
    "a key that doubles 60 times": b"}K\x01\x94" + PAIRS + b"Ns",
    "LONG4 of 2 GiB": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x",
    "LONG4 of less than nothing": b"\x8b" + struct.pack("<i", -5) + b"x",
    "BINBYTES8 of 2^63": b"\x8e" + struct.pack("<Q", 2**63) + b"x",
    "BINBYTES8 of 2^40": b"\x8e" + struct.pack("<Q", 2**40) + b"x",
    "a frame of 2^40": b"\x95" + struct.pack("<Q", 2**40) + b"x",
    "a number of 10^6 digits": b"I" + b"9" * 10**6 + b"\n",
    "a float of 3 bytes": b"Gabc",
    "a function of another module": b"cos\nsystem\n",
    "a name of 10^6 letters": b"c" + b"x" * 10**6 + b"\ny\n",
    "a type of 10^6 letters": b"cnumpy\ndtype\nX"
    + struct.pack("<I", 10**6)
    + b"x" * 10**6
    + b"\x85R",
    "memo index of 10^9, never written": b"r\x00\xca\x9a;",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_a_pickle_is_refused_in_a_short_sentence(attack, tmp_path):
    path = tmp_path / "table.pickle"
    path.write_bytes(START + ATTACKS[attack] + b".")

    with pytest.raises(DataError) as caught:
        read_raw(path)

    assert len(str(caught.value)) < 600


def test_memo_indices_of_a_thousand_million_need_no_memory():
    assert plain(START + b"\x8c\x01xp1000000000\n0Nr\x00\xca\x9a;.") is None


def bomb(megabytes: int) -> bytes:
    packer = bz2.BZ2Compressor()
    piece = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
    parts = [packer.compress(START)]
    parts += [packer.compress(piece) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


def test_a_small_file_that_unpacks_to_much_is_refused_early(tmp_path):
    path = tmp_path / "NATS-tss-v1_0-3ffb9-simple.pickle.pbz2"
    path.write_bytes(bomb(20))

    with pytest.raises(DataError, match="far more than data does"):
        import_benchmark(path, tmp_path / "out.parquet")

    assert path.stat().st_size < 300
    assert list(tmp_path.iterdir()) == [path]


def test_a_small_text_that_unpacks_to_much_is_refused_early(tmp_path):
    path = tmp_path / "scores.csv.gz"
    path.write_bytes(gzip.compress(b"architecture,score\n" + b"a,1\n" * 20_000_000, 1))

    with pytest.raises(DataError, match="64 MiB of text, which no table needs"):
        read_raw(path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_a_zip_archive_is_read_or_refused_however_it_is_packed(tmp_path, kind):
    path = tmp_path / "NAS-Bench-201.pth"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("x/data.pkl", BENCHMARKS[0])
    whole, draw = path.read_bytes(), random.Random(0)

    assert import_benchmark(path, tmp_path / "out.parquet").architectures == 1
    for _ in range(60):
        path.write_bytes(flipped(whole, draw))
        only_refused(lambda _: import_benchmark(path, tmp_path / "out.parquet"), b"zip")


def test_an_encrypted_zip_archive_is_refused(tmp_path):
    path = tmp_path / "NAS-Bench-201.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", BENCHMARKS[0])
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1  # the flag of encryption
    path.write_bytes(content)

    with pytest.raises(DataError, match="encrypted"):
        import_benchmark(path, tmp_path / "out.parquet")


@pytest.mark.parametrize("accuracy", [-1.0, 101.0, float("inf")])
def test_an_accuracy_that_cannot_be_is_not_imported(tmp_path, accuracy):
    data = benchmark(NAMES[:1])
    data["arch2infos"][0]["full"]["all_results"]["cifar10", 777]["eval_acc1es"]["x-valid@1"] = (
        accuracy
    )
    path = tmp_path / "NATS-tss.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(data, protocol=4)))

    with pytest.raises(DataError, match="has an accuracy of"):
        import_benchmark(path, tmp_path / "out.parquet")


@pytest.mark.parametrize("command", ["evaluate", "truth", "import", "pack"])
def test_a_pipe_or_device_is_refused_and_not_waited_for(tmp_path, command, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    calls = {
        "evaluate": [["evaluate", pipe, "--truth", pipe]],
        "truth": [["truth", "audit", pipe], ["truth", "agree", "/dev/zero"]],
        "import": [["truth", "import", pipe], ["truth", "import", "/dev/zero"]],
        "pack": [["pack", pipe, tmp_path / "out.parquet"], ["pack", "/dev/zero", tmp_path / "o"]],
    }

    for call in calls[command]:
        assert main(list(map(str, call))) == 2
        assert "naslid: error: " in capsys.readouterr().err


def test_a_pipe_in_a_folder_of_a_benchmark_is_refused(tmp_path):
    folder = tmp_path / "benchmark"
    folder.mkdir()
    os.mkfifo(folder / "000000-FULL.pth")

    with pytest.raises(DataError, match=r"000000-FULL.pth in .* is no file"):
        import_benchmark(folder, tmp_path / "out.parquet")


def test_names_of_files_need_not_be_in_utf_8(tmp_path, capsys):
    table = tmp_path / os.fsdecode(b"scores\xff.csv")
    rows = (f"{name},{number}" for number, name in enumerate(NAMES))
    table.write_text("\n".join(["architecture,score", *rows]))
    packed = tmp_path / os.fsdecode(b"NATS\xff.pickle.pbz2")
    packed.write_bytes(bz2.compress(BENCHMARKS[0]))

    for number, source in enumerate((table, packed)):
        out = tmp_path / os.fsdecode(b"\xff%d.parquet" % number)
        assert main(["truth", "import", str(source), "--out", str(out), "-q"]) == 0
        assert r"\xff" in read_raw(out).metadata["source"]
    assert main(["evaluate", str(table), "--truth", str(table), "--resamples", "10"]) == 0
    assert r"scores\xff.csv" in capsys.readouterr().out


@pytest.mark.parametrize("metadata", [b"{", b"[]", b"\xff", b'{"columns": 3}', b"[" * 100_000])
def test_damaged_notes_of_pandas_in_a_parquet_file_are_left_out(tmp_path, metadata):
    path = tmp_path / "table.parquet"
    table = pa.table({"architecture": NAMES, "accuracy": list(map(float, range(12)))})
    pq.write_table(table.replace_schema_metadata({b"pandas": metadata, b"\xff": b"\xff"}), path)

    read = read_raw(path)

    assert list(read.frame) == ["architecture", "accuracy"]
    assert len(read.frame) == 12


JSON = [
    '{"columns": 3, "data": 4}',
    '{"columns": ["a"], "data": [4]}',
    '{"columns": [["a"]], "data": [[4]]}',
    '{"a": ' * 100_000,
    '{"a": ' + "9" * 5000 + "}",
    '{"' + "k" * 10**6 + '": 1, "' + "k" * 10**6 + '": 2}',
    "architecture," + "y" * 10**6 + "\na,1\nb,2\n",
    "architecture,score\na," + "y" * 10**6 + "\nb,2\n",
    "architecture,score\n",
]


@pytest.mark.parametrize("number", range(len(JSON)))
def test_a_table_of_another_shape_is_refused_in_a_short_sentence(tmp_path, number):
    path = tmp_path / "table"
    path.write_text(JSON[number])

    with pytest.raises(DataError) as caught:
        read_raw(path)

    assert len(str(caught.value)) < 600
