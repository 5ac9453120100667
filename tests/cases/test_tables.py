"""Tables of scores and of reference accuracies, in the dresses that people bring."""

import bz2
import gzip
import json
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from naslid_toolkit.cli import main
from naslid_toolkit.errors import ConfigError, DataError
from naslid_toolkit.evaluation.benchmark import load_reference, read_columns, read_scores
from naslid_toolkit.evaluation.columns import kind_of, numbers
from naslid_toolkit.evaluation.notations import translate
from naslid_toolkit.evaluation.panel import evaluate
from naslid_toolkit.evaluation.ranking import tau_b
from naslid_toolkit.space.architecture import live_edges
from naslid_toolkit.space.nasbench201 import (
    EDGES,
    OPERATIONS,
    benchmark_order,
    format_architecture,
    nasbench201,
    parse_architecture,
)

ORDER = benchmark_order()
DEAD = "|none~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|"
LIVE = [any(live_edges(EDGES, [(op,) for op in cell.operations])) for cell in ORDER[:200]]
INDICES = np.flatnonzero(LIVE)[:29].tolist()
SPACE = nasbench201()
EVERY = [format_architecture(cell, SPACE) for cell in ORDER]
CELLS = [EVERY[i] for i in INDICES] + [DEAD]
DRAW = np.random.default_rng(0)
ACCURACY = np.r_[DRAW.uniform(70, 94, 29).round(3), 10.0]
SCORE = np.r_[(ACCURACY[:29] + DRAW.normal(0, 6, 29)).round(3), 1.0]
TAU = tau_b(SCORE, ACCURACY)

NASLIB = ["skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"]
NASLIB_EDGES = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def operations(name: str) -> dict:
    return dict(zip(EDGES, parse_architecture(name).operations, strict=True))


def naslib(name: str) -> tuple:
    return tuple(NASLIB.index(operations(name)[edge]) for edge in NASLIB_EDGES)


def codes(name: str) -> list:
    return [OPERATIONS.index(operations(name)[edge]) for edge in EDGES]


def genotype(name: str) -> str:
    nodes = [
        [(op, s) for (s, t), op in operations(name).items() if t == node] for node in (1, 2, 3)
    ]
    return str([tuple(node) for node in nodes])


def by_edge(name: str) -> str:
    return str({f"{s}_{t}": op.removeprefix("nor_") for (s, t), op in operations(name).items()})


def truth_values(name: str) -> str:
    order = ["none", "avg_pool_3x3", "nor_conv_3x3", "nor_conv_1x1", "skip_connect"]
    chosen = {f"{s}_{t}": [one == op for one in order] for (s, t), op in operations(name).items()}
    return json.dumps(chosen)


DRESSES = {
    "official": str,
    "spaces around": lambda name: f"  {name} ",
    "spaces inside": lambda name: name.replace("+", " + "),
    "genotype": genotype,
    "by edge": by_edge,
    "truth values": truth_values,
    "NASLib tuple": lambda name: str(naslib(name)),
    "NASLib list": lambda name: str(list(naslib(name))),
    "benchmark digits": lambda name: str(codes(name)),
    "names of NASLib": lambda name: str([NASLIB[i] for i in naslib(name)]),
    "index": lambda name: str(EVERY.index(name)),
}


def tau_of(path, **options) -> float:
    table = read_scores(path, known=CELLS, **options)
    frame = pd.concat([table.scores.iloc[:, 0], pd.Series(ACCURACY, CELLS)], axis=1, join="inner")
    assert len(frame) == len(CELLS)
    return tau_b(frame.iloc[:, 0], frame.iloc[:, 1])


def write(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def rows(*columns, header: str, separator: str = ",") -> str:
    lines = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize("dress", DRESSES)
def test_every_notation_gives_the_same_tau(tmp_path, dress):
    names = [DRESSES[dress](name) for name in CELLS]
    pd.DataFrame({"architecture": names, "score": SCORE}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"arch": names, "test_accuracy": ACCURACY}).to_csv(tmp_path / "t.csv", index=False)

    truth = load_reference(tmp_path / "t.csv")

    assert tau_of(tmp_path / "s.csv") == pytest.approx(TAU)
    assert truth.accuracy[CELLS].tolist() == pytest.approx(list(ACCURACY / 100))


