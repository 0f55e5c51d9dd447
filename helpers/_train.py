"""The loop over epochs: progress bar, interrupt button, and a stop at nan or inf."""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from tqdm.auto import tqdm


class Watched(NamedTuple):
    """The outcome of a training."""

    state: Any  # after the last good epoch
    epochs: list  # what each good epoch reported
    ended: Literal["done", "interrupted", "diverged"]


def watch(epoch, state, num_epochs, *, caption, progress):
    """Run the epochs, and stop early if interrupted or if a number is not finite.

    Args:
        epoch: a function of the epoch's number and the state. It returns the next state
            and a report, a NamedTuple of numbers; the epoch is good if all of these are
            finite.
        state: the state at the start.
        num_epochs: how many epochs to run.
        caption: a function of a report that returns the words beside the bar.
        progress: whether to show the bar; if None, in notebooks and terminals.

    Returns:
        Watched.
    """
    reports = []
    # with disable=None, tqdm shows the bar only in a terminal or a notebook
    hidden = None if progress is None else not progress
    try:
        with tqdm(total=num_epochs, unit="epoch", disable=hidden) as bar:
            for t in range(num_epochs):
                next_state, report = epoch(t, state)
                report = jax.device_get(report)
                if not np.isfinite(jax.tree.leaves(report)).all():
                    return Watched(state, reports, "diverged")
                state = next_state
                reports.append(report)
                bar.set_postfix_str(caption(report), refresh=False)
                bar.update()
    except KeyboardInterrupt:
        return Watched(state, reports, "interrupted")
    return Watched(state, reports, "done")


def on_automatic_mesh(x):
    """Return x on the same devices, but on a mesh whose axes are all automatic.

    A shuffle takes points from all devices, which JAX does not allow on a mesh with
    explicit axes.
    """
    sharding = getattr(x, "sharding", None)
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return x
    mesh = jax.sharding.Mesh(sharding.mesh.devices, sharding.mesh.axis_names)
    return jax.device_put(x, jax.sharding.NamedSharding(mesh, sharding.spec))
