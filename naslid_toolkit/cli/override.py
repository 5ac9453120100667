"""``naslid override``: a run with a split chosen by hand, as far as possible from another run."""

import argparse

from naslid_toolkit.cli.results import print_frame, say
from naslid_toolkit.errors import ConfigError, nearest_name
from naslid_toolkit.search.reuse import derive_run
from naslid_toolkit.search.storage import RunStore
from naslid_toolkit.space.search_space import SearchSpace


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of the run to start from; it is left as it is")
    add("--node", default="root", metavar="NODE", help="node of the split tree (default: root)")
    add("--edge", metavar="EDGE", help="edge to split, as 0-1 or 0→1 (default: the run's)")
    add(
        "--groups",
        nargs="+",
        required=True,
        metavar="OP,OP",
        help="groups of operations, for instance none,skip_connect nor_conv_1x1,nor_conv_3x3; what "
        "is left out forms the last group",
    )
    add("--out", required=True, metavar="NEW", help="folder of the new run")
    parser.set_defaults(run=_override)


def _override(options: argparse.Namespace) -> int:
    tree = RunStore.open(options.folder).load_tree()
    node = tree.node(options.node)
    if options.edge is not None:
        edge = _edge(node.space, options.edge)
    elif node.split is not None:
        edge = node.split.edge
    else:
        raise ConfigError(f"node {options.node!r} is a leaf; name an edge with --edge")
    groups = [tuple(filter(None, group.split(","))) for group in options.groups]
    given = {operation for group in groups for operation in group}
    rest = tuple(o for o in node.space.allowed[edge] if o not in given)
    if rest:
        groups.append(rest)
    changed = tree.override(options.node, edge, groups)
    store = derive_run(options.folder, changed, options.out)
    print_frame(tree.diff(changed).query("change != 'same'"), "What changes")
    missing = [node.name for node in changed.nodes() if not store.has_weights(node.name)]
    say(f"To train: {', '.join(missing) or 'nothing'}, and what is split below. Go on with:")
    say(f"  naslid search --resume --out {options.out}")
    return 0


def _edge(space: SearchSpace, text: str) -> int:
    names = [space.edge_name(edge) for edge in range(len(space.edges))]
    name = text.replace("-", "→").replace("→>", "→")
    if name not in names:
        raise ConfigError(f"no edge {text!r}; {nearest_name(name, names)}")
    return names.index(name)