@pytest.mark.parametrize("dtype", ["int64", "uint16", "Int32", "float16", "float32", "Float64"])
def test_every_numeric_type_is_a_number(tmp_path, dtype):
    values = pd.Series(np.arange(30) + 60).astype(dtype)
    pd.DataFrame({"arch": CELLS, "score": values}).to_parquet(tmp_path / "s.parquet")

    scores = read_scores(tmp_path / "s.parquet").scores
    truth = load_reference(tmp_path / "s.parquet")

    assert scores["score"][CELLS].tolist() == list(range(60, 90))
    assert truth.accuracy[CELLS[0]] == pytest.approx(0.6)


def test_decimals_are_numbers(tmp_path):
    values = pa.array([Decimal(f"{value:.3f}") for value in SCORE])
    pq.write_table(pa.table({"arch": CELLS, "score": values}), tmp_path / "s.parquet")

    assert tau_of(tmp_path / "s.parquet") == pytest.approx(TAU)


def test_integers_in_text_are_judged_and_what_is_not_is_named(tmp_path):
    text = rows(CELLS, (SCORE * 1000).astype(int), ["True"] * 30, header="arch,score,works")
    path = write(tmp_path / "s.csv", text)

    table = read_scores(path)

    assert tau_of(path) == pytest.approx(TAU)
    assert list(table.scores) == ["score"]
    assert table.reading.left_out == {"works": "true or false, not numbers"}
    with pytest.raises(DataError, match="column 'works' of .* is true or false"):
        read_scores(path, methods=["works"])
    with pytest.raises(DataError, match="column 'works' of .* is true or false"):
        load_reference(path, column="works")


def test_a_table_without_numbers_says_why(tmp_path):
    path = write(tmp_path / "s.csv", rows(CELLS, ["True"] * 30, header="arch,works"))

    with pytest.raises(DataError, match="no column of scores: 'works' is true or false"):
        read_scores(path)
    with pytest.raises(DataError, match="no column of accuracies: 'works' is true or false"):
        load_reference(path)


TEXTS = {
    "semicolons": rows(CELLS, SCORE, header="arch;score", separator=";"),
    "decimal commas": rows(
        CELLS, [str(v).replace(".", ",") for v in SCORE], header="arch;score", separator=";"
    ),
    "quoted commas": rows(CELLS, [f'"{v}"'.replace(".", ",") for v in SCORE], header="arch,score"),
    "tabs": rows(CELLS, SCORE, header="arch\tscore", separator="\t"),
    "blanks": rows(CELLS, SCORE, header="arch score", separator=" "),
    "per cent signs": rows(CELLS, [f"{v}%" for v in SCORE], header="arch,score"),
    "byte order mark": "\ufeff" + rows(CELLS, SCORE, header="arch,score"),
    "capitals": rows(CELLS, SCORE, header="ArchitectureString,Score"),
    "no name of the names": rows(CELLS, SCORE, header=",score"),
    "numbered rows": rows(range(30), CELLS, SCORE, header=",arch,score"),
    "row names of R": rows(range(30), CELLS, SCORE, header="arch,score"),
    "last separator": rows(CELLS, SCORE, [""] * 30, header="arch,score"),
    "comment": "# scores of a run\n" + rows(CELLS, SCORE, header="arch,score"),
    "header in a comment": rows(CELLS, SCORE, header="# arch,score"),
    "no header": rows(CELLS, SCORE, header="").lstrip(),
    "another name": rows(CELLS, SCORE, header="my nets,score"),
    "two of names": rows(
        CELLS, ["x" * i for i in range(30)], SCORE, header="arch_str,Unique,score"
    ),
    "loss": rows(CELLS, -SCORE, header="arch,valid_loss"),
    "error": rows(CELLS, 100 - SCORE, header="arch,error"),
    "rank": rows(CELLS, pd.Series(-SCORE).rank().astype(int), header="arch,rank"),
    "JSON": json.dumps(dict(zip(CELLS, SCORE, strict=True))),
    "JSON of columns": pd.DataFrame({"arch": CELLS, "score": SCORE}).to_json(),
    "JSON of records": pd.DataFrame({"arch": CELLS, "score": SCORE}).to_json(orient="records"),
    "JSON split": pd.DataFrame({"arch": CELLS, "score": SCORE}).to_json(orient="split"),
    "JSON lines": pd.DataFrame({"arch": CELLS, "score": SCORE}).to_json(
        orient="records", lines=True
    ),
    "JSON lists": json.dumps({"arch": CELLS, "score": list(SCORE)}),
    "JSON pairs": json.dumps(list(zip(CELLS, SCORE, strict=True))),
    "few-shot NAS": json.dumps({genotype(n): s for n, s in zip(CELLS, SCORE, strict=True)}),
    "NASLib proxies": json.dumps(
        {
            "cifar10": {
                str(naslib(n)): {"synflow": {"score": s, "time": 0.1}}
                for n, s in zip(CELLS, SCORE, strict=True)
            }
        }
    ),
    "NASLib pairs": json.dumps(
        [{"arch": naslib(n), "accuracy": s} for n, s in zip(CELLS, SCORE, strict=True)]
    ),
    "NAS-LID": json.dumps(
        {
            i: {"acc": s, "arch": by_edge(n), "mask": json.loads(truth_values(n))}
            for i, (n, s) in enumerate(zip(CELLS, SCORE, strict=True))
        }
    ),
}


