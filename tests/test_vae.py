"""The VAE, against quadrature, closed forms, SciPy and a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from helpers import bounds, decoder, gaussian, network, vae
from helpers.gaussian import Gaussian
from helpers.vae import VAE, ElboTerms

KEYS = jax.random.split(jax.random.key(0), 8)
KEY = KEYS[0]
# a 1-D latent, so that the truth is known: the horseshoe with any encoder for it
BENT = VAE(network.init(KEYS[1], (2, 5, 2)), decoder.bent_line())
PLANE = vae.init(KEYS[2], (3, 7, 2))
X, _ = decoder.sample(KEYS[3], BENT.decoder, 6, sigma_x=0.5)
X3 = jax.random.normal(KEYS[4], (20, 3))
# it compiles faster than Adam
MOMENTUM = optax.sgd(1e-2, momentum=0.9)
# a step size that becomes too large at the tenth step, in the third epoch of four steps
GROWING = optax.sgd(lambda step: jnp.where(step < 9, 1e-3, 1e9))


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


def test_a_step_is_algorithm_1_written_out():
    options = {"beta": 0.5, "sigma_x": 0.7, "num_samples": 2}
    opt_state = MOMENTUM.init(PLANE)
    # a second step, so that the optimiser's memory counts
    for key in KEYS[5], KEYS[6]:
        found = vae.step(key, PLANE, opt_state, X3, optimizer=MOMENTUM, **options)
        eps = jax.random.normal(key, (2, 20, 2))

        @jax.jit
        def terms(params, eps=eps):
            mean, log_sigma = jnp.split(network.apply(params.encoder, X3), 2, axis=1)
            z = mean[None] + jnp.exp(log_sigma)[None] * eps
            centres = jax.vmap(network.apply, (None, 0))(params.decoder, z)
            squares = ((X3[None] - centres) ** 2).sum(axis=2) / 0.7**2
            constant = 3 * jnp.log(2 * jnp.pi * 0.7**2)
            kl = jnp.exp(2 * log_sigma) + mean**2 - 1 - 2 * log_sigma
            return -0.5 * (constant + squares).mean(), 0.5 * kl.sum(axis=1).mean()

        slope = jax.grad(lambda params: 0.5 * terms(params)[1] - terms(params)[0])
        updates, opt_state = MOMENTUM.update(slope(PLANE), opt_state, PLANE)
        expected = jax.tree.map(np.add, PLANE, updates)
        assert_same(found.params, expected, rtol=1e-9, atol=1e-12)
        assert_same(found.opt_state, opt_state, rtol=1e-9, atol=1e-12)
        assert_same(found.terms, terms(PLANE), rtol=1e-10)


def test_fit_is_the_step_many_times():
    options = {"beta": 0.5, "sigma_x": 0.7, "num_samples": 2}
    held_out = X3[:4]
    result = fit(
        KEY, PLANE, X3, num_epochs=3, batch_size=6, held_out=held_out, **options
    )
    probe_key, key = jax.random.split(KEY)
    params, opt_state = PLANE, MOMENTUM.init(PLANE)
    epochs = []
    for t in range(3):
        order_key, noise_key = jax.random.split(jax.random.fold_in(key, t))
        rows = vae.minibatches(order_key, 20, 6)
        seen = []
        for step_key, batch in zip(jax.random.split(noise_key, 3), X3[rows]):  # noqa: B905
            params, opt_state, terms = vae.step(
                step_key, params, opt_state, batch, optimizer=MOMENTUM, **options
            )
            seen.append(terms)
        probe = vae.elbo_terms(probe_key, params, held_out, sigma_x=0.7, num_samples=2)
        epochs.append([*np.mean(seen, axis=0), *np.mean(probe, axis=1)])
    assert_same(result.params, params, rtol=1e-9, atol=1e-12)
    assert_same(result.history, list(np.transpose(epochs)), rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (20, 6), (1197, 128), (70000, 7)]
)
def test_an_epoch_takes_each_point_once_in_a_random_order(n, batch_size):
    rows = np.asarray(vae.minibatches(KEY, n, batch_size))
    assert rows.shape == (n // batch_size, batch_size)
    order = rows.ravel()
    assert len(np.unique(order)) == len(order)
    assert 0 <= order.min() <= order.max() < n
    if n > 1000:
        # correlations of a random order with the first one, and of neighbours
        for first, second in (order, np.arange(len(order))), (order[1:], order[:-1]):
            assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(order))


def test_every_order_is_as_likely():
    keys = jax.random.split(KEY, 24_000)
    orders = jax.vmap(lambda key: vae.minibatches(key, 4, 4)[0])(keys)
    _, counts = np.unique(np.asarray(orders), axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_training_raises_the_bound():
    values = bound(fit(KEY, PLANE, X3, num_epochs=60).history.training)
    assert values[:5].mean() + 0.2 < values[-5:].mean()


def test_the_same_key_gives_the_same_numbers():
    first, second = (fit(KEY, PLANE, X3, num_epochs=2) for _ in range(2))
    assert_same(first, second, rtol=0)
    other = fit(KEYS[1], PLANE, X3, num_epochs=2)
    assert (other.history.training.kl != first.history.training.kl).all()


def test_a_longer_fit_begins_as_a_shorter_one():
    short, long = (fit(KEY, PLANE, X3, num_epochs=n).history for n in (2, 4))
    assert_same(short, jax.tree.map(lambda leaf: leaf[:2], long), rtol=0)


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


def score_function_terms(params, x, eps, sigma_x):
    """The same values, and the encoder's gradient by the score function."""
    q = vae.encode(params, x)
    z = jax.lax.stop_gradient(q.mean + jnp.sqrt(q.variance) * eps[0])
    log_q = jax.vmap(gaussian.log_prob)(q, z[:, None, :])[:, 0]
    given_z = vae.log_likelihood(params, x, z, sigma_x=sigma_x)
    # worth 0, with f grad log q as its slope
    score = jax.lax.stop_gradient(given_z) * (log_q - jax.lax.stop_gradient(log_q))
    return ElboTerms(given_z + score, jax.vmap(gaussian.kl_to_standard_normal)(q))


