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
# # Exercises
#
# Nine questions, from a LID by hand to the faults of published code. Write your answer in place of `None` and run the cell: it says whether the answer is right, and gives a hint if it is not. The solutions at the end compute every answer; try first.
#
# Nothing is trained here: the finished run that ships with the toolkit is enough.

# %% tags=["parameters"]
budget = "small"
seed = 0

# %%
import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import plots
from naslid_toolkit.supernet.sampling import SAMPLERS

run = nl.load_run(nl.example_run())
space = nl.nasbench201()

# %% [markdown]
# ## LID
#
# **1. LID by hand.** An image has four neighbours, at the distances 1, 2, 4 and 8. With the estimate $(k-1) / \sum_{j<k} \log(r_k / r_j)$ and `k = 4`: what is its LID, to two decimals?

# %%
answer = None
nl.check_answer("LID by hand", answer)

# %% [markdown]
# **2. LID of millimetres.** The same distances were given in metres. What is the LID in millimetres, at 1000, 2000, 4000 and 8000?

# %%
answer = None
nl.check_answer("LID of millimetres", answer)

# %% [markdown]
# ## Spaces and trees
#
# **3. Sub-spaces.** NAS-Bench-201 has 15,625 architectures. One edge is split into `none, skip_connect` and the three other operations. How many architectures has the smaller part?

# %%
answer = None
nl.check_answer("sub-spaces", answer)

# %% [markdown]
# **4. Leaves.** The paper splits into two groups on four levels. How many sub-supernets are trained at the end?

# %%
answer = None
nl.check_answer("leaves", answer)

# %% [markdown]
# **5. A cell.** Write the string of a connected cell in which a signal passes exactly two convolutions one after the other, and that has no third convolution. Many answers are right; the figure shows how a string is drawn.

# %%
plots.plot_cells([nl.parse_architecture(run.history.best.architecture)], ["found by a search"])

# %%
answer = None  # "|...~0|+|...~0|...~1|+|...~0|...~1|...~2|"
nl.check_answer("a cell", answer)

# %% [markdown]
# ## A run
#
# **6. First edge.** Read it from the tree: which edge was split first? Write it as `0→1`, or `0->1`.

# %%
plots.plot_split_tree(run.tree)

# %%
answer = None
nl.check_answer("first edge", answer)

# %% [markdown]
# **7. Another k.** Which edge would have been split first with 5 neighbours instead of 10? The distances are kept: `nl.load_neighbours(nl.example_run())`.

# %%
plots.plot_lid(run.chosen_evidence("root"), title="LID by operation, k = 10")

# %%
answer = None
nl.check_answer("another k", answer)

# %% [markdown]
# ## Rankings
#
# **8. Tau by hand.** Four architectures have the scores 1, 2, 3, 4 and the accuracies 0.1, 0.3, 0.2, 0.4, in the same order. What is Kendall's tau, to two decimals?

# %%
answer = None
nl.check_answer("tau by hand", answer)

# %% [markdown]
# **9. Markov paths.** The published code changes the operation of *every* edge from one training step to the next. Two edges have two operations each, so there are four combinations. How many of them are ever trained?

# %%
answer = None
nl.check_answer("Markov paths", answer)

# %% [markdown]
# ## Solutions
#
# A solution is code: it says why.

# %%
ratios = 8 / pd.Series([1.0, 2.0, 4.0])
lid = 3 / ratios.transform("log").sum()
groups = [["none", "skip_connect"], ["nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]]
parts = space.split(0, groups)
solved = {"LID by hand": lid, "LID of millimetres": lid}
solved |= {"sub-spaces": min(map(len, parts)), "leaves": 2**4}
solved["a cell"] = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|"
solved["first edge"] = space.edge_name(run.tree.split.edge)
evidence = nl.load_neighbours(nl.example_run()).evidence(k=5)
solved["another k"] = space.edge_name(nl.split_by(evidence).edge)

# %%
scores, accuracies = pd.Series([1, 2, 3, 4.0]), pd.Series([0.1, 0.3, 0.2, 0.4])
solved["tau by hand"] = nl.kendall_tau(scores, accuracies, seed=seed, resamples=2).tau
two = nl.cell_space(3, ["none", "skip_connect"])
paths = SAMPLERS["markov"](two, 0, 1000, seed=seed)
solved["Markov paths"] = len({path.operations[:2] for path in paths})

# %% [markdown]
# ## Expected and found

# %%
verdicts = {name: str(nl.check_answer(name, value).right) for name, value in solved.items()}
table = pd.DataFrame({"solution": {n: str(v) for n, v in solved.items()}, "found right": verdicts})
table.rename_axis("exercise").style