@pytest.mark.parametrize("dress", TEXTS)
def test_every_text_gives_the_same_tau(tmp_path, dress):
    path = write(tmp_path / "scores", TEXTS[dress])

    assert tau_of(path) == pytest.approx(TAU)


@pytest.mark.parametrize("suffix", [".CSV", ".csv.gz", ".tsv"])
def test_the_name_of_a_file_decides_nothing(tmp_path, suffix):
    text = rows(CELLS, SCORE, header="arch,score").encode()
    path = tmp_path / f"s{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)

    assert tau_of(path) == pytest.approx(TAU)


def test_text_of_spreadsheets_in_sixteen_bits_is_read(tmp_path):
    path = tmp_path / "s.txt"
    path.write_bytes(rows(CELLS, SCORE, header="arch\tscore", separator="\t").encode("utf-16"))

    assert tau_of(path) == pytest.approx(TAU)


def test_an_index_of_a_parquet_file_holds_the_names(tmp_path):
    pd.DataFrame({"score": SCORE}, index=CELLS).to_parquet(tmp_path / "s.parquet")

    assert tau_of(tmp_path / "s.parquet") == pytest.approx(TAU)


def test_concatenated_pickles_of_zero_cost_proxies_are_read(tmp_path):
    one = [
        {"i": i, "arch": n, "testacc": a, "logmeasures": {"synflow": s, "snip": np.float64(s)}}
        for i, (n, a, s) in enumerate(zip(CELLS, ACCURACY, SCORE, strict=True))
    ]
    (tmp_path / "p.p").write_bytes(b"".join(map(pickle.dumps, one)))

    table = read_scores(tmp_path / "p.p")
    truth = load_reference(tmp_path / "p.p", column="testacc")

    assert list(table.scores) == ["testacc", "synflow", "snip"]
    assert tau_b(table.scores["synflow"], truth.accuracy) == pytest.approx(TAU)


def naslib_trainings() -> dict:
    def training(accuracy: float) -> dict:
        losses, cost = [1.0, 0.5], {"flops": 1.0, "params": 2.0, "train_time": 3.0}
        own = {"train_acc1es": [1.0, 99.0], "eval_acc1es": [5.0, accuracy], "cost_info": cost}
        return {"train_losses": losses, "eval_losses": losses, **own}

    pairs = zip(CELLS, ACCURACY, strict=True)
    return {n: {"cifar10-valid": training(a / 2), "cifar10": training(a)} for n, a in pairs}


