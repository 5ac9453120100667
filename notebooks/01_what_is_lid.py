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
# # What is local intrinsic dimensionality?
#
# A layer turns every image into thousands of numbers, but the images do not fill all those directions: they lie near a sheet of far fewer dimensions. **Local intrinsic dimensionality** (LID) asks how many, around each image. NAS-LID compares operations of a network by it.
#
# This notebook shows what LID is, how the number of neighbours `k` and the number of points bias it, what goes wrong in naive code, and how certain a measured LID is. It needs no network until the last part; `budget = "small"` takes a minute.

# %% tags=["parameters"]
budget = "small"
seed = 0

# %% [markdown]
# ## How fast do neighbours get more?
#
# In a `d`-dimensional sheet the number of points within a radius grows with the radius to the power of `d`. On logarithmic axes that is a line with slope `d`. Here: the neighbours of one point on a circle, a sphere and a 10-dimensional ball, each turned into 100 features, so that the number of features says nothing.

# %%
import pandas as pd

import naslid_toolkit as nl
from naslid_toolkit import plots

points, draws = {"tiny": (500, 3)}.get(budget, (2000, 20))
shapes = {"circle (1)": ("sphere", 1), "sphere (2)": ("sphere", 2), "ball (10)": ("ball", 10)}
rows = []
for name, (kind, d) in shapes.items():
    sample = nl.sample_manifold(kind, d, points=points, features=100, seed=seed)
    radii = nl.pairwise_distances(sample).neighbours(200).squared[0].sqrt().tolist()
    rows += [(name, radius, count) for count, radius in enumerate(radii, start=1)]

# %%
style = {"backend": "plotly", "template": "plotly_white", "height": 420}
by_shape = {"color": "shape", "line_dash": "shape", **style}
labels = {
    "radius": "radius (features' unit)",
    "neighbours": "neighbours within it",
    "mean": "LID / true dimension",
    "k": "neighbours k",
    "points": "points N",
    "offset": "offset (features' unit; the first is 0)",
    "lid": "mean LID (dimensionless)",
    "layer": "layer, from input to output",
}

# %%
growth = pd.DataFrame(rows, columns=["shape", "radius", "neighbours"])
title = "The slope is the dimension"
log = {"log_x": True, "log_y": True, "labels": labels, "title": title}
growth.plot(x="radius", y="neighbours", **log, **by_shape)

# %% [markdown]
# ## The estimate
#
# From the radii $r_1 \le \dots \le r_k$ of a point's `k` nearest neighbours, maximum likelihood gives
#
# $$\hat d = (k-1) \Big/ \sum_{j=1}^{k-1} \log\frac{r_k}{r_j}.$$
#
# The layer's LID is the harmonic mean over the points, which pools their sums. The paper takes `k` instead of `k - 1` and the arithmetic mean: about 11 % more at `k = 20`. All variants follow from the same distances.

# %%
names = ["harmonic", "unbiased", "paper", "mom", "twonn", "tle", "ess"]
targets = {"sphere": 2, "ball": 5, "gauss": 20}
table = {}
for kind, d in targets.items():
    samples = [nl.sample_manifold(kind, d, features=100, seed=s) for s in range(draws)]
    distances = [nl.pairwise_distances(sample) for sample in samples]
    for name in names:
        values = pd.Series([float(nl.ESTIMATORS[name](x, k=20).lid) for x in distances])
        table[kind, f"true {d}", name] = f"{values.mean():.2f} ± {values.std():.2f}"
pd.Series(table).unstack()[names]

# %% [markdown]
# Mean and standard deviation over draws of 128 points, `k = 20`. Only the 2-dimensional sphere is met. From five dimensions on, 128 points are too few: their neighbours are too far away to see the sheet locally. ESS looks at angles and is less biased, but it counts curvature as dimension. So **LID compares layers at the same number of points and the same `k`; it is not the true dimension.**
#
# ## The bias, seen from `k` and from the number of points

# %%
rows = []
for kind, d in targets.items():
    for s in range(draws):
        distances = nl.pairwise_distances(nl.sample_manifold(kind, d, features=100, seed=s))
        for k in (5, 10, 20, 40, 80):
            lid = float(nl.ESTIMATORS["harmonic"](distances, k=k).lid)
            rows.append((f"{kind} ({d})", k, lid / d))
frame = pd.DataFrame(rows, columns=["shape", "k", "ratio"])
by_k = frame.groupby(["shape", "k"])["ratio"].agg(["mean", "std"]).reset_index()

# %%
drawn = {"y": "mean", "error_y": "std", "symbol": "shape", "log_x": True, "labels": labels}
by_k.plot(x="k", title="More neighbours: steadier, and more biased", **drawn, **by_shape)

