"""The VAE, against quadrature, closed forms, SciPy and a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import linalg, stats

from helpers import _train, bounds, data, decoder, gaussian, vae
from helpers.gaussian import Gaussian
from helpers.vae import VAE, ElboTerms

KEYS = jax.random.split(jax.random.key(0), 8)
KEY = KEYS[0]
# a 1-D latent, so that the truth is known: the horseshoe with any encoder for it
BENT = VAE(decoder.init(KEYS[1], (2, 5, 2)), decoder.bent_line())
PLANE = vae.init(KEYS[2], (3, 7, 2))
X, _ = decoder.sample(KEYS[3], BENT.decoder, 6, sigma_x=0.5)
X3 = jax.random.normal(KEYS[4], (20, 3))
BINARY = (X3 > 0).astype(float)
# it compiles faster than Adam
MOMENTUM = optax.sgd(1e-2, momentum=0.9)
# a step size that becomes too large at the tenth step, in the third epoch of four steps
GROWING = optax.sgd(lambda step: jnp.where(step < 9, 1e-3, 1e9))
both_likelihoods = pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])


def fit(*args, **options):
    return vae.fit(*args, **{"optimizer": MOMENTUM, "batch_size": 5} | options)


def bound(terms):
    return terms.reconstruction - terms.kl


def assert_same(first, second, **options):
    for pair in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(*pair, **options)


@pytest.mark.parametrize(
    ("sizes", "encoder", "mirrored"),
    [
        ((3, 7, 5, 2), [(3, 7), (7, 5), (5, 4)], [(2, 5), (5, 7), (7, 3)]),
        ((3, 2), [(3, 4)], [(2, 3)]),  # the linear one
    ],
)
def test_the_networks_mirror_each_other(sizes, encoder, mirrored):
    params = vae.init(KEY, sizes)
    assert [w.shape for w in params.encoder.weights] == encoder
    assert [w.shape for w in params.decoder.weights] == mirrored


def test_every_q_starts_as_wide_as_the_prior():
    q = vae.encode(PLANE, 1e3 * X3)
    np.testing.assert_array_equal(q.variance, 1)
    assert (q.mean.std(axis=0) > 0.1).all()


def test_encode_is_the_layers_written_out():
    params = jax.tree.map(lambda leaf: leaf + 0.1, PLANE)
    (a, b), (c, d) = jax.tree.map(np.asarray, tuple(params.encoder))
    output = np.tanh(np.asarray(X3) @ a + c) @ b + d
    q = vae.encode(params, X3)
    np.testing.assert_allclose(q.mean, output[:, :2], rtol=1e-12)
    np.testing.assert_allclose(q.variance, np.exp(output[:, 2:]) ** 2, rtol=1e-12)


@pytest.mark.parametrize("sigma_x", [0.3, 1.0])
def test_log_likelihood_is_scipys_with_every_constant(sigma_x):
    z = jax.random.normal(KEY, (20, 2))
    expected = [
        stats.multivariate_normal(centre, sigma_x**2).logpdf(x)
        for x, centre in zip(X3, vae.decode(PLANE, z), strict=True)
    ]
    found = vae.log_likelihood(PLANE, X3, z, sigma_x=sigma_x)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bernoulli_log_likelihood_is_scipys():
    z = jax.random.normal(KEY, (20, 2))
    probabilities = vae.decode(PLANE, z, likelihood="bernoulli")
    expected = stats.bernoulli(np.asarray(probabilities)).logpmf(BINARY).sum(axis=1)
    found = vae.log_likelihood(PLANE, BINARY, z, likelihood="bernoulli")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bernoulli_stays_finite_for_a_certain_decoder():
    certain = jax.tree.map(lambda leaf: 1e4 * leaf, PLANE)
    found = vae.log_likelihood(certain, BINARY, X3[:, :2], likelihood="bernoulli")
    assert jnp.isfinite(found).all()
    assert (found < -100).any()


@pytest.fixture(scope="module")
def many_terms():
    """Terms of the horseshoe's points for 400 keys, and the exact ones."""

    def exact(x, q):
        def log_joint(z):
            return decoder.log_joint(BENT.decoder, x[None], z, sigma_x=0.5)[0]

        prior = Gaussian(jnp.zeros(1), jnp.ones(1))
        forms = bounds.decompositions(log_joint, q, prior)
        return ElboTerms(*forms.reconstruction_kl)

    draws = jax.vmap(
        lambda key: vae.elbo_terms(key, BENT, X, num_samples=50, sigma_x=0.5)
    )(jax.random.split(KEY, 400))
    return draws, jax.vmap(exact)(X, vae.encode(BENT, X))