def test_the_trainings_of_naslib_become_one_table(tmp_path, capsys):
    source, target = tmp_path / "nb201.pickle", tmp_path / "t.parquet"
    source.write_bytes(pickle.dumps(naslib_trainings()))

    assert main(["truth", "import", str(source), "--out", str(target)]) == 0
    said = capsys.readouterr().out
    where = {"dataset": "cifar10", "split": "eval"}
    truth = load_reference(target, where=where)

    assert "trainings by data set, as NASLib keeps them" in said
    assert truth.accuracy[CELLS].tolist() == pytest.approx(list(ACCURACY / 100))
    assert load_reference(source, where=where).accuracy.equals(truth.accuracy)
    with pytest.raises(DataError, match="4 kinds of accuracies; choose one"):
        load_reference(target)


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


def test_a_table_in_a_pickle_executes_nothing(tmp_path, capsys):
    (tmp_path / "t.pickle").write_bytes(pickle.dumps({"a": Hostile()}))

    with pytest.raises(DataError, match="nothing of it was executed"):
        load_reference(tmp_path / "t.pickle")
    assert "executed" not in capsys.readouterr().out


def one_training(name: str, epochs: int, key: str, pair: tuple) -> dict:
    record = {"train_acc1es": {0: 50.0}, "train_losses": {0: 1.0}, "train_times": {0: 2.0}}
    record |= {"params": 1.5, "flop": 2.0, "seed": 777, "epochs": epochs}
    record |= {"eval_names": ["ori-test"], "eval_acc1es": {key: 60.0}, "eval_losses": {key: 0.5}}
    return {"arch_str": name, "all_results": {pair: record}}


@pytest.mark.parametrize("names", [CELLS[:3], ["64:64:64:64:64", "8:16:24:32:40", "8:8:8:8:8"]])
def test_objects_that_records_share_are_not_forgotten(tmp_path, names):
    key, pair = "ori-test@0", ("cifar10", 777)
    infos = {i: {"12": one_training(n, 1, key, pair)} for i, n in enumerate(names)}
    (tmp_path / "NATS.pickle").write_bytes(pickle.dumps({"arch2infos": infos}))
    target = tmp_path / "t.parquet"

    assert main(["truth", "import", str(tmp_path / "NATS.pickle"), "--out", str(target), "-q"]) == 0
    table = load_reference(target, where={"split": "ori-test"})

    assert table.accuracy.to_dict() == pytest.approx(dict.fromkeys(names, 0.6))


def test_a_partial_benchmark_is_refused_with_the_reason(tmp_path, capsys):
    infos = {0: {"200": one_training(CELLS[0], 200, "ori-test@0", ("cifar10", 777))}}
    (tmp_path / "NATS.pickle").write_bytes(pickle.dumps({"arch2infos": infos}))

    status = main(["truth", "import", str(tmp_path / "NATS.pickle"), "--out", str(tmp_path / "t")])

    assert status == 2
    assert "over 200 epochs with seed 777 has no result after the last" in capsys.readouterr().err
    with pytest.raises(DataError, match="make a table of it with 'naslid truth import'"):
        load_reference(tmp_path / "NATS.pickle")


def test_a_folder_inside_a_folder_is_found_and_several_are_refused(tmp_path, capsys):
    info = pickle.dumps({"12": one_training(CELLS[0], 1, "ori-test@0", ("cifar10", 777))})
    for name in ("a", "b"):
        (tmp_path / "all" / name / "simple").mkdir(parents=True)
        member = tmp_path / "all" / name / "simple" / "000000.pickle.pbz2"
        member.write_bytes(bz2.compress(info))
    out = ["--out", str(tmp_path / "t.parquet"), "-q"]

    assert main(["truth", "import", str(tmp_path / "all" / "a"), *out]) == 0
    assert "1 architectures" in capsys.readouterr().out
    assert main(["truth", "import", str(tmp_path / "all"), *out]) == 2
    assert "several unpacked benchmarks, name one: a/simple, b/simple" in capsys.readouterr().err


def test_operation_indices_without_a_fact_are_refused_with_the_candidates(tmp_path):
    live = CELLS[:29]
    path = tmp_path / "s.csv"
    pd.DataFrame({"arch": [str(naslib(n)) for n in live], "score": SCORE[:29]}).to_csv(path)

    with pytest.raises(DataError, match="can be read in 2 ways.*'naslib': .* or 'codes': "):
        read_scores(path, known=EVERY)

    chosen = read_scores(path, notation="naslib").scores
    assert set(chosen.index) == set(live)
    assert set(read_scores(path, known=live).scores.index) == set(live)
    with pytest.raises(ConfigError, match="did you mean 'naslib'"):
        read_scores(path, notation="nas-lib")