# %%
rows = []
for kind, d in targets.items():
    for n in (64, 128, 256, 512, 1024):
        for s in range(max(3, draws // 4)):
            sample = nl.sample_manifold(kind, d, points=n, features=100, seed=s)
            lid = float(nl.ESTIMATORS["harmonic"](nl.pairwise_distances(sample), k=20).lid)
            rows.append((f"{kind} ({d})", n, lid / d))
frame = pd.DataFrame(rows, columns=["shape", "points", "ratio"])
by_points = frame.groupby(["shape", "points"])["ratio"].agg(["mean", "std"]).reset_index()

# %%
by_points.plot(x="points", title="More points help, slowly", **drawn, **by_shape)

# %% [markdown]
# ## What goes wrong in naive code
#
# A distance is usually computed as $|x|^2 + |y|^2 - 2\,x \cdot y$ in float32. If all features share an offset, two large numbers are subtracted and what remains is rounding. Here an offset is added to the same points: it changes no distance.

# %%
sample = nl.sample_manifold("gauss", 8, features=4096, seed=seed).float()
rows = []
for offset in (0.0, 0.1, 1.0, 10.0, 100.0, 1000.0):
    x = sample + offset
    norms = (x * x).sum(dim=1)
    naive = (norms[:, None] + norms - 2 * x @ x.T).clamp_min(1e-12).sqrt()
    lid = 1 / (1 / nl.lid_mle(naive.sort(dim=1).values[:, 1:21])).nanmean()
    ours = nl.ESTIMATORS["harmonic"](nl.pairwise_distances(x), k=20).lid
    rows.append((max(offset, 0.01), float(lid), float(ours)))
naive = pd.DataFrame(rows, columns=["offset", "naive float32", "toolkit"])

# %%
long = naive.melt("offset", var_name="code", value_name="lid")
lines = {"x": "offset", "y": "lid", "color": "code", "line_dash": "code", "symbol": "code"}
title = "An offset that changes no distance (the shape has 8 dimensions)"
long.plot(log_x=True, labels=labels, title=title, **lines, **style)

# %% [markdown]
# The toolkit subtracts a centre block by block, adds up in float64, and bounds what is left of the error; where the bound is too large it repeats the layer in float64. The published code also adds `1e-6` at two places. On degenerate layers that gives numbers that look like results:

# %%
x = nl.sample_manifold("gauss", 8, features=500, seed=seed).float()
half, copies = x.clone(), x.clone()
half[28:], copies[64:] = 0, x[:64]
cases = {"plain": x, "half the batch copied": copies, "100 of 128 dead": half, "dead": x * 0}
cases |= {"scaled by 1e-8": x * 1e-8, "all equally far": (x @ x.T * 0).fill_diagonal_(100)}
rows = {}
for name, layer in cases.items():
    distances = nl.pairwise_distances(layer)
    for estimator in ("official_code", "harmonic"):
        rows[name, estimator] = float(nl.ESTIMATORS[estimator](distances, k=20).lid)
degenerate = pd.Series(rows).unstack(sort=False)

# %%
degenerate.style.format("{:,.4g}")

# %% [markdown]
# Equal points count as one, so copies and dead images change nothing but the number of points; a dead layer has dimension 0; and where all neighbours are equally far there is no LID (NaN). The status of a profile says which of these happened.
#
# ## The LID of a network, with its error
#
# A random path of a supernet on real digits: every layer's output is reduced to the distances of its 128 points the moment it exists. The error bars come from resampling those points, without another forward pass.

# %%
tiny = budget == "tiny"
task = nl.load_digits(canvas=8 if tiny else 12)
channels, cells, epochs = (4, 1, 1) if tiny else (8, 3, 10)
size = nl.Skeleton(channels=channels, cells=cells, image_shape=task.image_shape)
space = nl.nasbench201()
supernet = nl.Supernet(space, size, seed=seed)
nl.train(supernet, task.train, nl.TrainingConfig(epochs=epochs), seed=seed)
probe = task.probe(batches=2, points=128, seed=seed)

# %%
path = space.sample(generator=nl.generator(seed))
names = {"3x3 convolution on edge 5": "nor_conv_3x3", "pooling on edge 5": "avg_pool_3x3"}
measured = {}
for name, operation in names.items():
    network = supernet.path(path.replace(5, operation))
    measured[name] = nl.measure_distances(network, probe, layers=network.layer_names)

# %%
intervals = {n: nl.bootstrap_profile(m, replicates=50, seed=seed) for n, m in measured.items()}
plots.plot_lid(intervals, title="LID by layer, with one standard error")

# %% [markdown]
# Are the two operations told apart, or could other images have given the same curves? Both are resampled together, which removes what the choice of images does to both. The answer is about this supernet's weights; another training is not asked:

# %%
difference = nl.compare_profiles(*measured.values(), replicates=100, seed=seed)
print("distinguishable at 5 %:", difference.distinguishable)
difference.to_frame().style.format(precision=3)

# %% [markdown]
# Another `k` or estimator is answered by the same distances. The profile falls as `k` grows, and keeps its shape:

# %%
first = next(iter(measured.values()))
rows = {k: first.profile(k=k).lid.tolist() for k in (5, 10, 20, 40)}
by_layer = pd.DataFrame(rows, index=first.layers).rename_axis("layer").reset_index()
long = by_layer.melt("layer", var_name="k", value_name="lid").astype({"k": str})
lines = {"x": "layer", "y": "lid", "color": "k", "line_dash": "k", "symbol": "k"}
title = "One measurement, four numbers of neighbours"
long.plot(labels=labels, title=title, **lines, **style)

# %% [markdown]
# ## Expected and found

# %%
ratio = by_k.set_index(["shape", "k"])["mean"]
low, high = ratio["gauss (20)", 80], ratio["gauss (20)", 5]
sphere, lost = 2 * ratio["sphere (2)", 20], 1 - ratio["gauss (20)", 20]
spread, last = naive["toolkit"].max() - naive["toolkit"].min(), naive["naive float32"].iloc[-1]

# %%
found = {"a 2-sphere at k = 20 has LID 2": (f"{sphere:.2f}", bool(abs(sphere - 2) < 0.1))}
found["20 dimensions are underestimated by 40 %"] = f"by {lost:.0%}", bool(abs(lost - 0.4) < 0.05)
more = f"{high:.2f} of the truth at k = 5, {low:.2f} at 80"
found["more neighbours, more bias"] = more, bool(high > low)
offset = f"toolkit: by {spread:.0e}; naive code ends at {last:.2g}"
found["an offset changes nothing"] = offset, bool(spread < 1e-3)
differ = difference.distinguishable
found["convolution and pooling differ"] = "yes" if differ else "not shown", differ or None, 1
nl.findings(found)
