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
# # Explore a finished run: see the layers, turn the knobs, split by hand
#
# A search leaves a folder that holds everything: the split tree, the distances behind every split, scores, weights. This notebook opens one that ships with the toolkit, so nothing is trained here. Put the folder of a run of your own in its place, for instance `"runs/few_shot"` of the notebook 03.
#
# The dashboards live in JupyterLab: press, drag, use the arrow keys. Below each stands what it shows as a plain figure, for pages without a kernel.

# %% tags=["parameters"]
budget = "small"
seed = 0
folder = "runs/example"

# %%
import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import widgets

folder = nl.example_run(folder)  # copied from the toolkit, unless a run is there already
run = nl.load_run(folder)
truth = nl.load_truth(run.config)

# %% [markdown]
# ## Everything in tabs
#
# Search, LID curves, split tree, ranking, architecture. Each tab is made when it is first opened; a press on a point of the ranking opens that cell in the last tab.

# %%
nl.explore(folder)

# %% [markdown]
# ## The same LID, another `k`
#
# The curves of the five operations of an edge. Every setting is applied to distances that were kept, so no network runs. What a slider does, code does as well:

# %%
curves = widgets.LIDExplorer(folder)
curves.settled()  # wait for the work in the background
curves.to_figure()

# %%
curves.k.value = 20
curves.settled()
curves.to_figure()

# %% [markdown]
# **Read:** more neighbours look further, and the level of LID changes with them. Does the *order* of the operations change? Where bands overlap, it is not known.

# %%
store, edge = nl.load_neighbours(folder), run.tree.split.edge
rows = {}
for k in (5, 10, 20, 30):
    item = next(item for item in store.evidence(k=k) if item.edge == edge)
    rows[f"k = {k}"] = item.to_frame().groupby("operation")["lid"].mean()
levels = pd.DataFrame(rows)
levels.style.format(precision=2)

# %% [markdown]
# ## Another tree, had we chosen otherwise
#
# The tree that was trained beside the one that other choices lead to. Groups can be dragged from one to the other, an edge can be chosen by hand, and the branches that change can be trained.

# %%
partition = widgets.PartitionExplorer(folder)
partition.settled()
partition.similarity.value = "euclidean"
partition.settled()
partition

# %%
partition.to_figure()

# %% [markdown]
# ## The search, replayed
#
# The monitor reads the events of the run; press play, or move the slider, and see how scores and the best cell came about. Of a live run it shows the end as it grows (notebook 03).

# %%
monitor = widgets.SearchMonitor(folder)
monitor.settled()
monitor.to_figure()

# %% [markdown]
# ## The ranking, and where it errs
#
# Brush a region of the scatter: tau within it, and the cells in it. Every point is an architecture that was also trained alone.

# %%
ranking = widgets.RankingExplorer(folder)
ranking.settled()
ranking

# %%
ranking.to_figure()

# %%
judged = nl.evaluate(run.scores[["few_shot", "single"]], truth, seed=seed, resamples=200)
nl.panel_table(judged).style.hide(axis="index")

# %% [markdown]
# ## One architecture
#
# The cell that the search picked, and its LID curve with the run's weights. Press an edge in the drawing to change its operation.

# %%
view = widgets.ArchitectureView(run.history.best.architecture, run=folder)
view.settled()
view

# %%
view.to_figure()

# %% [markdown]
# ## Expected and found

# %%
score, own = run.history.best.score, nl.accuracy_of(truth, run.history.best.architecture)
low, high = levels["k = 5"], levels["k = 30"]
same = int(low.rank().eq(high.rank()).sum())
gain = judged.differences.set_index("against").loc["single"]

# %%
level = f"{low.mean():.1f} at k = 5, {high.mean():.1f} at k = 30"
found = {"LID's level depends on k": (level, bool(low.mean() > 1.2 * high.mean()), 1)}
kept = f"{same} of {len(low)} keep their place"
found["the order of the operations does not"] = kept, same == len(low), 1
interval = f"by {gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
found["the split tree ranks better"] = interval, (gain.low, gain.high)
reached = f"pick: score {score:.3f}, accuracy alone {own:.3f}"
found["a score is what the cell reaches"] = reached, abs(score - own) < 0.01, 1
nl.findings(found)