def test_integers_that_are_no_indices_of_the_benchmark_are_refused():
    dead = np.flatnonzero(~np.array(LIVE))[:3].tolist()
    names = [str(i) for i in (*dead, *INDICES)]
    values = pd.DataFrame({"accuracy": np.linspace(0.9, 0.5, len(names))})

    with pytest.raises(DataError, match="no indices of NAS-Bench-201.*--notation names"):
        translate(names, values=values, reference=True)
    assert translate(names, values=values, notation="names").names == tuple(names)


def test_rows_that_are_only_numbered_have_no_names(tmp_path):
    path = write(tmp_path / "s.csv", rows(range(30), SCORE, header=",score"))

    with pytest.raises(DataError, match="only counts the rows; name another with --key"):
        read_scores(path)


def test_names_with_zeros_before_them_keep_these(tmp_path):
    path = write(tmp_path / "s.csv", "arch,score\n00000012,1\n00000021,2\n00000102,3\n")

    assert list(read_scores(path).scores.index) == ["00000012", "00000021", "00000102"]


def test_rows_that_repeat_count_once_and_are_said(tmp_path):
    path = write(tmp_path / "t.csv", "arch,acc\na,90\nb,80\nc,70\na,90\n")

    truth = load_reference(path)

    assert truth.accuracy.to_dict() == pytest.approx({"a": 0.9, "b": 0.8, "c": 0.7})
    assert truth.reading.notes == ("1 row repeated (a)",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,acc\na,90\na,80\n", "has architecture a twice and different values.*'seed'"),
        ("arch,acc,seed\na,90,1\na,80,1\n", "has architecture a twice with seed 1"),
        ("arch,acc,epoch\na,90,1\na,80,2\nb,70,2\n", r"they differ in 'epoch' \(1, 2\)"),
        ("arch,acc\na,8796\nb,9000\n", "no accuracies in per cent.*the largest is 9000"),
        ("arch,acc\na,inf\nb,90\n", "the largest is inf"),
        ("arch,acc\na,1.4\nb,0.9\n", "no accuracies in per cent or in .0, 1.: the largest is 1.4"),
        ("[[" * 50_000, "nested too deeply for a table"),
        ("arch,loss\na,1\nb,2\n", "no column of accuracies: 'loss' is a loss"),
        ("arch,acc\na,90%\nb,80\n", "some cells have a per cent sign and some have none"),
        ('arch,acc\na,"93,603"\nb,"92,112"\n', "a comma for decimals or for thousands"),
        ("arch,acc\na,90,1\nb,80\n", "row 2 has 2 cells, the others 3"),
        ("arch,acc,acc\na,90,1\n", "two columns called 'acc'"),
        ("", "the file is empty"),
        ("arch,acc\n", "the file has no rows"),
        ('{"a": 1, "a": 2}', "it has 'a' twice in one JSON object"),
        ('{"a": 1,', "damaged JSON"),
        ("<html></html>", "it is a web page"),
        ("name,upper,lower\na,90,91\n", "several columns of numbers, name one of upper, lower"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(tmp_path, text, message):
    path = write(tmp_path / "t.csv", text)

    with pytest.raises(DataError, match=message):
        load_reference(path)


def test_epochs_of_a_log_are_chosen_by_row(tmp_path):
    text = "arch,score,epoch,lr\na,1,0,.1\nb,2,0,.1\na,3,1,.1\nb,2,1,.1\n"
    path = write(tmp_path / "s.csv", text)

    table = read_scores(path, where={"epoch": 1})

    assert table.scores["score"].to_dict() == {"a": 3, "b": 2}
    assert set(table.reading.left_out) == {"epoch", "lr"}
    with pytest.raises(DataError, match="they differ in 'epoch'"):
        read_scores(path)


def test_costs_beside_scores_are_judged_only_if_asked(tmp_path):
    path = write(tmp_path / "s.csv", "arch,score,params\na,1,10\nb,2,30\nc,3,20\n")

    assert list(read_scores(path).scores) == ["score"]
    assert "--method params judges it" in read_scores(path).reading.left_out["params"]
    assert list(read_scores(path, methods=["params"]).scores) == ["params"]
    assert list(read_columns(path)) == ["score", "params"]


def test_the_sign_of_a_column_can_be_said(tmp_path):
    path = write(tmp_path / "s.csv", "arch,loss,norm\na,1,1\nb,2,2\n")

    table = read_scores(path)
    other = read_scores(path, larger=["loss"], smaller=["norm"])

    assert table.reading.taken == {"loss": "smaller is better: sign turned", "norm": ""}
    assert table.scores.loc["b"].to_dict() == {"loss": -2, "norm": 2}
    assert other.scores.loc["b"].to_dict() == {"loss": 2, "norm": -2}
    with pytest.raises(DataError, match="has no scores 'los'; did you mean 'loss'"):
        read_scores(path, smaller=["los"])


def test_a_score_called_rank_that_is_no_ranking_is_a_score():
    assert kind_of("effective_rank", pd.Series([3.5, 17.2, 9.1])) == "score"
    assert kind_of("rank", pd.Series([3.0, 1.0, 2.0])) == "rank"


def test_errors_become_accuracies_and_the_unit_is_said(tmp_path):
    path = write(tmp_path / "t.csv", "arch,test_error\na,10\nb,20\nc,30\n")

    truth = load_reference(path)

    assert truth.accuracy.to_dict() == pytest.approx({"a": 0.9, "b": 0.8, "c": 0.7})
    assert truth.reading.taken == {"test_error": "in per cent, taken as 1 - error"}


def test_small_percentages_with_their_sign_are_shares(tmp_path):
    path = write(tmp_path / "t.csv", "arch,acc\na,0.9%\nb,1.0%\nc,0.8%\n")

    assert load_reference(path).accuracy["a"] == pytest.approx(0.009)


def test_cells_that_are_no_numbers_are_missing_and_named(tmp_path):
    text = rows([*CELLS[:5]], [1, 2, "OOM", "n/a", 5], header="arch,score")
    table = read_scores(write(tmp_path / "s.csv", text))

    assert int(table.scores["score"].isna().sum()) == 2
    assert "'OOM'" in table.reading.notes[0]


def test_numbers_are_read_as_people_write_them():
    assert numbers(pd.Series(["1,234.5", "2"])).values.tolist() == [1234.5, 2]
    assert numbers(pd.Series(["1.234,5", "2,5"])).values.tolist() == [1234.5, 2.5]
    assert numbers(pd.Series(["\N{MINUS SIGN}1e-3", "-inf"])).values.tolist() == [-0.001, -np.inf]
    assert numbers(pd.Series(["1_000", "2", "3"])).odd == ("'1_000'",)


@pytest.fixture
def tables(tmp_path):
    names = [*CELLS, "64:64:64:64:64"]
    scores = [*SCORE, 1.0]
    scores[3] = float("nan")
    pd.DataFrame({"arch": names, "score": scores}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"arch": CELLS, "acc": ACCURACY}).to_csv(tmp_path / "t.csv", index=False)
    return ["evaluate", str(tmp_path / "s.csv"), "--truth", str(tmp_path / "t.csv")]


def test_what_both_tables_have_is_judged_and_the_rest_is_counted(tables, capsys):
    assert main([*tables, "--resamples", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    left = result["protocol"]["left_out"]
    assert result["protocol"]["architectures"] == 29
    assert left["undefined"] == {"score": 1}
    assert left["undefined_examples"] == [CELLS[3]]
    assert (left["without_reference"], left["without_score"]) == (1, 1)
    assert left["without_reference_examples"] == ["64:64:64:64:64"]
    assert "flop_count" in result["protocol"]["baselines"]
    assert result["read"]["scores"]["key"].startswith("names: column 'arch', official strings")
    assert result["read"]["reference"]["taken"] == {"acc": "in per cent"}


def test_strict_refuses_what_cannot_be_judged(tables, capsys):
    assert main([*tables, "--strict"]) == 2

    said = capsys.readouterr().err
    assert "'score' lacks 1 score" in said
    assert "1 of 31 scored architectures not in the reference (64:64:64:64:64)" in said


def test_the_page_shows_what_was_left_out_and_names_are_no_markup(tables, tmp_path, capsys):
    (tmp_path / "s.csv").write_text((tmp_path / "s.csv").read_text().replace("score", "[red]x<b>"))

    assert main([*tables, "--resamples", "5", "--html", str(tmp_path / "p.html")]) == 0

    assert "[red]x<b>" in capsys.readouterr().out.replace("\n", "")
    page = (tmp_path / "p.html").read_text()
    assert "not in the reference (64:64:64:64:64)" in page
    assert "x<b>" not in page.partition("<script")[0]


def test_names_of_any_space_are_judged_without_baselines():
    names = [f"net{i}" for i in range(30)]

    result = evaluate(
        pd.Series(SCORE, names), pd.Series(ACCURACY / 100, names), seed=0, resamples=5
    )

    assert result.correlations["method"].unique().tolist() == ["score"]
    assert result.correlations["tau"].iloc[0] == pytest.approx(TAU)


def test_tables_without_a_common_name_show_both_sides():
    with pytest.raises(DataError, match="0 architectures have a score") as caught:
        evaluate({"a": 1.0, "b": 2.0}, {"c": 0.5, "d": 0.6}, seed=0)

    notes = " ".join(caught.value.__notes__)
    assert "2 of 2 scored architectures not in the reference (a, b)" in notes
    assert "2 of 2 in the reference without a score (c, d)" in notes


def test_import_says_the_notation_that_it_found(tmp_path, capsys):
    source = write(tmp_path / "one-shot", TEXTS["few-shot NAS"])

    assert main(["truth", "import", str(source), "--out", str(tmp_path / "t.parquet")]) == 0

    assert "genotype tuples of NAS-Bench-201" in capsys.readouterr().out
    assert tau_of(tmp_path / "t.parquet") == pytest.approx(TAU)


def test_a_key_is_taken_from_the_table_that_has_it(tables, tmp_path, capsys):
    path = tmp_path / "s.csv"
    path.write_text(path.read_text().replace("arch,", "mine,"))
    options = ["--resamples", "5", "--json"]

    assert main([*tables, *options, "--key", "mine", "--notation", "naslib"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"]["architectures"] == 29
    assert main([*tables, *options, "--key", "other"]) == 2
    assert "no column 'other' of names in" in capsys.readouterr().err


def test_a_whole_benchmark_in_another_order_is_no_list_of_indices():
    dead = [not any(live_edges(EDGES, [(op,) for op in cell.operations])) for cell in SPACE]
    scores = pd.DataFrame({"score": np.where(dead, 10.0, np.arange(len(dead)) % 80 + 12.0)})

    with pytest.raises(DataError, match="no indices of NAS-Bench-201"):
        translate([str(number) for number in range(len(dead))], values=scores)


def test_minus_infinity_is_the_lowest_value(tmp_path):
    names = [str(list(naslib(name))) for name in CELLS]
    table = pd.DataFrame({"arch": names, "score": [*SCORE[:29], -np.inf]})
    table.to_csv(tmp_path / "s.csv", index=False)

    found = read_scores(tmp_path / "s.csv")

    assert set(found.scores.index) == set(CELLS)
    assert "1 infinite value of 'score' ranked at its end" in found.reading.notes


def test_a_key_can_be_named(tmp_path):
    text = rows(CELLS, CELLS[::-1], SCORE, header="arch,other,score")
    path = write(tmp_path / "s.csv", text)

    table = read_scores(path, key="other")

    assert table.scores.loc[CELLS[-1], "score"] == SCORE[0]
    with pytest.raises(DataError, match="no column 'othr' of names; did you mean 'other'"):
        read_scores(path, key="othr")


def test_tables_with_gaps_in_the_reference_count_them(tmp_path):
    truth = load_reference(write(tmp_path / "t.csv", "arch,acc\na,90\nb,\nc,70\nd,80\n"))

    assert sorted(truth.accuracy.index) == ["a", "c", "d"]
    assert truth.reading.notes == ("1 row without a value left out (b)",)
