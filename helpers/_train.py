"""What watches over a training: its bar, the interrupt button, numbers gone bad."""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from tqdm.auto import tqdm


class Watched(NamedTuple):
    """How a training went."""

    state: Any  # after the last good epoch
    epochs: list  # what each good epoch reported
    ended: Literal["done", "interrupted", "diverged"]


def watch(epoch, state, num_epochs, *, caption, progress):
    """Run epochs until done, interrupted, or not finite; keep the last good state.

    Args:
        epoch: from an epoch's number and the state to the next state and a report: a
            NamedTuple of numbers. The epoch was good if all of them are finite.
        state: the start.
        num_epochs: how many.
        caption: from a report to the words beside the bar.
        progress: a bar with the time left; in notebooks and terminals if None.

    Returns:
        Watched.
    """
    reports = []
    # a bar that is not told off is off where it would fill a log file with lines
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
    """Return x where it lies, on a mesh that lets XLA choose how to move what moves.

    A shuffle takes its points from all the devices, which an explicit mesh refuses.
    """
    sharding = getattr(x, "sharding", None)
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return x
    mesh = jax.sharding.Mesh(sharding.mesh.devices, sharding.mesh.axis_names)
    return jax.device_put(x, jax.sharding.NamedSharding(mesh, sharding.spec))