def test_reconstruction_is_the_quadratures(many_terms):
    draws, exact = many_terms
    error = draws.reconstruction.std(axis=0, ddof=1) / np.sqrt(400)
    deviations = (draws.reconstruction.mean(axis=0) - exact.reconstruction) / error
    assert error.shape == (6,)
    assert jnp.abs(deviations).max() < 4


def test_kl_is_the_quadratures_whatever_the_draw(many_terms):
    draws, exact = many_terms
    expected = jnp.broadcast_to(exact.kl[None, :], (400, 6))
    np.testing.assert_allclose(draws.kl, expected, rtol=1e-9)


def test_kl_is_the_gaussians():
    q = vae.encode(PLANE, X3[:3])
    expected = [
        gaussian.kl_to_standard_normal(Gaussian(*row)) for row in zip(*q, strict=True)
    ]
    np.testing.assert_allclose(
        vae.elbo_terms(KEY, PLANE, X3[:3]).kl, expected, rtol=1e-12
    )


def test_the_bound_is_below_the_log_likelihood(many_terms):
    draws, exact = many_terms
    truth = decoder.log_marginal_quadrature(BENT.decoder, X, sigma_x=0.5)
    assert (bound(exact) < truth).all()
    error = draws.reconstruction.std(axis=0, ddof=1) / np.sqrt(400)
    assert (bound(draws).mean(axis=0) < truth + 4 * error).all()


def principal_components(x, m):
    """Probabilistic PCA: mean log-likelihood, sigma and axes, in closed form."""
    x = np.asarray(x)
    d = x.shape[1]
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    noise = values[: d - m].mean()
    kept = np.log(values[d - m :]).sum()
    total = d * np.log(2 * np.pi) + kept + (d - m) * np.log(noise) + d
    return -0.5 * total, np.sqrt(noise), vectors[:, d - m :]


def test_the_linear_vae_is_probabilistic_pca():
    keys = jax.random.split(KEYS[5], 3)
    x = jax.random.normal(keys[0], (500, 2)) @ jax.random.normal(keys[1], (2, 6))
    x = x + 1.0 + 0.5 * jax.random.normal(keys[2], (500, 6))
    expected, sigma_x, axes = principal_components(x, 2)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 3000))
    options = {"optimizer": optimizer, "num_epochs": 600, "batch_size": 100}
    result = vae.fit(KEY, vae.init(KEY, (6, 2)), x, sigma_x=sigma_x, **options)
    (weights,), (biases,) = jax.tree.map(np.asarray, tuple(result.params.decoder))
    covariance = weights.T @ weights + sigma_x**2 * np.eye(6)
    found = stats.multivariate_normal(biases, covariance).logpdf(x).mean()
    assert 0 <= expected - found < 1e-3 * abs(expected)
    # the encoder finds the posterior too, so the bound is as high
    terms = vae.elbo_terms(KEY, result.params, x, num_samples=200, sigma_x=sigma_x)
    np.testing.assert_allclose(bound(terms).mean(), expected, rtol=2e-3)
    assert linalg.subspace_angles(weights.T, axes).max() < 0.02


