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
# # How good is a ranking? Kendall's tau, honestly
#
# A search is worth as much as its **ranking** of architectures: does a higher score mean a higher accuracy after training alone? The usual number is Kendall's tau-b: the share of pairs ranked alike, less the share ranked the other way.
#
# A tau alone says little. This notebook sets it beside four things that are usually left out: how certain it is, what **no training at all** would give, how far **any** score could get with these labels, and what happens **among the best**, where a search decides.
#
# It runs on NB201-digits, which ships with the toolkit, and on real NAS-Bench-201 where a table of it is at hand. `budget = "small"` takes some ten minutes.

# %% tags=["parameters"]
budget = "small"
seed = 0
folder = "../../shared/data"

# %% [markdown]
# ## The labels first
#
# NB201-digits holds every connected cell of NAS-Bench-201, trained alone on handwritten digits with several seeds. Two trainings of the same cell differ, so the labels themselves agree only so far: `seed agreement` is tau between two halves of the seeds, `reproducibility` that between two whole tables like this one, and `ceiling` the tau a perfect score would reach.

# %%
import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import plots

tiny = budget == "tiny"
truth = nl.load_reference(nl.digits_truth_path())
labels = nl.reliability(truth.seeds)
names = {"half": "seed agreement", "full": "reproducibility", "ceiling": "ceiling"}
quality = {text: round(getattr(labels, name), 3) for name, text in names.items()}
pd.Series(quality, name=f"tau, {labels.seeds} seeds").to_frame()

# %% [markdown]
# Do the best cells stand out, or did they have luck? The best 1 % are chosen by all seeds but one and judged on the seed left out, against the rest of the best tenth:

# %%
best = nl.separation(truth.seeds)
rows = {"cells in the best 1 %": best.best, "gain on the seed left out": round(best.gain, 4)}
pd.Series(rows | {"standard error of one label": round(best.error, 4)}).to_frame("")

# %% [markdown]
# ## A score to judge
#
# One supernet holds all architectures with shared weights. A few minutes of training, then every architecture of a sample is scored by its validation accuracy with those weights. Beside it stand scores of **untrained** networks from one batch of images.

# %%
task = nl.load_digits()
size = nl.Skeleton(channels=8, cells=1, image_shape=task.image_shape)
space = nl.nasbench201()
supernet = nl.Supernet(space, size, seed=seed)
training = nl.TrainingConfig(epochs=1 if tiny else 30, batch_size=64, learning_rate=0.1)
nl.train(supernet, task.train, training, seed=seed)

# %%
sample = truth.accuracy.sample(40 if tiny else 1000, random_state=seed).index
architectures = [nl.parse_architecture(name) for name in sample]
score = nl.LeafScore(nl.SplitTree.root(space), {"root": supernet}, task.valid)
scores = nl.score_architectures(architectures, score).to_frame("supernet")

# %%
batch = nl.Images(task.train.pixels[:32], task.train.labels[:32])
proxies = ["synflow", "naswot", "snip"]
untrained = nl.score_proxies(architectures, batch, size, seed=seed, proxies=proxies)
scores = scores.join(untrained)

# %% [markdown]
# ## One record with everything
#
# `evaluate` gives tau with bootstrap intervals over architectures, within the best by reference, the reference accuracy of the pick, paired tests of the first method's scores against all others, the untrained baselines and the ceilings.

# %%
resamples = 50 if tiny else 1000
judged = nl.evaluate(scores, truth, seed=seed, resamples=resamples)
nl.panel_table(judged).style.hide(axis="index")

# %%
plots.plot_ranking(scores[["supernet", "naswot"]], truth.accuracy, seed=seed, evaluation=judged)

# %% [markdown]
# A cloud that is narrow at the bottom and round at the top is the rule: scores tell bad cells from good ones, and hardly the good ones from each other. That is what tau within the best shows:

# %%
plots.plot_evaluation(judged)

# %% [markdown]
# Do these scores rank better than counting convolutions? The paired test answers, with the number of comparisons taken into account (Holm). A confidence interval of one method is not the interval of a difference. And neither is one over seeds: the test resamples architectures and knows these weights alone. Two seeds of one method often differ by it; methods are compared over seeds (`nl.judge_study`, `naslid compare`).

# %%
judged.differences.style.format(precision=3).hide(axis="index")

