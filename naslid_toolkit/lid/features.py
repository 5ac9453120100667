"""Look at the outputs of chosen layers during forward passes, and leave no trace."""

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from naslid_toolkit.errors import NetworkError, ShapeError, nearest_name

Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]]
Select = Callable[[str, object], Tensor]

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_FUSED = nn.MultiheadAttention | nn.TransformerEncoderLayer | nn.TransformerEncoder


def plain_network(network: object) -> nn.Module:
    """Return the module whose layers can be looked at: that within compiled and parallel wrappers.

    Raises
    ------
    NetworkError
        If it is no module, is scripted, or has weights without values (meta, lazy modules).
    """
    if not isinstance(network, nn.Module):
        raise NetworkError(f"a network must be a torch.nn.Module, got {type(network).__name__}")
    network = _unwrapped(network)
    if isinstance(network, torch.jit.ScriptModule):
        raise NetworkError(
            "the network is scripted or traced, so its layers cannot be seen; "
            "measure the module it was made from"
        )
    if not _can_run(network):
        raise NetworkError(f"the network, a {type(network).__name__}, has no forward of its own")
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        if nn.parameter.is_lazy(value):
            raise NetworkError(f"{name!r} is not initialised yet; run the network on a batch first")
        if value.is_meta:
            raise NetworkError(
                f"{name!r} is on the meta device and has no values; "
                f"load the weights, with load_state_dict(..., assign=True), first"
            )
    return network


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return what ``torch.compile`` or data parallelism was wrapped around."""
    children = module._modules  # noqa: SLF001 - the type of compiled ones is slow to import
    if "_orig_mod" in children and children["_orig_mod"] is not None:
        return _unwrapped(children["_orig_mod"])
    return _unwrapped(module.module) if isinstance(module, _PARALLEL) else module


def _can_run(module: nn.Module) -> bool:
    """Whether a module has a forward pass; containers such as ``ModuleList`` have none."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    return type(module).forward is not nn.Module.forward or "forward" in vars(module)


