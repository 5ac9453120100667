"""Similarity matrices of the operations of each edge that could be split."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from naslid_toolkit.partition.split import EdgeCandidate, Split
from naslid_toolkit.plots._theme import SEQUENTIAL, finish, plain, short
from naslid_toolkit.space.search_space import SearchSpace

_CLOSE: Final = 0.97


@dataclass(frozen=True, slots=True)
class SimilarityCells:
    """One matrix, its operations ordered by group; groups end after ``boundaries`` operations."""

    title: str
    labels: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    boundaries: tuple[int, ...]
    chosen: bool


def similarity_cells(split: Split, space: SearchSpace) -> tuple[SimilarityCells, ...]:
    """Return the matrices to draw, one for each candidate edge."""
    return tuple(_cells(c, space, chosen=c.edge == split.edge) for c in split.candidates)


def _cells(candidate: EdgeCandidate, space: SearchSpace, *, chosen: bool) -> SimilarityCells:
    groups = candidate.grouping.groups
    order = tuple(itertools.chain.from_iterable(groups))
    mark = "★ " if chosen else ""
    name = space.edge_name(candidate.edge)
    score = candidate.grouping.score_text
    return SimilarityCells(
        title=f"{mark}edge {name}, {'score ' if len(groups) > 1 else ''}{score}",
        labels=tuple(short(candidate.operations[i]) for i in order),
        values=tuple(tuple(float(candidate.similarity[i, j]) for j in order) for i in order),
        boundaries=tuple(itertools.accumulate(map(len, groups)))[:-1],
        chosen=chosen,
    )


def plot_similarity(
    split: Split, space: SearchSpace, *, title: str = "Similarity of operations, by edge"
) -> go.Figure:
    """Draw the similarity matrix of every candidate edge; a star marks the chosen one.

    Lines separate the groups found on each edge.

    Parameters
    ----------
    split
        The split with its candidates.
    space
        The space that was split, for the names of the edges.
    title
        Title of the figure.
    """
    cells = similarity_cells(split, space)
    columns = min(3, len(cells))
    rows = math.ceil(len(cells) / columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[plain(cell.title) for cell in cells],
        horizontal_spacing=0.12,
        vertical_spacing=0.28 / rows,
    )
    digits = digits_of(value for cell in cells for row in cell.values for value in row)
    for i, cell in enumerate(cells):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        figure.add_trace(_heatmap(cell, digits), **place)
        for boundary in cell.boundaries:
            middle = boundary - 0.5
            for line in ({"x0": middle, "x1": middle}, {"y0": middle, "y1": middle}):
                ends = {"x0": -0.5, "x1": len(cell.labels) - 0.5, "y0": -0.5}
                ends |= {"y1": len(cell.labels) - 0.5, **line}
                figure.add_shape(type="line", line={"color": "white", "width": 3}, **ends, **place)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="operation", row=rows)
    figure.update_yaxes(title="operation", col=1)
    figure.update_layout(coloraxis={"colorscale": SEQUENTIAL, "colorbar": {"title": "similarity"}})
    return finish(figure, title=title, height=330 * rows + 90)


def digits_of(values: Iterable[float]) -> int:
    """Return the decimals that tell similarities apart: more where all are close to 1."""
    return 2 if min(values, default=0.0) < _CLOSE else 4


def _heatmap(cell: SimilarityCells, digits: int) -> go.Heatmap:
    labels = [plain(label) for label in cell.labels]
    return go.Heatmap(
        x=labels,
        y=labels,
        z=cell.values,
        texttemplate=f"%{{z:.{digits}f}}",
        textfont={"size": 11},
        coloraxis="coloraxis",
        hovertemplate="%{y} and %{x}: %{z:.4f}<extra></extra>",
    )
