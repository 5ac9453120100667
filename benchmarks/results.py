r"""Write docs/results.md from the folder of a study and a file of measured costs.

naslid compare --preset demo --set split.keep_distances=false --seeds 3 --out runs/study
naslid compare-cost --device cpu --csv runs/costs.csv
naslid hierarchical --seeds 5 --out runs/hep --csv runs/hep.csv
naslid hierarchical --seeds 5 --distillation 0 --out runs/hep0 --csv runs/hep0.csv
python -m benchmarks.results runs/study \
    --costs runs/costs.csv --hierarchical runs/hep.csv runs/hep0.csv

The study that ships is enough for its own two sections: python -m benchmarks.results
data/study_digits (the settings are those of the first line).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.reported import PAGE, replace_section
from naslid_toolkit.evaluation.benchmark import digits_truth_path, load_reference
from naslid_toolkit.evaluation.labels import reliability
from naslid_toolkit.search.config import RunConfig
from naslid_toolkit.search.judging import judge_study, separability, splitting_memory, study_configs
from naslid_toolkit.search.study import FIRST_ARM, load_study
from naslid_toolkit.tables import (
    cost_table,
    markdown,
    separability_tables,
    study_costs,
    study_lines,
    study_table,
)


def ranking(folder: Path) -> str:
    study, truth = load_study(folder), load_reference(digits_truth_path())
    judged = judge_study(study, truth, seed=0)
    seeds = sorted(study.costs["seed"].unique())
    base = RunConfig.preset("demo")
    config = study_configs(folder, [FIRST_ARM], base)[FIRST_ARM]
    labels = reliability(truth.seeds)
    lines = study_lines(judged, FIRST_ARM, truth)
    return f"""
## Criteria at equal budget (NB201-digits)

Every arm takes {study.costs["steps"].iloc[0]:,} optimiser steps, warm-up included
({config.network.channels} channels, {config.network.cells} cell a stage, batches of
{config.training.batch_size}), with seeds {", ".join(map(str, seeds))}; all score the same
architectures by validation accuracy with inherited weights. The reference is NB201-digits:
architectures trained alone, {labels.seeds} seeds; a perfect score would reach about
{labels.ceiling:.2f}. Neither arms nor settings were chosen by this table. `pick`: reference
accuracy of the architecture with the largest score (best of all scored:
{truth.accuracy.reindex(study.scores.index).max():.4f}).

{markdown(study_table(study, judged, truth))}

{lines[0]} {lines[1]}

{markdown(study_costs(study, judged, FIRST_ARM, memory=splitting_memory(folder, base=base)))}

`lid (official code)` differs from the others in more than its criterion: the published code's
path sampling, a Markov chain, also trains its supernets; `single (markov paths)` is its control,
and `single (balanced paths)` what the sampling of EFS-NAS gives without any split; these two were
added after the other arms had been seen. `exhaustive`
splits one edge, drawn by chance, into its five operations; `convolution count` splits by the
distribution of the number of convolutions, a criterion that needs no network. Another machine or
number of threads rounds differently, which moves a training as another seed does.

The tests are over seeds, paired by seed, so what they say is not of these weights alone
(`docs/decisions/0010-verdicts.md`). With a spread (`sd of that`) of 0.018, three seeds find a
difference of 0.02 in one study of five and ten in three of four, before Holm's adjustment: that
none is shown does not say that there is none. Brackets are not adjusted. Splitting: wall time on a
shared machine, and the peak of all tensors beside weights and images while edges are measured.
"""


def separation(folder: Path) -> str:
    by_edge, stable = separability_tables(*separability(folder))
    return f"""
## Separability: LID against gradients

Variance of the pairwise similarities of the five operations of an edge, the measure of the paper
(section 4), at the root after warm-up: the same supernets, images and sampled paths for both, the
same similarity (cosine). Mean over seeds, ± 95 % (Student's t).

{markdown(by_edge)}

How often resampled contexts (sampled paths with their batches) lead to the same split, each
criterion by its own rules:

{markdown(stable)}
"""


def cost(path: Path) -> str:
    costs = pd.read_csv(path)
    return f"""
## Memory and time of measuring (NAS-Bench-201, 16 channels, 5 cells a stage)

One sweep measures 6 edges x 5 operations around one sampled path. MB: peak of all tensors beside
weights and images, from the allocator's events; share: of gradient matching's. `plain forward`
runs the same networks and measures nothing. Images of 224 pixels were measured on one edge with
batches of 4 and 8, and extended: memory along the line, time in proportion (~).

{markdown(cost_table(costs))}

The paper states, for NAS-Bench-201 at 224 pixels and batches of 32, a saving of up to 86 % (a share
of 14 %), on its own set-up. Here the features are reduced while the forward pass runs and none is
kept, which is why the share is smaller.
"""


def hierarchical(with_it: Path, without: Path, folder: Path) -> str:
    """HEP-NAS with and without distillation, beside the picks of the single supernet."""
    both = {"1": pd.read_csv(with_it), "0": pd.read_csv(without)}
    study, truth = load_study(folder), load_reference(digits_truth_path())
    single = study.costs[study.costs["arm"] == "single supernet"]
    picks = {f"distillation {weight}": frame["accuracy"] for weight, frame in both.items()}
    picks["single supernet, best of those it scores"] = single["pick"].map(truth.accuracy)
    steps = {f"distillation {weight}": frame["steps"] for weight, frame in both.items()}
    steps["single supernet, best of those it scores"] = single["steps"]
    rows = [
        {
            "search": name,
            "seeds": str(len(values)),
            "steps": f"{steps[name].mean():,.0f}",
            "accuracy of the pick": f"{values.mean():.4f}",
            "sd": f"{values.std():.4f}",
            "better architectures": f"{np.mean([(truth.accuracy > v).mean() for v in values]):.1%}",
        }
        for name, values in picks.items()
    ]
    change = both["1"]["accuracy"] - both["0"]["accuracy"]
    paired = stats.ttest_1samp(change, 0)
    against = stats.ttest_ind(picks["distillation 1"], single["pick"].map(truth.accuracy))
    return f"""
## Hierarchical splitting (HEP-NAS)

`naslid hierarchical`: the edges into one node are split together, the part whose sampled
architectures validate best is kept, until one architecture is left. How combinations of operations
are grouped and the weight of the mutual distillation are choices of this toolkit. NB201-digits, the
demo's network and warm-up, one epoch for every part. A random architecture has
{truth.accuracy.mean():.4f}, the best {truth.accuracy.max():.4f}.

{markdown(pd.DataFrame(rows))}

Distillation against none, paired over seeds: {change.mean():+.4f}, p = {paired.pvalue:.2g} (t
test). Against the single supernet's picks ({len(single)} seeds): p = {against.pvalue:.2g}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="folder of 'naslid compare'")
    stays = "; without it that section stays as it is"
    parser.add_argument("--costs", type=Path, help=f"file of 'naslid compare-cost --csv'{stays}")
    parser.add_argument(
        "--hierarchical",
        type=Path,
        nargs=2,
        help=f"files of 'naslid hierarchical --csv', with and without distillation{stays}",
    )
    options = parser.parse_args()
    sections = [ranking(options.study), separation(options.study)]
    if options.costs:
        sections.append(cost(options.costs))
    if options.hierarchical:
        sections.append(hierarchical(*options.hierarchical, options.study))
    for section in sections:
        title, _, text = section.strip().removeprefix("## ").partition("\n")
        replace_section(PAGE, title, text)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