class Button:
    """Interrupts as the notebook's button does: once, while an epoch is run."""

    def __init__(self, monkeypatch, after):
        self.calls, self.after = 0, after
        self.device_get = jax.device_get
        monkeypatch.setattr(jax, "device_get", self.press)

    def press(self, tree):
        self.calls += 1
        if self.calls == self.after + 1:
            raise KeyboardInterrupt
        return self.device_get(tree)


def test_the_interrupt_says_so_and_keeps_what_was_learned(monkeypatch):
    full = fit(KEY, PLANE, X3, num_epochs=3)
    Button(monkeypatch, after=3)
    with pytest.raises(vae.Interrupted, match="after 3 of 50 epochs"):
        fit(KEY, PLANE, X3, num_epochs=50)
    assert_same(vae.last_result(), full, rtol=0)


def test_the_interrupt_ends_a_loop_over_fits(monkeypatch):
    Button(monkeypatch, after=3)
    ended = []

    def loop():
        for _ in range(5):
            ended.append(fit(KEY, PLANE, X3, num_epochs=2))

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert len(ended) == 1
    assert len(vae.last_result().history.training.kl) == 1


def test_an_interrupt_at_once_keeps_the_start(monkeypatch):
    Button(monkeypatch, after=0)
    with pytest.raises(vae.Interrupted, match="after 0 of 50 epochs"):
        fit(KEY, PLANE, X3, num_epochs=50, held_out=X3)
    kept = vae.last_result()
    assert_same(kept.params, PLANE, rtol=0)
    assert {leaf.shape for leaf in jax.tree.leaves(kept.history)} == {(0,)}


def test_nothing_is_kept_before_anything_was_interrupted(monkeypatch):
    monkeypatch.setattr(vae, "_kept", [])
    assert vae.last_result() is None


