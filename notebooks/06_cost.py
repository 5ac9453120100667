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
# # What does it cost? LID against gradients
#
# The claim of the method: LID says which operations behave alike at a fraction of the memory that gradients need, since nothing has to be kept for a backward pass. The paper states a saving of up to 86 %. Here the memory is measured, and next to it the question that memory alone does not answer: does the cheaper criterion split as well?

# %% tags=["parameters"]
budget = "small"
seed = 0
folder = "runs/study"

# %% [markdown]
# ## Memory and time of one sweep
#
# One sweep measures all 5 operations on all 6 edges around one sampled path. Memory is the peak of all tensors beside weights and images, from the allocator's own record; `plain forward` runs the same networks without measuring. Images of 224 pixels are measured with a few images and extended (open markers).

# %%
import naslid_toolkit as nl
from naslid_toolkit import plots

tiny = budget == "tiny"
size = {"channels": 4, "cells": 1} if tiny else {"channels": 16, "cells": 5}
large = {"paper": 224}.get(budget, 96)
pixels = (8,) if tiny else (32, large)
batches = {"tiny": (4, 8), "small": (16, 32)}.get(budget, (32, 128))
space = nl.nasbench201()
costs = nl.compare_costs(space, pixels=pixels, batches=batches, seed=seed, **size)

# %%
nl.cost_table(costs).style.hide(axis="index")

# %%
plots.plot_costs(costs)

# %% [markdown]
# LID takes what a plain forward pass takes: its hooks reduce every output to the distances between the images before the next layer runs. What is left is the number of activations that training keeps and inference frees: the deeper and wider the path, the larger the saving. In the full supernet, where all operations of the other edges run, it is largest.

# %%
wide = costs.pivot_table(index=["others", "pixels", "batch"], columns="criterion", values="seconds")
bars = wide.reset_index()
bars["sweep"] = (
    bars["others"] + ", " + bars["pixels"].astype(str) + " px, " + bars["batch"].astype(str)
)
labels = {"value": "seconds of one sweep", "sweep": "other edges, image size, batch"}
labels |= {"variable": "measured"}
style = {"backend": "plotly", "template": "plotly_white", "title": "Time of one sweep"}
series = ["plain forward", "lid", "gradient"]
shape = {"barmode": "group", "pattern_shape": "variable", "log_y": True, "labels": labels}
bars.plot.bar(x="sweep", y=series, **shape, **style)

# %% [markdown]
# ## And is the cheaper split as good?
#
# All criteria with the same number of optimiser steps, on the same architectures; differences are tested over seeds (paired t). At `small` the study that ships is read: eleven arms, three seeds of the demo's size. `paper` makes it anew (`naslid compare` does the same, in about an hour on one core), `tiny` makes a very small one.

# %%
settings = {"training": {"epochs": 4, "batch_size": 450}, "warmup_epochs": 2} if tiny else {}
config = nl.RunConfig.preset("tiny" if tiny else "demo", **settings)
truth = nl.load_truth(config)
arms = ["lid", "gradient", "single supernet"] if tiny else list(nl.ARMS)
names = truth.accuracy.sample(30 if tiny else 1000, random_state=0).index
if budget == "small":
    folder = nl.example_study()
    study = nl.load_study(folder)
else:
    study = nl.run_study(config, names, arms=arms, seeds=range(2 if tiny else 3), out=folder)

# %%
ranking = nl.judge_study(study, truth, resamples=50 if tiny else 1000, seed=seed)
nl.study_table(study, ranking, truth).style.hide(axis="index")

# %%
plots.plot_study(ranking)

# %%
nl.study_costs(study, ranking, "lid").style.hide(axis="index")

# %% [markdown]
# ## Which tells operations apart more clearly?
#
# The paper compares the variance of the pairwise similarities of operations on every edge, LID against gradients. Both are measured here on the same supernets, images and paths, with the same similarity (cosine).

# %%
variances, stabilities = nl.separability(folder)
by_edge, stable = nl.separability_tables(variances, stabilities)
by_edge.style.hide(axis="index")

# %%
stable.style.hide(axis="index")

# %% [markdown]
# ## Expected and found

# %%
share = costs[costs["criterion"] == "lid"]["share"]
mean = variances.pivot_table(index="seed", columns="arm", values="cosine")  # over edges
wider = nl.over_seeds(mean["lid"] - mean["gradient"])
gap = ranking[ranking["top"] == 1].set_index("arm").loc["gradient"]
low, high = gap.difference_low, gap.difference_high

# %%
saved, found = f"{1 - share.max():.0%} to {1 - share.min():.0%} less", {}
found["LID saves up to 86 % of the memory (paper)"] = saved, bool(share.min() <= 0.14)
apart = f"variance by {wider.mean:+.5f} [{wider.low:+.5f}, {wider.high:+.5f}]"
found["LID separates more clearly (paper)"] = apart, (wider.low, wider.high), wider.seeds
better = f"by {gap.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
found["LID splits rank better than gradient ones (paper)"] = better, (low, high), gap.seeds
nl.findings(found)
