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
#   language_info:
#     name: python
# ---

# %% [markdown]
# # Quickstart: does an LID split rank architectures better?
#
# One weight-sharing *supernet* scores thousands of architectures without training each of them, but its scores rank them badly: very different operations share weights. **NAS-LID** splits the supernet by a measured property of each layer's features, the *local intrinsic dimensionality* (LID): operations whose features have a similar LID stay together.
#
# This notebook runs the whole method on real handwritten digits and compares its ranking with architectures that were trained alone. With `budget = "small"` it takes a few minutes on two CPU cores.

# %% tags=["parameters"]
budget = "small"
seed = 0

# %% [markdown]
# ## The search
#
# `few_shot_search` trains a supernet, splits it level by level, fine-tunes the leaves, scores the architectures of the reference table and searches for the best one. It also trains one unsplit supernet for the same number of optimiser steps. The progress appears below.

# %%
import naslid_toolkit as nl
from naslid_toolkit import plots

preset = {"small": "demo"}.get(budget, budget)
config = nl.RunConfig.preset(preset, seed=seed)
task = nl.load_task(config)
truth = nl.load_truth(config)
names = truth.accuracy.index
run = nl.few_shot_search(config, task, architectures=names, on_event=nl.ProgressDisplay())

# %% [markdown]
# ## What was split
#
# Each split picks the edge whose operations fall most clearly into two groups. The numbers of architectures of the leaves add up to the whole space.

# %%
plots.plot_split_tree(run.tree)

# %% [markdown]
# ## What the split rests on: LID curves
#
# For the edge that was split first, the LID of every layer's features with each operation on that edge. The error bars are one standard error over the sampled paths: curves that differ by less are not told apart by this measurement.

# %%
plots.plot_lid(run.chosen_evidence("root"), title="LID by operation, first split")

# %% [markdown]
# ## How alike the operations are
#
# The similarity of two operations is `exp(-d)`, where `d` is the root mean square difference of `log(1 + LID)` over the layers: 0.9 says that the LIDs typically differ by a tenth. White lines separate the two groups found; the star marks the chosen edge.

# %%
plots.plot_similarity(run.tree.split, run.tree.space)

# %% [markdown]
# ## Does it rank better?
#
# Kendall's tau between each method's scores and the accuracy of the same architectures trained alone. The interval is a bootstrap over architectures; it says nothing about other seeds of the search. `convolution_count` and `parameter_count` need no training at all: a method that does not beat them has not earned its cost.

# %%
columns = ["method", "tau", "low", "high", "spearman", "pick", "architectures"]
run.compare(truth.accuracy)[columns].round(3)

# %%
methods = run.scores[["few_shot", "single"]]
plots.plot_ranking(methods, truth.accuracy, seed=seed)

# %% [markdown]
# ## What to read from it
#
# One training decides nothing about a method: the intervals are over architectures, **on these weights**, and two seeds of one method often differ by such an interval. Change `seed` above and run again to see how much is chance; `naslid compare --seeds 5` trains the methods side by side and tests over seeds; `config.criterion = "random"` (in a TOML file or `nl.RunConfig.preset(preset, criterion="random")`) is the control that splits without measuring anything.

# %% [markdown]
# ## Expected and found

# %%
taus = run.compare(truth.accuracy).set_index("method")
gain = nl.evaluate(methods, truth, seed=seed).differences.set_index("against").loc["single"]
low, count = taus["low"][["few_shot", "single"]].min(), taus.loc["convolution_count"]
best, tenth = nl.accuracy_of(truth, run.history.best.architecture), truth.accuracy.quantile(0.9)

# %%
interval, found = f"by {gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]", {}
found["the split supernets rank better than one"] = interval, (gain.low, gain.high)
counted = f"{count.tau:.3f} [{count.low:.3f}, {count.high:.3f}]; theirs are above {low:.3f}"
found["both beat counting convolutions"] = counted, bool(low > count.high), 1
picked = f"{best:.3f}; the best tenth begins at {tenth:.3f}"
found["the search picks of the best tenth"] = picked, bool(best >= tenth), 1
nl.findings(found)
