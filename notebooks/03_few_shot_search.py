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
# # The whole method: few-shot search
#
# Train one supernet, split it where LID says so, let the parts inherit the weights and train on, score architectures with the part that holds them, search. This notebook runs it, reads what the folder of the run tells, and judges the result against the single supernet with the same number of optimiser steps.
#
# `budget = "small"` takes some three minutes on two CPU cores; `"paper"` is for a GPU.

# %% tags=["parameters"]
budget = "small"
seed = 0
folder = "runs/few_shot"
criterion = "lid"

# %%
from pathlib import Path

import naslid_toolkit as nl
from naslid_toolkit import plots, widgets

preset = {"small": "demo"}.get(budget, budget)
config = nl.RunConfig.preset(preset, seed=seed, criterion=criterion)
truth = nl.load_truth(config)

# %%
begun = Path(folder).exists()
monitor = widgets.SearchMonitor(folder) if begun else widgets.SearchMonitor(config, out=folder)
monitor

# %% [markdown]
# The search runs in a process of its own, which writes into the folder and nowhere else. The monitor above reads that folder: stages, losses, scores, the best cell so far. Pause it, cancel it, restart the kernel: the search goes on, or goes on where it was, and a new monitor finds it. The next cell starts it, unless it is finished, and waits for its end.

# %%
if monitor.state in (None, "stopped"):
    monitor.start()
run = monitor.wait()
monitor.to_figure()

# %% [markdown]
# The same without widgets is `nl.few_shot_search(config, out=folder)`, or `naslid search` in a shell; `executor=` and `--workers` train nodes, measure edges and score architectures in several processes, or on a cluster.

# %% [markdown]
# ## What was done
#
# Epochs on the way from the root to a leaf: one learning-rate schedule runs along the whole way, and a part starts from its parent's weights.

# %%
events = nl.RunStore.open(folder).events()
trained = events[events["event"] == "SupernetTrained"]
trained[["node", "steps", "seconds"]].round(1)

# %%
epochs = events[events["event"] == "EpochDone"]
lines = {"x": "epoch", "y": "loss", "color": "task", "line_dash": "task"}
labels = {"epoch": "epoch", "loss": "training loss (nats)", "task": "supernet"}
title = "Loss of every supernet"
style = {"backend": "plotly", "template": "plotly_white", "height": 420, "title": title}
epochs.plot(labels=labels, **lines, **style)

# %% [markdown]
# ## The tree

# %%
plots.plot_split_tree(run.tree)

# %%
run.tree.to_frame().style.format(precision=3, na_rep="").hide(axis="index")

# %% [markdown]
# ## The search
#
# Regularised evolution over the whole space, scored with the leaves' weights.

# %%
plots.plot_history(run.history)

# %% [markdown]
# ## Was it worth it?
#
# Both methods took the same number of optimiser steps. Look at the interval of the difference, not at the two values: it is over architectures, on these weights.

# %%
resamples = 50 if budget == "tiny" else 1000
methods = run.scores[["few_shot", "single"]]
judged = nl.evaluate(methods, truth, seed=seed, resamples=resamples)
nl.panel_table(judged).style.hide(axis="index")

# %%
plots.plot_ranking(methods, truth.accuracy, seed=seed, evaluation=judged)

# %%
judged.differences.style.format(precision=3).hide(axis="index")

# %% [markdown]
# ## Expected and found
#
# One run with one seed says what holds on these weights, and nothing of the method: `naslid compare` runs all criteria with several seeds at equal budget and tests over the seeds; `docs/results.md` has its table.

# %%
halves = judged.correlations.set_index(["top", "method"]).loc[0.5]
few, one = halves.loc["few_shot"], halves.loc["single"]
gain = judged.differences.set_index("against").loc["single"]
best, tenth = nl.accuracy_of(truth, run.history.best.architecture), truth.accuracy.quantile(0.9)

# %%
interval, found = f"by {gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]", {}
found["few-shot ranks better than one supernet"] = interval, (gain.low, gain.high)
apart = few.low - one.high, few.high - one.low  # wider than a paired interval
found["also among the best half"] = f"{few.tau:.3f} and {one.tau:.3f}", apart
picked = f"{best:.3f}; the best tenth begins at {tenth:.3f}"
found["the search picks of the best tenth"] = picked, bool(best >= tenth), 1
nl.findings(found)
