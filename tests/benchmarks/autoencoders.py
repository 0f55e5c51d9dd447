"""An epoch of the VAE against optax, torch, flax and numpyro, and the bound they reach.

All train the same networks from the same weights by Adam, with tanh layers and a
Gaussian likelihood of one fixed sigma. The bound is judged by one function.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import peers_jax
import peers_torch
from measure import by_turns, rows_of

from helpers import data, vae

BATCH, RATE, SIGMA_X = 128, 1e-3, 0.25
LAYOUT, FUSED = "torch, example's layout", "torch, sliced and fused"
OPTAX = "optax, a jitted step per batch"


def rows(quick):
    sizes, epochs = (64, 128, 8), 3 if quick else 20
    floors = {LAYOUT: (6, 8), FUSED: (2.8, 4), OPTAX: (1.2, 1.4)}
    images = data.digits()[0].astype(np.float32)
    # Whole batches, so that nobody drops points that another trains on.
    train, held_out = images[: 12 * BATCH], images[12 * BATCH :]
    yield from _compared("digits", sizes, train, held_out, epochs, floors, quick)
    sizes, epochs = (784, 400, 20), 1 if quick else 3
    floors = {LAYOUT: (1.8, 2.3), FUSED: (1.25, 1.6), OPTAX: (0.9, 1.1)}
    images = synthetic((4 if quick else 42) * BATCH)
    train, held_out = images[: -2 * BATCH], images[-2 * BATCH :]
    yield from _compared("synthetic", sizes, train, held_out, epochs, floors, quick)


def synthetic(n):
    """Pictures of 28 by 28 binary pixels: two discs, of any place and size."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28]
    lit = np.zeros((n, 28, 28), bool)
    for _ in range(2):
        y, x = rng.uniform(4, 24, size=(2, n, 1, 1))
        radius = rng.uniform(2, 8, size=(n, 1, 1))
        lit |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return lit.reshape(n, 784).astype(np.float32)


def _compared(name, sizes, train, held_out, epochs, floors, quick):
    start = vae.init(jax.random.key(0), sizes)
    x, seeds = jnp.asarray(train), iter(range(10**6))
    optimizer = optax.adam(RATE)
    trainers = {
        OPTAX: peers_jax.optax_trainer(start, x, optimizer, BATCH, SIGMA_X),
        "flax": peers_jax.flax_trainer(start, x, optimizer, BATCH, SIGMA_X),
        "numpyro": peers_jax.numpyro_trainer(start, x, optimizer, BATCH, SIGMA_X),
    }

    def ours():
        return vae.fit(
            *(jax.random.key(next(seeds)), start, x),
            optimizer=optimizer,
            num_epochs=epochs,
            batch_size=BATCH,
            sigma_x=SIGMA_X,
            progress=False,
        ).params

    settings = (epochs, BATCH, RATE, SIGMA_X)

    runs = {
        "vae.fit": ours,
        LAYOUT: lambda: peers_torch.as_example(start, train, *settings),
        FUSED: lambda: peers_torch.fused(start, train, *settings),
        **{
            name: lambda train=train: train(jax.random.key(next(seeds)), epochs)
            for name, train in trainers.items()
        },
    }
    times, results = by_turns(runs, 2 if quick else 7, seconds=60)
    bounds = {
        peer: np.array([bound(params, held_out) for params in trained[1:]])
        for peer, trained in results.items()
    }
    for row in rows_of(
        times,
        per=epochs,
        floors=floors,
        part="VAE, an epoch",
        case=f"{name} {'-'.join(map(str, sizes))}",
    ):
        mine, theirs = bounds["vae.fit"], bounds[row.peer]
        yield row._replace(
            note=f"ELBO held out after {epochs} epochs: {mine.mean():.2f}, "
            f"theirs {theirs.mean():.2f}",
            wrong=_worse(mine, theirs),
        )


def bound(params, x):
    """Mean ELBO in nats per point, computed in the same way for all libraries."""
    terms = vae.elbo_terms(
        jax.random.key(1), params, x, num_samples=10, sigma_x=SIGMA_X
    )
    return float((terms.reconstruction - terms.kl).mean())


def _worse(ours, theirs):
    """A message if our bound is lower by more than repeated runs differ."""
    error = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    # Beside the spread of few runs, a thousandth, which nobody would notice.
    if ours.mean() >= theirs.mean() - 4 * error - 1e-3 * abs(theirs.mean()):
        return ""
    return f"ELBO {ours.mean():.3f} nats per point, theirs {theirs.mean():.3f}"
