"""What a run's folder does when its files are damaged, exchanged, deleted or links."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from naslid_toolkit.cli import main
from naslid_toolkit.datasets import Images, ImageTask, load_digits
from naslid_toolkit.errors import ConfigError, DataError, SearchCancelledError, SpaceError
from naslid_toolkit.partition.tree import SplitTree
from naslid_toolkit.report import write_report
from naslid_toolkit.runtime import WorkDone
from naslid_toolkit.search.checking import check_run, repair_run
from naslid_toolkit.search.config import RunConfig, merged
from naslid_toolkit.search.creating import building_store, create_store
from naslid_toolkit.search.environment import image_fingerprint, same_images
from naslid_toolkit.search.few_shot import few_shot_search
from naslid_toolkit.search.files import RunFiles
from naslid_toolkit.search.following import RunFollower
from naslid_toolkit.search.hierarchical import hierarchical_search
from naslid_toolkit.search.journal import Journal, Mark
from naslid_toolkit.search.launch import start_search
from naslid_toolkit.search.result import load_neighbours, load_run
from naslid_toolkit.search.reuse import derive_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.nasbench201 import OPERATIONS
from tests.search.folders import unlisted_copy
from tests.search.test_few_shot import assert_same_numbers

FILES = (
    "config.toml",
    "environment.json",
    "events.jsonl",
    "tree.json",
    "sample.json",
    "scores.parquet",
    "history.parquet",
    "profiles/root.parquet",
    "distances/root.safetensors",
    "evaluations/few_shot.jsonl",
    "evaluations/single.jsonl",
    "weights/root.safetensors",
    "weights/root-1.safetensors",
    "weights/single.safetensors",
    "manifest.jsonl",
)


@pytest.fixture
def folder(tiny_folder, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "run"))


def read_everything(folder: Path) -> None:
    """Read every file of a run once."""
    run, store = load_run(folder), RunStore.open(folder)
    store.load_sample()
    load_neighbours(folder)
    for method in ("few_shot", "single"):
        store.load_scores(method)
    for node in [*(node.name for node in run.tree.nodes()), "single"]:
        store.load_weights(node)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    half = b"".join(lines[: len(lines) // 2]) if len(lines) > 3 else content[: len(content) // 2]
    path.write_bytes(half)


DAMAGES = {
    "first byte": lambda path: flip(path, 0),
    "last byte": lambda path: flip(path, -1),
    "a byte in the middle": lambda path: flip(path, len(path.read_bytes()) // 2),
    "half of it": halve,
    "nothing left": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
}


def test_the_files_of_a_run_are_those_that_are_damaged_here(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert names - {".lock", "weights/root-0.safetensors"} == set(FILES)


# Without its last newline the last line of the manifest counts as cut short by a kill, after
# which either content of the last file is in order.
HARMLESS = {("manifest.jsonl", "last byte")}


@pytest.mark.parametrize(
    ("name", "damage"), [case for case in product(FILES, DAMAGES) if case not in HARMLESS]
)
def test_no_damage_is_read(folder, name, damage):
    DAMAGES[damage](folder / name)

    with pytest.raises(DataError, match=Path(name).name):
        read_everything(folder)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("weights/root-0.safetensors", "weights/root-1.safetensors"),
        ("weights/root.safetensors", "weights/single.safetensors"),
        ("evaluations/few_shot.jsonl", "evaluations/single.jsonl"),
        ("scores.parquet", "history.parquet"),
    ],
)
def test_a_file_in_the_place_of_another_is_not_read(folder, name, other):
    shutil.copyfile(folder / other, folder / name)

    with pytest.raises(DataError, match=Path(name).name):
        read_everything(folder)


@pytest.mark.parametrize("name", ["events.jsonl", "evaluations/few_shot.jsonl"])
def test_a_line_of_a_journal_cannot_change_move_or_go(folder, name):
    path = folder / name
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong in (lines[:3] + lines[4:], [lines[1], lines[0], *lines[2:]], [*lines, lines[-1]]):
        path.write_bytes(b"".join(wrong))

        with pytest.raises(DataError, match=r"line \d+ of .* is damaged, or one before it is lost"):
            read_everything(folder)


def test_a_line_that_a_kill_cut_short_is_none(tmp_path):
    journal = Journal(tmp_path / "lines.jsonl")
    mark = journal.append({"number": 1})
    journal.append({"number": 2, "text": "x" * 100_000})
    with journal.path.open("ab") as handle:
        handle.write(b'{"number": 3, "te')

    assert [row["number"] for row in journal.read()[0]] == [1, 2]
    journal.append({"number": 4})
    assert [row["number"] for row in journal.read(mark)[0]] == [2, 4]
    assert journal.read()[1] == journal.end()
    with pytest.raises(DataError, match="ends after"):
        journal.read(through=Mark(10**9, "0" * 16))


def test_a_kill_between_the_two_lines_of_the_manifest_leaves_either_content(tmp_path):
    files = RunFiles(tmp_path)
    with files.writing("a.txt") as place:
        place.write_text("one")
    before = (tmp_path / "manifest.jsonl").read_bytes()
    with files.writing("a.txt") as place:
        place.write_text("two")
    begun, done = (tmp_path / "manifest.jsonl").read_bytes()[len(before) :].splitlines()

    (tmp_path / "manifest.jsonl").write_bytes(before + begun + b"\n")
    assert files.checked("a.txt").read_text() == "two"
    (tmp_path / "a.txt").write_text("one")
    assert files.checked("a.txt").read_text() == "one"
    (tmp_path / "manifest.jsonl").write_bytes(before + begun + b"\n" + done + b"\n")
    with pytest.raises(DataError, match="its hash differs"):
        files.checked("a.txt")


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/etc/out", "", "a//b", ".hidden"]
)
def test_a_name_cannot_lead_out_of_the_folder(tmp_path, name):
    with (
        pytest.raises(DataError, match="cannot be the name of a file"),
        RunFiles(tmp_path).writing(name),
    ):
        pass


@pytest.mark.parametrize("name", ["../../x", "root-0/../../x", "root-2", "root", "root-0-0"])
def test_nodes_are_called_by_their_place(folder, tmp_path, name):
    old = unlisted_copy(folder, tmp_path / "old")
    data = json.loads((old / "tree.json").read_text())
    data["children"][0]["name"] = name
    (old / "tree.json").write_text(json.dumps(data))

    with pytest.raises(Exception, match="the parts of node 'root' are called"):
        load_run(old)


def test_a_tree_is_what_its_splits_make(folder, tmp_path):
    old = unlisted_copy(folder, tmp_path / "old")
    data = json.loads((old / "tree.json").read_text())
    for wrong, match in (
        ({**data, "children": []}, "are not those of its split"),
        ({**data, "format": 99}, "tree.json has format 99"),
        ({**data, "name": "../x", "split": None, "children": []}, "has the root '../x'"),
    ):
        (old / "tree.json").write_text(json.dumps(wrong))

        with pytest.raises(Exception, match=match):
            load_run(old)


@pytest.mark.parametrize(
    "name", ["events.jsonl", "evaluations", "evaluations/few_shot.jsonl", "search.log", ".lock"]
)
def test_a_link_is_never_followed(folder, tmp_path, tiny_config, name):
    target = tmp_path / "elsewhere"
    if (folder / name).is_dir():
        shutil.move(folder / name, target)
    else:
        target.write_bytes(b"mine\n")
        (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    before = _content(target)

    with pytest.raises(DataError, match="link"):
        if name == "search.log":
            start_search(folder)
        else:
            RunStore.open(folder).keep_scores("few_shot", {"x": 1.0})
            RunStore.open(folder).record(WorkDone("x", 1, 1, "y"))
            few_shot_search(tiny_config, load_digits(), out=folder, resume=True)

    assert _content(target) == before


def _content(place: Path) -> dict[str, bytes]:
    paths = [place, *place.rglob("*")]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def test_a_pipe_in_the_place_of_a_file_is_refused(folder):
    (folder / "events.jsonl").unlink()
    os.mkfifo(folder / "events.jsonl")

    with pytest.raises(DataError, match="not a regular file"):
        RunStore.open(folder).record(WorkDone("x", 1, 1, "y"))


def test_a_run_of_the_time_before_hashes_opens_and_goes_on(folder, tmp_path, tiny_config):
    old = unlisted_copy(folder, tmp_path / "old")
    (old / "scores.parquet").unlink()

    assert RunFollower(old).state() == "stopped"
    few_shot_search(tiny_config, load_digits(), out=old, resume=True)

    assert_same_numbers(folder, old)
    assert {state.state for state in check_run(old)} == {"unchecked"}
    assert main(["check", str(old)]) == 0


@pytest.mark.parametrize(
    "name",
    [
        "weights/root-1.safetensors",
        "weights/root.safetensors",
        "profiles/root.parquet",
        "distances/root.safetensors",
        "tree.json",
        "evaluations/few_shot.jsonl",
        "scores.parquet",
        "history.parquet",
        "sample.json",
    ],
)
def test_what_is_damaged_is_named_and_made_again(folder, tiny_folder, tiny_config, name, capsys):
    flip(folder / name, 20)

    assert main(["check", str(folder)]) == 1
    assert name in capsys.readouterr().out
    assert name in repair_run(folder)
    few_shot_search(tiny_config, load_digits(), out=folder, resume=True)

    assert_same_numbers(tiny_folder, folder)
    assert main(["check", str(folder)]) == 0
    assert "file(s) in order." in capsys.readouterr().out


def test_what_cannot_be_made_again_is_left_alone(folder, capsys):
    flip(folder / "events.jsonl", 20)
    flip(folder / "scores.parquet", 20)

    assert main(["check", str(folder), "--repair"]) == 2
    assert "events.jsonl is damaged and cannot be made again" in capsys.readouterr().err
    assert (folder / "scores.parquet").exists()


def test_strangers_in_the_folder_are_named(folder, capsys):
    (folder / "notes.txt").write_text("mine")

    assert main(["check", str(folder)]) == 0
    assert "not of this run" in capsys.readouterr().out


def test_images_of_the_same_name_are_known(folder, tiny_config):
    task = load_digits()
    pixels = task.valid.pixels.clone()
    pixels[7] = pixels[8]
    other = ImageTask(
        task.name, task.classes, task.train, Images(pixels, task.valid.labels), task.test
    )
    rounded = Images(task.train.pixels * (1 + 1e-7), task.train.labels)

    assert not same_images(image_fingerprint(task), image_fingerprint(other))
    near = ImageTask(task.name, task.classes, rounded, task.valid, task.test)
    assert same_images(image_fingerprint(task), image_fingerprint(near))
    with pytest.raises(ConfigError, match="was begun with other images"):
        few_shot_search(tiny_config, other, out=folder, resume=True)


def test_a_run_goes_on_with_the_sample_it_began_with(folder, tiny_folder, tiny_config):
    names = RunStore.open(folder).load_sample()
    RunStore.open(folder).files.forget("scores.parquet")

    few_shot_search(tiny_config, load_digits(), architectures=names[1:], out=folder, resume=True)

    assert_same_numbers(tiny_folder, folder)


def test_a_folder_is_claimed_by_one(tmp_path, tiny_config):
    about = {"task": "digits"}
    (tmp_path / "empty").mkdir()
    for place in ("new", "empty"):
        with building_store(tmp_path / place, tiny_config, about) as first:
            first.write_text("note.txt", "first")
            if place == "empty":
                with pytest.raises(ConfigError, match="is not empty"):
                    create_store(tmp_path / place, tiny_config, task=load_digits())
            else:
                create_store(tmp_path / place, tiny_config, task=load_digits())
                (tmp_path / place).rename(tmp_path / "quicker")

        assert (tmp_path / place / "note.txt").read_text() == "first"
    with (
        pytest.raises(ConfigError, match="is not empty"),
        building_store(tmp_path / "late", tiny_config, about),
    ):
        create_store(tmp_path / "late", tiny_config, task=load_digits())
    assert not list(tmp_path.glob("**/*.tmp"))


def test_a_derived_run_appears_as_a_whole(tiny_folder, tmp_path, monkeypatch):
    tree = RunStore.open(tiny_folder).load_tree()
    other = tree.override("root", 0, [("none",), tree.space.allowed[0][1:]])

    def fail(*_arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "copy_evidence", fail)
    monkeypatch.setattr(RunStore, "keep_scores", fail)
    with pytest.raises(KeyboardInterrupt):
        derive_run(tiny_folder, other, tmp_path / "derived")

    assert not list(tmp_path.iterdir())


def test_nested_splits_by_hand_that_nobody_measured_are_reported(tmp_path, tiny_config):
    over = {"levels": 2, "single": False, "training": {"epochs": 3}}
    over |= {"evolution": {"evaluations": 2, "population": 2, "tournament": 1}}
    config = RunConfig.from_dict(merged(tiny_config.to_dict(), over))
    create_store(tmp_path / "first", config, task=load_digits())
    tree = SplitTree.root(config.search_space())
    tree = tree.override("root", 5, [OPERATIONS[:1], OPERATIONS[1:]])
    for node in ("root-0", "root-1"):
        tree = tree.override(node, 1, [OPERATIONS[:1], OPERATIONS[1:]])
    derive_run(tmp_path / "first", tree, tmp_path / "derived")

    run = few_shot_search(config, load_digits(), out=tmp_path / "derived", resume=True)

    assert len(run.tree.leaves) == 4
    with pytest.raises(SpaceError, match="split by hand on an edge that was never measured"):
        run.chosen_evidence("root-0")
    assert "by hand" in write_report(tmp_path / "derived").read_text()


SEARCH = [sys.executable, "-P", "-m", "naslid_toolkit", "search", "--preset", "tiny", "--quiet"]


def test_ctrl_c_while_the_toolkit_loads_leaves_no_traceback(tmp_path):
    process = subprocess.Popen([*SEARCH, "--out", str(tmp_path / "run")], stderr=subprocess.PIPE)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "libtorch" in maps.read_text(), seconds=60)  # in the middle of it
    process.send_signal(signal.SIGINT)

    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_search(tmp_path, stop):
    out = tmp_path / "run"
    over = ["--set", "training.epochs=400", "--set", "warmup_epochs=200"]
    process = subprocess.Popen(
        [*SEARCH, "--workers", "2", "--out", str(out), *over],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for((out / "events.jsonl").exists, seconds=120)
        process.send_signal(stop)

        assert process.wait(timeout=30) == (130 if stop == signal.SIGTERM else -signal.SIGKILL)
        wait_for(lambda: not members(process.pid), seconds=30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert not RunStore.open(out).control.is_running


def members(group: int) -> list[int]:
    """Return the processes of a group that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def wait_for(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_number_of_threads_belongs_to_the_run(tmp_path, tiny_config):
    before = torch.get_num_threads()
    seen = []

    def on_event(_event) -> None:
        seen.append(torch.get_num_threads())
        raise SearchCancelledError("enough")

    try:
        torch.set_num_threads(2)
        create_store(tmp_path / "run", tiny_config, task=load_digits())
        torch.set_num_threads(3)
        with pytest.raises(SearchCancelledError):
            few_shot_search(
                tiny_config, load_digits(), out=tmp_path / "run", resume=True, on_event=on_event
            )

        assert seen == [2]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_another_distillation_is_another_search(tmp_path, tiny_config):
    config = replace(tiny_config, levels=0, single=False)
    search = {"method": "hierarchical", "distillation": 0.0, "sibling_epochs": 1, "samples": 16}
    create_store(tmp_path / "run", config, task=load_digits(), search=search)

    with pytest.raises(ConfigError, match="'distillation': 0.0.* not .*'distillation': 2.0"):
        hierarchical_search(tiny_config, distillation=2.0, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="of another kind: hierarchical"):
        few_shot_search(config, load_digits(), out=tmp_path / "run", resume=True)