# %% [markdown]
# ## Declared priors
#
# Ranks may be added: a supernet and an untrained count make different mistakes. Weights are stated, or chosen on one half of the cells and judged on the other; the latter uses labels, which a search does not have, and says so.

# %%
count = nl.trivial_scores(map(str, scores.index), size)["convolution_count"]
both = scores[["supernet"]].assign(convolution_count=count)
fixed = nl.combine(both, {"supernet": 1, "convolution_count": 1})
fitted = nl.cross_fit(both, truth.accuracy, priors=["convolution_count"], seed=seed)
combined = both.assign(fixed=fixed.scores, fitted=fitted.scores)
table = nl.compare_rankings(combined, truth.accuracy, seed=seed, resamples=resamples)
print(fixed.declaration, fitted.declaration, sep="\n")
table[["method", "tau", "low", "high", "pick"]].round(3)

# %% [markdown]
# ## What do the operations tell?
#
# An audit of the table: accuracy by the number of edges that carry an operation, and how much an operation on an edge changes the mean.

# %%
plots.plot_audit(nl.audit_operations(truth.accuracy))

# %% [markdown]
# ## Real NAS-Bench-201
#
# The official file `NAS-Bench-201-v1_1-096897.pth` and the NATS-Bench files are linked from the pages of their authors (github.com/D-X-Y/NAS-Bench-201 and NATS-Bench). `naslid truth import FILE` turns either into one table, within little memory and without executing what is in it; `load_reference("FILE.parquet", where={"dataset": "cifar10", "split": "ori-test", "epochs": 200})` reads it.
#
# The cells below use a ready table of 200-epoch accuracies and the scores of eight published full-size supernets, if `folder` has them: one supernet (`single`) or several split by convolutions (`fewshot`), 16 or 5 channels, 250 to 1000 epochs (Oh et al., AAAI 2025).

# %%
from pathlib import Path

path = Path(folder) / "nb201_accuracies.parquet"
real, published = truth, scores[["supernet"]]
if path.exists():
    real = nl.load_reference(path, column="cifar10_test_200")
    published = nl.read_columns(path.with_name("supernet_scores_published.parquet"))
print(f"judged below: {', '.join(published)} by {real.column} of {real.source}")

# %%
panel = nl.evaluate(published, real, seed=seed, resamples=20 if tiny else 200)
nl.panel_table(panel).style.hide(axis="index")

# %%
plots.plot_evaluation(panel, title=f"Supernets by {real.column} of {real.source}")

# %% [markdown]
# And with the count of convolutions as a declared prior, equal weights, nothing tuned:

# %%
count = nl.trivial_scores(map(str, published.index), nl.Skeleton(affine=True))
prior = count["convolution_count"]
rows = {}
for name in published:
    both = pd.DataFrame({"score": published[name], "prior": prior})
    pair = {"alone": both["score"], "with prior": nl.combine(both, {"score": 1, "prior": 1}).scores}
    rows[name] = nl.compare_rankings(pair, real.accuracy, seed=seed, resamples=2)["tau"].tolist()
lifted = pd.DataFrame(rows, index=["alone", "with prior"]).T.round(3)
lifted

# %% [markdown]
# How much is a cheaper label worth? Tau between columns: 12 against 200 epochs, one data set against another.

# %%
columns = pd.read_parquet(path).filter(regex="_(12|200)$") if path.exists() else truth.seeds
nl.column_agreement(columns.rename(columns=str)).round(3)

# %% [markdown]
# ## Expected and found

# %%
rows = judged.correlations.set_index(["method", "top"])
whole, top = rows.loc[("supernet", 1.0)], rows.loc[("supernet", 0.1)]
gain = judged.differences.set_index("against").loc["convolution_count"]
alone, lift = lifted.iloc[0]

# %%
text = "tau {0.tau:.3f} [{0.low:.3f}, {0.high:.3f}]"
found = {"a supernet ranks better than chance": (text.format(whole), (whole.low, whole.high))}
interval = f"by {gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
found["it ranks better than counting convolutions"] = interval, (gain.low, gain.high)
as_well = False if top.high < whole.low else None
found["it ranks as well among the best tenth"] = text.format(top), as_well, 1
found["labels limit every score"] = f"ceiling {labels.ceiling:.3f}", bool(labels.ceiling < 1)
found["a prior helps"] = f"tau {lift:.3f} after {alone:.3f}", bool(lift > alone), 1
nl.findings(found)
