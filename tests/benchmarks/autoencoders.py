"""An epoch of the VAE against torch, flax and numpyro, and the bound they reach.

All train the same networks from the same weights by Adam, with tanh layers and the
likelihood of torch's official example, Bernoulli. The bound is judged by one function.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import peers_jax
import peers_torch
from measure import by_turns, rows_of

from helpers import data, vae

BATCH, RATE = 128, 1e-3
LAYOUT, FUSED = "torch, example's layout", "torch, sliced and fused"


def rows(quick):
    sizes, epochs = (64, 128, 8), 3 if quick else 20
    floors = {LAYOUT: (6, 8), FUSED: (2.8, 4)}
    images = data.digits()[0].astype(np.float32)
    # whole batches: then no one drops points that another trains on
    train, held_out = images[: 12 * BATCH], images[12 * BATCH :]
    yield from _compared("digits", sizes, train, held_out, epochs, floors, quick)
    sizes, epochs = (784, 400, 20), 1 if quick else 3
    floors = {LAYOUT: (1.8, 2.3), FUSED: (1.25, 1.6)}
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
    flax = peers_jax.flax_trainer(start, x, optimizer, BATCH)
    numpyro = peers_jax.numpyro_trainer(start, x, optimizer, BATCH)

    def ours():
        return vae.fit(
            *(jax.random.key(next(seeds)), start, x),
            optimizer=optimizer,
            num_epochs=epochs,
            batch_size=BATCH,
            terms=of_pixels,
            progress=False,
        ).params

    runs = {
        "vae.fit": ours,
        LAYOUT: lambda: peers_torch.as_example(start, train, epochs, BATCH, RATE),
        FUSED: lambda: peers_torch.fused(start, train, epochs, BATCH, RATE),
        "flax": lambda: flax(jax.random.key(next(seeds)), epochs),
        "numpyro": lambda: numpyro(jax.random.key(next(seeds)), epochs),
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


def of_pixels(params, x, eps, sigma_x):
    """The bound's terms for pixels of 0 or 1, as the peers' examples have them."""
    q = vae.encode(params, x)
    z = q.mean + jnp.sqrt(q.variance) * eps
    logits = jax.vmap(vae.decode, (None, 0))(params, z)
    score = -optax.sigmoid_binary_cross_entropy(logits, x).sum(axis=2)
    kl = jax.vmap(gaussian.kl_to_standard_normal)(q)
    return vae.ElboTerms(score.mean(axis=0), kl)


def bound(params, x):
    """Mean ELBO in nats a point, whoever trained the networks."""
    latents = params.decoder.weights[0].shape[0]
    eps = jax.random.normal(jax.random.key(1), (10, len(x), latents), x.dtype)
    terms = of_pixels(params, x, eps, 1.0)
    return float((terms.reconstruction - terms.kl).mean())


def _worse(ours, theirs):
    """Says so if our bound is lower, by more than runs of one program differ."""
    error = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    # beside few runs' spread, a thousandth: no one would see it
    if ours.mean() >= theirs.mean() - 4 * error - 1e-3 * abs(theirs.mean()):
        return ""
    return f"ELBO {ours.mean():.3f} nats a point, theirs {theirs.mean():.3f}"