def test_fit_is_the_loop_written_out():
    options = {"beta": 0.5, "sigma_x": 0.7, "num_samples": 2, "held_out": X3[:4]}
    result = fit(KEY, PLANE, X3, num_epochs=3, batch_size=6, **options)
    probe_key, key = jax.random.split(KEY)
    params, memory, history = PLANE, MOMENTUM.init(PLANE), []

    @jax.jit
    def terms(params, x, eps):
        mean, variance = vae.encode(params, x)
        sigma = jnp.sqrt(variance)
        reconstruction = jnp.stack(
            [vae.log_likelihood(params, x, mean + sigma * e, sigma_x=0.7) for e in eps]
        )
        kl = 0.5 * (variance + mean**2 - 1 - jnp.log(variance)).sum(axis=1)
        return reconstruction.mean(), kl.mean()

    def loss(params, x, eps):
        reconstruction, kl = terms(params, x, eps)
        return 0.5 * kl - reconstruction, (reconstruction, kl)

    step, update = jax.jit(jax.grad(loss, has_aux=True)), jax.jit(MOMENTUM.update)
    for t in range(3):
        keys = jax.random.split(jax.random.fold_in(key, t))
        order = np.argsort(jax.random.bits(keys[0], (20,)))
        eps = jax.random.normal(keys[1], (3, 2, 6, 2))
        seen = []
        for i in range(3):
            batch = X3[order[6 * i : 6 * i + 6]]
            gradient, values = step(params, batch, eps[i])
            change, memory = update(gradient, memory, params)
            params = jax.tree.map(np.add, params, change)
            seen.append(values)
        probe = terms(params, X3[:4], jax.random.normal(probe_key, (2, 4, 2)))
        history.append([*np.mean(seen, axis=0), *probe])
    assert_same(result.params, params, rtol=1e-9, atol=1e-12)
    assert_same(result.history, list(np.transpose(history)), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 20, 1197, 2**16, 2**16 + 1])
