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
# # Where to split? The evidence behind a partition
#
# A split rests on a chain: features of a probe batch, distances between images, LID of every layer, similarity of operations, groups, edge. Each link is a choice. A run keeps the distances, so every later choice can be changed **without the network**, and one can ask how much the split depends on it.
#
# This notebook opens the folder of a run (it makes one first if there is none), and follows the chain. `budget = "small"` trains for some three minutes.

# %% tags=["parameters"]
budget = "small"
seed = 0
folder = "runs/partition"

# %%
from pathlib import Path

import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import plots

preset = {"small": "demo"}.get(budget, budget)
config = nl.RunConfig.preset(preset, seed=seed)
begun, show = Path(folder).exists(), nl.ProgressDisplay()
run = nl.few_shot_search(config, out=folder, resume=begun, on_event=show)

# %% [markdown]
# ## The tree
#
# A finished run is read at once, an unfinished one continued. Every node is a space with its own supernet. A branch keeps the operations written on it.

# %%
space, split = run.tree.space, run.tree.split
plots.plot_split_tree(run.tree)

# %% [markdown]
# ## The evidence: LID curves
#
# LID of every layer, with each operation on the edge that was split first, averaged over sampled paths. Error bars: one standard error over the paths.

# %%
plots.plot_lid(run.chosen_evidence("root"), title="LID by operation, first split")

# %% [markdown]
# ## From curves to groups
#
# Similarity 0.9 says that LIDs typically differ by a tenth. The best grouping has the largest mean similarity inside the groups less that across; all 15 groupings into two are tried, and operations that the evidence does not tell apart are never separated.

# %%
plots.plot_similarity(split, space)

# %% [markdown]
# ## What if?
#
# The kept distances answer other choices in milliseconds. Which edge and groups follow from another number of neighbours, estimator or similarity?

# %%
kept = nl.load_neighbours(folder)
rows = []
for k in (5, 10, 20):
    for estimator in ("harmonic", "paper", "twonn"):
        evidence = kept.evidence(k=k, estimator=nl.ESTIMATORS[estimator])
        for name in ("log_similarity", "euclidean_similarity", "cosine_similarity"):
            found = nl.split_by(evidence, similarity=getattr(nl, name))
            groups = " | ".join(", ".join(g) for g in found.chosen.groups)
            rows.append((k, estimator, name, space.edge_name(found.edge), groups))

# %%
columns = ["k", "estimator", "similarity", "edge", "groups"]
choices = pd.DataFrame(rows, columns=columns)
same = choices["edge"].eq(space.edge_name(split.edge)).mean()
choices.groupby(["edge", "groups"]).size().rename("choices").sort_values(ascending=False).to_frame()

# %% [markdown]
# ## How stable is the split?
#
# Two questions, one for the images and one for the sampled paths: how often would other ones of the same kind have led to the same split, with the weights of this one supernet? (Another seed trains other weights: `naslid compare` shows the splits of several.)

# %%
replicates = 20 if budget == "tiny" else 50
images = nl.split_stability(kept, k=config.split.k, replicates=replicates, seed=seed)
paths = nl.context_stability(run.evidence["root"], replicates=replicates, seed=seed)
names = ["same_edge", "same_groups", "same_split"]
found = {"images": images, "paths": paths}
shares = {name: [getattr(s, n) for n in names] for name, s in found.items()}
pd.DataFrame(shares, index=names).style.format("{:.0%}")

# %% [markdown]
# ## Other criteria, other rules
#
# LID is one way to say which operations behave alike. Counting convolutions needs no network; spectral clustering and normalised cuts take the place of trying all groupings where there are many operations.

# %%
count = nl.ConvolutionCountCriterion()(space, space.unsplit_edges, seed=seed)
rules = {"LID": run.evidence["root"], "convolution count": count}
makers = [nl.ExhaustiveGrouping(), nl.SpectralGrouping(), nl.NormalisedCutGrouping()]
rows = []
for name, evidence in rules.items():
    for rule in makers:
        chosen = nl.split_by(evidence, grouping=rule)
        groups = " | ".join(", ".join(g) for g in chosen.chosen.groups)
        rows.append((name, type(rule).__name__, space.edge_name(chosen.edge), groups))
table = pd.DataFrame(rows, columns=["criterion", "grouping", "edge", "groups"])
table.style.hide(axis="index")

# %% [markdown]
# ## Your own choice
#
# A tree can be edited: here convolutions against the rest, on the same edge. `derive_run` starts a run with that tree; every supernet that is the same in both is taken over, so a search trains only the branches that changed.

# %%
operations = space.allowed[split.edge]
convolutions = [o for o in operations if o.startswith("nor_conv")]
rest = [o for o in operations if o not in convolutions]
mine = run.tree.override("root", split.edge, [convolutions, rest])
run.tree.diff(mine).style.hide(axis="index")

# %%
plots.plot_split_tree(mine, title="The tree after the override, not yet trained below")

# %% [markdown]
# ## Expected and found

# %%
chosen, others = split.chosen.grouping.score, [c.grouping.score for c in split.candidates]
second = sorted(others)[-2]
edges = f"score {chosen:.3f}, the next edge {second:.3f}"
found = {"one edge stands out, by half": (edges, bool(chosen > 1.5 * second), 1)}
found["k, estimator, similarity hardly matter"] = f"same edge in {same:.0%}", bool(same >= 0.9), 1
shares = {"other images": images.same_split, "other paths": paths.same_split}
for name, share in shares.items():
    found[f"{name} give the same split"] = f"{share:.0%} of resamples", bool(share >= 0.9), 1
nl.findings(found)