def named_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return all submodules that can run, by name, in the order of ``named_modules()``.

    Wrappers of ``torch.compile`` and of data parallelism have no part in the names. Containers
    without a forward pass, such as ``ModuleList``, are left out, and so are second names.
    """
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()

    def walk(name: str, module: nn.Module) -> None:
        module = _unwrapped(module)
        if id(module) in seen:
            return
        seen.add(id(module))
        if name and _can_run(module):
            found[name] = module
        for part, child in module._modules.items():  # noqa: SLF001 - with those of wrappers
            if child is not None:
                walk(f"{name}.{part}" if name else part, child)

    walk("", network)
    return found


def select_layers(network: nn.Module, layers: Layers) -> dict[str, bool]:
    """Find submodules by name, pattern or type.

    Parameters
    ----------
    network
        Any module.
    layers
        One of these, or several: a name as in ``network.named_modules()``; a pattern, in which
        ``*`` stands for any part of a name without a dot, ``**`` for any part, ``?`` for one
        character (``"*"``: the direct children; ``"layer3.*.conv2"``); a module class.

    Returns
    -------
    dict
        Names in the order of the network, and whether each was asked for by its own name, so
        that it has to run. Names are those of :func:`named_layers`.

    Raises
    ------
    ShapeError
        If one of them matches nothing; names the nearest.
    """
    wanted = [layers] if isinstance(layers, str | type) else list(layers)
    modules = named_layers(network)
    found: dict[str, bool] = {}
    for want in wanted:
        if isinstance(want, str):
            want = _without_wrappers(want, modules)  # noqa: PLW2901 - as the layers are named
        matches = _matches(modules, want)
        if not matches:
            raise ShapeError(_no_layer(network, modules, want))
        for name in matches:
            found[name] = found.get(name, False) or name == want
    return {name: found[name] for name in modules if name in found}


def _without_wrappers(want: str, modules: Mapping[str, nn.Module]) -> str:
    """Return a name as it is without the parts that wrappers add to it."""
    short = want.replace("_orig_mod.", "")
    inner = short.removeprefix("module.")
    return inner if inner in modules and short not in modules else short


def _matches(modules: Mapping[str, nn.Module], want: str | type[nn.Module]) -> list[str]:
    if isinstance(want, type):
        return [name for name, module in modules.items() if isinstance(module, want)]
    if want in modules:
        return [want]
    pattern = re.escape(want).replace(r"\*\*", ".*").replace(r"\*", "[^.]*").replace(r"\?", "[^.]")
    return [name for name in modules if re.fullmatch(pattern, name)]


def _no_layer(
    network: nn.Module, modules: Mapping[str, nn.Module], want: str | type[nn.Module]
) -> str:
    """Say why nothing matches."""
    if isinstance(want, type):
        return f"the network has no layer of type {want.__name__}; {nearest_name('', modules)}"
    others = dict(network.named_modules(remove_duplicate=False))
    if want not in others:
        return f"the network has no layer {want!r}; {nearest_name(want, modules)}"
    for name, module in modules.items():
        if module is others[want]:
            return f"layer {want!r} is the module {name!r} once more; its runs are numbered there"
    return f"layer {want!r} is a {type(others[want]).__name__}, which never runs itself"


@contextmanager
def watch_layers(
    network: nn.Module, layers: Sequence[str], look: Callable[[str, object], None]
) -> Iterator[None]:
    """Call ``look(run, output)`` as soon as a layer has computed its output.

    The output is not kept. Hooks are removed at the end, also after an exception. What is
    compiled runs as it was written meanwhile, since compiled code calls no hooks, and no gradient
    is recorded.

    Parameters
    ----------
    network
        Any module.
    layers
        Names of its submodules, as :func:`named_layers` gives them.
    look
        Called in the order the layers run, each time they run, with the name of the run: that of
        the layer, then ``name#2``, and so on.

    Raises
    ------
    NetworkError
        If a layer ran in another thread, at the end.
    """
    modules = named_layers(network)
    runs = _Runs()
    with ExitStack() as stack:
        for name in layers:  # the method of a scripted module refuses, though it has hooks
            hook = partial(_after_a_run, name, runs, look)
            handle = nn.Module.register_forward_hook(modules[name], hook)
            stack.callback(handle.remove)
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # else nothing is compiled (importing it would be slow), or torch is older than 2.6
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.inference_mode(mode=False))  # a write to a weight shows
        stack.enter_context(torch.no_grad())
        yield
    if runs.strangers:
        raise NetworkError(
            f"layer {runs.strangers[0]!r} runs in another thread than the measurement, so its "
            f"runs cannot be told apart; run the network in one thread"
        )


class _Runs(Counter[str]):
    """How often each layer ran in this thread, and which ones ran in others."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.strangers: list[str] = []


def _after_a_run(
    name: str,
    runs: _Runs,
    look: Callable[[str, object], None],
    _module: nn.Module,
    _inputs: tuple[object, ...],
    output: object,
) -> None:
    if threading.get_ident() != runs.thread:
        runs.strangers.append(name)
        return
    runs[name] += 1
    look(name if runs[name] == 1 else f"{name}#{runs[name]}", output)


def layer_of(run: str) -> str:
    """Return the layer's name from that of one of its runs."""
    return run.partition("#")[0]


def why_silent(network: nn.Module, name: str) -> str:
    """Say why a layer may not have run."""
    modules = named_layers(network)
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        above = modules.get(".".join(parts[:length]))
        if isinstance(above, _FUSED | torch.jit.ScriptModule):
            kind = "is scripted" if isinstance(above, torch.jit.ScriptModule) else "is fused"
            return f"did not run: {'.'.join(parts[:length])!r} {kind} and does not call it"
    return "did not run in the forward pass, or not by a call of the module"