@pytest.mark.bad_input
@pytest.mark.usefixtures("nan_is_meant")
def test_nan_stops_training_and_the_last_good_state_is_kept():
    with pytest.raises(vae.Diverged, match=r"epoch 3 of 50: .*step size"):
        fit(KEY, PLANE, X3, num_epochs=50, optimizer=GROWING)
    good = fit(KEY, PLANE, X3, num_epochs=2, optimizer=GROWING)
    assert_same(vae.last_result(), good, rtol=0)
    assert len(good.history.training.kl) == 2


@pytest.mark.bad_input
@pytest.mark.usefixtures("nan_is_meant")
def test_an_epoch_that_ends_badly_is_not_taken():
    # the last step of the epoch is the bad one: no batch sees what it made
    optimizer = optax.sgd(lambda step: jnp.where(step == 7, jnp.nan, 1e-3))
    with pytest.raises(vae.Diverged, match="epoch 2 of 2"):
        fit(KEY, PLANE, X3, num_epochs=2, optimizer=optimizer)
    params, history = vae.last_result()
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


def test_reconstruct_decodes_the_mean():
    z = vae.encode(PLANE, X3).mean
    expected = network.apply(PLANE.decoder, z)
    np.testing.assert_allclose(vae.reconstruct(PLANE, X3), expected, rtol=1e-12)


def test_samples_scatter_around_what_their_latents_decode_to():
    x, z = vae.sample(KEY, PLANE, 20_000, sigma_x=0.3)
    scores = np.asarray((x - vae.decode(PLANE, z)) / 0.3)
    assert np.abs(scores.mean(axis=0)).max() * np.sqrt(20_000) < 4
    np.testing.assert_allclose((scores**2).mean(axis=0), 1, atol=0.05)
    assert stats.kstest(np.ravel(z), "norm").pvalue > 0.001


def other(**networks):
    return PLANE._replace(**networks)


@pytest.mark.parametrize(
    ("argument", "came", "call"),
    [
        ("sizes", "64", lambda: vae.init(KEY, 64)),
        ("sizes", "(3,)", lambda: vae.init(KEY, (3,))),
        ("sizes", "got 0", lambda: vae.init(KEY, (3, 0))),
        ("key", "got int", lambda: vae.init(0, (3, 2))),
        ("key", "got int", lambda: vae.elbo_terms(0, PLANE, X3)),
        ("key", "got int", lambda: fit(0, PLANE, X3, num_epochs=1)),
        ("key", "got int", lambda: vae.sample(0, PLANE, 1)),
        ("key", "got VAE", lambda: fit(PLANE, KEY, X3, num_epochs=1)),
        ("params", "got tuple", lambda: vae.encode(tuple(PLANE), X3)),
        ("params", "got ArrayImpl", lambda: vae.encode(X3, PLANE)),
        ("params.encoder", "got tuple", lambda: vae.encode(VAE((), ()), X3)),
        (
            "params.encoder",
            "got 3 inputs and 2 outputs",
            lambda: vae.encode(other(encoder=network.init(KEY, (3, 2))), X3),
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
        ("optimizer", "more than a gradient", {"optimizer": optax.lbfgs()}),
        ("terms", "got str", {"terms": "pathwise"}),
        ("progress", "got 'yes'", {"progress": "yes"}),
    ],
)
def test_bad_options_of_fit_are_refused(argument, came, options, refused):
    with refused(argument, came, "expected"):
        fit(KEY, PLANE, X3, **{"num_epochs": 1} | options)


@pytest.mark.parametrize("opt_state", [None, (), optax.adam(1e-2).init(PLANE)])
def test_the_memory_of_another_optimiser_is_refused(refused, opt_state):
    with refused("opt_state", type(opt_state).__name__, "optimizer.init(params)"):
        vae.step(KEY, PLANE, opt_state, X3, optimizer=MOMENTUM)


def test_minibatches_larger_than_the_data_are_refused(refused):
    with refused("batch_size", "21", "1 to 20"):
        vae.minibatches(KEY, 20, 21)