def test_an_epoch_takes_each_point_once_in_a_random_order(n):
    order = np.asarray(jax.jit(_train._shuffled, static_argnums=1)(KEY, n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n >= 20:
        # correlations of a random order with the first one, and of neighbours
        for first, second in ((order, np.arange(n)), (order[1:], order[:-1])):
            assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(n)


def test_every_order_is_as_likely():
    keys = jax.random.split(KEY, 24_000)
    orders = jax.vmap(lambda key: _train._shuffled(key, 4))(keys)
    _, counts = np.unique(np.asarray(orders), axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.fixture(scope="module")
def trained_on_digits():
    x = jnp.asarray(data.digits()[0], jnp.float32)
    start = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32), vae.init(KEY, (64, 64, 8))
    )
    options = {"optimizer": optax.adam(3e-3), "num_epochs": 20, "sigma_x": 0.3}
    return x, start, vae.fit(KEYS[6], start, x[:1500], held_out=x[1500:], **options)


def test_training_raises_the_bound_on_digits(trained_on_digits):
    x, start, (params, history) = trained_on_digits
    before, after = (
        bound(vae.elbo_terms(KEY, p, x[1500:], sigma_x=0.3)).mean()
        for p in (start, params)
    )
    # as good as one Gaussian of any mean and a variance for each pixel, and better
    one = gaussian.fit_mle(x[:1500], isotropic=False)
    one = one._replace(variance=one.variance + 0.3**2)
    assert after > gaussian.log_prob(one, x[1500:]).mean() > before
    assert bound(history.training)[-1] > bound(history.training)[0]
    np.testing.assert_allclose(bound(history.held_out)[-1], after, atol=1.0)
    assert jnp.mean((vae.reconstruct(params, x) - x) ** 2) < 0.5 * jnp.var(x)


def test_float32_is_kept(trained_on_digits):
    x, _, (params, history) = trained_on_digits
    terms = vae.elbo_terms(KEY, params, x[:5])
    assert {leaf.dtype for leaf in jax.tree.leaves((params, history, terms))} == {
        jnp.dtype("float32")
    }


def test_float64_is_kept():
    result = fit(KEY, PLANE, X3, num_epochs=1)
    terms = vae.elbo_terms(KEY, PLANE, X3)
    assert {leaf.dtype for leaf in jax.tree.leaves((result, terms))} == {
        jnp.dtype("float64")
    }


def test_the_same_key_gives_the_same_numbers():
    first, second = (fit(KEY, PLANE, X3, num_epochs=2) for _ in range(2))
    assert_same(first, second, rtol=0)
    other = fit(KEYS[1], PLANE, X3, num_epochs=2)
    assert (other.history.training.kl != first.history.training.kl).all()


def test_a_longer_fit_begins_as_a_shorter_one():
    short, long = (fit(KEY, PLANE, X3, num_epochs=n).history for n in (2, 4))
    assert_same(short, jax.tree.map(lambda leaf: leaf[:2], long), rtol=0)


def test_training_raises_the_bernoulli_bound():
    options = {"num_epochs": 60, "likelihood": "bernoulli"}
    values = bound(fit(KEY, PLANE, BINARY, **options).history.training)
    # and it stays below 0, as no probability of a picture is above 1
    assert values[:5].mean() + 0.2 < values[-5:].mean() < 0


def test_held_out_data_is_only_looked_at():
    without, having = (
        fit(KEY, PLANE, X3, num_epochs=2, held_out=held_out)
        for held_out in (None, X3[:3] + 1)
    )
    assert without.history.held_out is None
    assert_same(without.params, having.params, rtol=1e-10, atol=1e-14)


def test_beta_weighs_the_kl():
    options = {"num_epochs": 60, "sigma_x": 0.5}
    free, heavy = (
        fit(KEY, PLANE, X3, beta=beta, **options).history.training
        for beta in (0.0, 10.0)
    )
    assert heavy.kl[-1] < 0.1 < 1 < free.kl[-1]
    assert heavy.reconstruction[-1] < free.reconstruction[-1]


def test_another_beta_or_sigma_x_compiles_nothing():
    fit(KEY, PLANE, X3, num_epochs=1)
    compiled = _train.epoch._cache_size()
    for beta, sigma_x in [(0.5, 1.0), (2.0, 0.1)]:
        fit(KEY, PLANE, X3, num_epochs=3, beta=beta, sigma_x=sigma_x)
    assert _train.epoch._cache_size() == compiled


def score_function_terms(params, x, eps, sigma_x):
    """The same values, and the encoder's gradient by the score function."""
    q = vae.encode(params, x)
    z = jax.lax.stop_gradient(q.mean + jnp.sqrt(q.variance) * eps[0])
    log_q = jax.vmap(gaussian.log_prob)(q, z[:, None, :])[:, 0]
    given_z = vae.log_likelihood(params, x, z, sigma_x=sigma_x)
    # worth 0, with f grad log q as its slope
    score = jax.lax.stop_gradient(given_z) * (log_q - jax.lax.stop_gradient(log_q))
    return ElboTerms(given_z + score, jax.vmap(gaussian.kl_to_standard_normal)(q))


def test_terms_given_are_the_ones_whose_gradient_is_followed():
    usual, other = (
        fit(KEY, PLANE, X3, num_epochs=1, batch_size=20, terms=terms)
        for terms in (None, score_function_terms)
    )
    # one step: the same value, the same slope in the decoder, another in the encoder
    assert_same(usual.history, other.history, rtol=1e-12)
    assert_same(usual.params.decoder, other.params.decoder, rtol=1e-9, atol=1e-12)
    assert not np.allclose(
        usual.params.encoder.weights[0], other.params.encoder.weights[0]
    )


def test_the_interrupt_returns_what_was_learnt(monkeypatch):
    pressed = []

    def epoch(*args):
        if len(pressed) == 3:
            raise KeyboardInterrupt
        pressed.append(True)
        return _epoch(*args)

    _epoch = _train.epoch
    full = fit(KEY, PLANE, X3, num_epochs=3)
    monkeypatch.setattr(_train, "epoch", epoch)
    stopped = fit(KEY, PLANE, X3, num_epochs=50)
    assert len(stopped.history.training.kl) == 3
    assert_same(stopped, full, rtol=0)


def test_an_interrupt_at_once_returns_the_start(monkeypatch):
    def epoch(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_train, "epoch", epoch)
    stopped = fit(KEY, PLANE, X3, num_epochs=50, held_out=X3)
    assert_same(stopped.params, PLANE, rtol=0)
    assert {leaf.shape for leaf in jax.tree.leaves(stopped.history)} == {(0,)}


@pytest.mark.bad_input
@pytest.mark.usefixtures("nan_is_meant")
def test_not_a_number_stops_and_loses_nothing_good():
    with pytest.raises(vae.Diverged, match=r"epoch 3 of 50: .*step size") as caught:
        fit(KEY, PLANE, X3, num_epochs=50, optimizer=GROWING)
    good = fit(KEY, PLANE, X3, num_epochs=2, optimizer=GROWING)
    assert_same(caught.value.result, good, rtol=0)
    assert len(good.history.training.kl) == 2


@pytest.mark.bad_input
@pytest.mark.usefixtures("nan_is_meant")
def test_an_epoch_that_ends_badly_is_not_taken():
    # the last step of the epoch is the bad one: no batch sees what it made
    optimizer = optax.sgd(lambda step: jnp.where(step == 7, jnp.nan, 1e-3))
    with pytest.raises(vae.Diverged, match="epoch 2 of 2") as caught:
        fit(KEY, PLANE, X3, num_epochs=2, optimizer=optimizer)
    params, history = caught.value.result
    assert jnp.isfinite(vae.elbo_terms(KEY, params, X3).reconstruction).all()
    assert len(history.training.kl) == 1


@pytest.mark.bad_input
@pytest.mark.usefixtures("nan_is_meant")
def test_a_small_sigma_x_is_named_as_the_likely_cause():
    with pytest.raises(
        vae.Diverged, match=r"epoch 1 .*likely cause is sigma_x = 1e-05"
    ):
        fit(KEY, PLANE, X3, num_epochs=2, optimizer=GROWING, sigma_x=1e-5)


@pytest.mark.parametrize(("progress", "shown"), [(None, False), (True, True)])
def test_the_bar_is_off_where_it_would_fill_a_file(progress, shown, capsys):
    fit(KEY, PLANE, X3, num_epochs=2, progress=progress)
    assert ("2/2" in capsys.readouterr().err) == shown


@both_likelihoods
def test_reconstruct_decodes_the_mean(likelihood):
    z = vae.encode(PLANE, X3).mean
    expected = decoder.decode(PLANE.decoder, z)
    if likelihood == "bernoulli":
        expected = 1 / (1 + np.exp(-expected))
    found = vae.reconstruct(PLANE, X3, likelihood=likelihood)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@both_likelihoods
def test_samples_scatter_around_what_their_latents_decode_to(likelihood):
    options = {"likelihood": likelihood}
    x, z = vae.sample(KEY, PLANE, 20_000, sigma_x=0.3, **options)
    centres = vae.decode(PLANE, z, **options)
    variance = 0.3**2 if likelihood == "gaussian" else centres * (1 - centres)
    scores = np.asarray((x - centres) / jnp.sqrt(variance))
    assert np.abs(scores.mean(axis=0)).max() * np.sqrt(20_000) < 4
    np.testing.assert_allclose((scores**2).mean(axis=0), 1, atol=0.05)
    assert stats.kstest(np.ravel(z), "norm").pvalue > 0.001
    if likelihood == "bernoulli":
        assert set(np.unique(x)) == {0, 1}


def test_the_grid_is_laid_out_as_its_picture():
    x, z = vae.latent_grid(PLANE, num_per_axis=5, mass=0.9)
    assert x.shape == (5, 5, 3)
    line = stats.norm.ppf([0.05, 0.275, 0.5, 0.725, 0.95])
    np.testing.assert_allclose(z[2, :, 0], line, atol=1e-12)
    np.testing.assert_allclose(z[:, 2, 1], line[::-1], atol=1e-12)
    np.testing.assert_allclose(x[1, 3], vae.decode(PLANE, z[1, 3][None])[0])


def other(**networks):
    return PLANE._replace(**networks)


@pytest.mark.parametrize(
    ("argument", "came", "call"),
    [
        ("sizes", "[3]", lambda: vae.init(KEY, (3,))),
        ("sizes", "got 0", lambda: vae.init(KEY, (3, 0))),
        ("key", "got int", lambda: vae.init(0, (3, 2))),
        ("key", "got int", lambda: vae.elbo_terms(0, PLANE, X3)),
        ("key", "got int", lambda: fit(0, PLANE, X3, num_epochs=1)),
        ("key", "got int", lambda: vae.sample(0, PLANE, 1, likelihood="bernoulli")),
        (
            "params.encoder",
            "got 3 inputs and 2 outputs",
            lambda: vae.encode(other(encoder=decoder.init(KEY, (3, 2))), X3),
        ),
        (
            "params.decoder.weights[0]",
            "got nan",
            lambda: vae.decode(
                jax.tree.map(lambda leaf: leaf * jnp.nan, PLANE)._replace(
                    encoder=PLANE.encoder
                ),
                X3[:, :2],
            ),
        ),
        ("z", "got shape (20, 3)", lambda: vae.decode(PLANE, X3)),
        ("z", "got shape (19, 2)", lambda: vae.log_likelihood(PLANE, X3, X3[1:, :2])),
        ("x", "got shape (20, 2)", lambda: vae.elbo_terms(KEY, PLANE, X3[:, :2])),
        ("x", "got nan", lambda: vae.elbo_terms(KEY, PLANE, X3.at[0].set(jnp.nan))),
        ("x", "got shape (20, 2)", lambda: vae.reconstruct(PLANE, X3[:, :2])),
        ("sigma_x", "got 0.0", lambda: vae.elbo_terms(KEY, PLANE, X3, sigma_x=0.0)),
        ("num_samples", "got 0", lambda: vae.elbo_terms(KEY, PLANE, X3, num_samples=0)),
        ("num_samples", "got 0", lambda: vae.sample(KEY, PLANE, 0)),
        (
            "likelihood",
            "'normal'",
            lambda: vae.elbo_terms(KEY, PLANE, X3, likelihood="normal"),
        ),
        (
            "likelihood",
            "'normal'",
            lambda: vae.sample(KEY, PLANE, 1, likelihood="normal"),
        ),
        ("likelihood", "'normal'", lambda: vae.decode(PLANE, X3, likelihood="normal")),
        (
            "x",
            "got -",
            lambda: vae.elbo_terms(KEY, PLANE, X3, likelihood="bernoulli"),
        ),
        (
            "x",
            "got 2.0",
            lambda: vae.elbo_terms(KEY, PLANE, 2 * BINARY, likelihood="bernoulli"),
        ),
        ("params", "3 dimensions", lambda: vae.latent_grid(vae.init(KEY, (4, 3)))),
        ("num_per_axis", "got 1", lambda: vae.latent_grid(PLANE, num_per_axis=1)),
        ("mass", "got 1.0", lambda: vae.latent_grid(PLANE, mass=1.0)),
        ("mass", "got 0.0", lambda: vae.latent_grid(PLANE, mass=0.0)),
    ],
)
def test_bad_arguments_are_refused(argument, came, call, refused):
    with refused(argument, came, "expected"):
        call()


@pytest.mark.parametrize(
    ("argument", "came", "options"),
    [
        ("num_epochs", "got 0", {"num_epochs": 0}),
        ("batch_size", "got 21", {"batch_size": 21}),
        ("num_samples", "got 0", {"num_samples": 0}),
        ("beta", "got -1.0", {"beta": -1.0}),
        ("sigma_x", "got 0.0", {"sigma_x": 0.0}),
        ("optimizer", "got float", {"optimizer": 1e-3}),
        ("held_out", "got shape (20, 2)", {"held_out": X3[:, :2]}),
        ("likelihood", "'normal'", {"likelihood": "normal"}),
    ],
)
def test_bad_options_of_fit_are_refused(argument, came, options, refused):
    with refused(argument, came, "expected"):
        fit(KEY, PLANE, X3, **{"num_epochs": 1} | options)
