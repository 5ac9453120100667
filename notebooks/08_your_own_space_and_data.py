# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,language_info,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own images, your own space
#
# The toolkit works on any images with labels and any cell. This notebook packs a folder of images, runs the whole method on them, and then leaves NAS-Bench-201: another cell, with an operation that the benchmark does not have.
#
# So that it runs anywhere, it first makes a folder of images out of the handwritten digits. With `images = "my_folder"` it takes yours: one folder for each class.

# %% tags=["parameters"]
budget = "small"
seed = 0
images = ""
size = 16

# %%
from pathlib import Path

import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import plots
from naslid_toolkit.supernet.operations import convolution

tiny = budget == "tiny"

# %% [markdown]
# ## A folder of images
#
# Files of any usual format and size, in one folder for each class: `my_folder/cat/1.png`, `my_folder/dog/2.jpg`.

# %%
if not images:
    images, count = "runs/digit_images", 300 if tiny else 1500
    nl.write_images(nl.load_digits().train[:count], images)
folders = sorted(path for path in Path(images).iterdir() if path.is_dir())
pd.Series({path.name: len(list(path.iterdir())) for path in folders}, name="images").to_frame().T

# %% [markdown]
# ## One file
#
# `pack_images` (or `naslid pack FOLDER FILE`) scales them to one size and writes one Parquet file in the layout of Hugging Face's data sets, so a file of that layout can be used as it is. A file is what a run refers to; it can be copied to another machine.

# %%
file = Path("runs/my_images.parquet")
file.unlink(missing_ok=True)
nl.pack_images(images, file, size=size)
task = nl.load_image_parquet(file, valid=0.25, test=0.1)
print(task.name, "classes", *task.classes)

# %% [markdown]
# ## The whole method on it
#
# There are no reference accuracies for these images: the search scores architectures by validation accuracy, and nothing can be said about its tau. The same from a shell: `naslid search --data runs/my_images.parquet --preset small`.

# %%
settings = {"seed": seed, "data": str(file), "images": {"valid": 0.25, "test": 0.1}, "sample": 24}
training = {"epochs": 2 if tiny else 36, "batch_size": 32}
config = nl.RunConfig.preset("tiny" if tiny else "demo", training=training, **settings)
out = {"out": "runs/own_images", "resume": Path("runs/own_images").exists()}
run = nl.few_shot_search(config, task, on_event=nl.ProgressDisplay(), **out)

# %%
plots.plot_lid(run.chosen_evidence("root"), title="LID by operation, first split, own images")

# %%
plots.plot_history(run.history)

# %% [markdown]
# ## Another space
#
# A space is data: the nodes of a cell and the operations of its edges. Here three nodes, and a 5 × 5 convolution that NAS-Bench-201 does not have; what builds it is given to the supernet.

# %%
operations = ["none", "skip_connect", "nor_conv_3x3", "conv_5x5"]
space = nl.cell_space(3, operations)
skeleton = nl.Skeleton(channels=8, cells=1, image_shape=task.image_shape, classes=len(task.classes))
supernet = nl.Supernet(space, skeleton, seed=seed, operations={"conv_5x5": convolution(5)})
epochs = 2 if tiny else 40
schedule = nl.TrainingConfig(epochs=epochs, batch_size=32, learning_rate=0.1)
history = nl.train(supernet, task.train, schedule, seed=seed)
print(f"{len(space)} architectures, e.g. {nl.format_architecture(next(iter(space)), space)}")

# %% [markdown]
# ## Measure and split it
#
# The same functions as before: LID of every layer with every operation, similarities, groups, sub-spaces. A sub-supernet starts from the weights of its parent.

# %%
points = 40 if tiny else 128
probe = task.probe(batches=2, points=points, seed=seed)
criterion = nl.LIDCriterion(supernet, probe, k=20)
split = nl.choose_split(space, criterion, seed=seed)
plots.plot_similarity(split, space)

# %%
tree = nl.SplitTree.root(space).with_split("root", split)
schedule = nl.TrainingConfig(epochs=max(epochs // 2, 1), batch_size=32, learning_rate=0.03)
leaves = {leaf.name: supernet.restrict(leaf.space) for leaf in tree.leaves}
losses = {name: nl.train(leaf, task.train, schedule, seed=seed) for name, leaf in leaves.items()}
plots.plot_split_tree(tree)

# %% [markdown]
# ## Does it rank? Only architectures trained alone can say
#
# The space is small, so some of its architectures are trained alone: that is what a reference is. An interval over so few is wide, and it is over architectures, on these weights.

# %%
draw = nl.generator(seed, "few")
few = list(dict.fromkeys(space.sample(generator=draw) for _ in range(8 if tiny else 24)))
more, alone = {"conv_5x5": convolution(5)}, {}
schedule = nl.TrainingConfig(epochs=1 if tiny else 12, batch_size=32, learning_rate=0.1)
for cell in few:
    own = nl.Supernet(space.only(cell), skeleton, seed=seed, operations=more)
    nl.train(own, task.train, schedule, seed=seed)
    alone[nl.format_architecture(cell, space)] = nl.accuracy(own, task.test, cell)

# %%
single = nl.LeafScore(nl.SplitTree.root(space), {"root": supernet}, task.valid)
scores = {"single": nl.score_architectures(few, single, space=space)}
split_score = nl.LeafScore(tree, leaves, task.valid)
scores["split"] = nl.score_architectures(few, split_score, space=space)
table = nl.compare_rankings(scores, pd.Series(alone), seed=seed)
table[["method", "tau", "low", "high", "architectures"]].round(3)

# %%
plots.plot_ranking(pd.DataFrame(scores), pd.Series(alone), seed=seed)

# %% [markdown]
# What does not know foreign operations: counts of parameters and FLOPs, convolution counts, and the untrained baselines made of them; they raise an error rather than count a 5 × 5 convolution as nothing. `few_shot_search` with its folder, and the dashboards, are for NAS-Bench-201 cells.

# %% [markdown]
# ## Expected and found

# %%
taus, groups = table.set_index("method"), split.chosen.groups
one, few = taus.loc["single"], taus.loc["split"]
best, chance = run.history.best.score, 1 / len(task.classes)

# %%
found = {"own images can be learned": (f"{best:.3f}, chance {chance:.2f}", best > 2 * chance, 1)}
told = f"edge {space.edge_name(split.edge)}: " + " | ".join(", ".join(group) for group in groups)
together = any({"nor_conv_3x3", "conv_5x5"} <= set(group) for group in groups)
found["convolutions stay together"] = told, together, 1
text = "tau {0.tau:.2f} [{0.low:.2f}, {0.high:.2f}]"
found["the supernet ranks the new space"] = text.format(one), (one.low, one.high)
apart = few.low - one.high, few.high - one.low  # wider than a paired interval
found["the split ranks it better"] = text.format(few), apart
nl.findings(found)
