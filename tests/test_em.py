"""EM, against scikit-learn, its own two steps, autodiff and the climb it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from sklearn.mixture import GaussianMixture

from helpers import bounds, data, em, mixture
from helpers._fast import climb as _climb
from helpers._fast import sufficient
from helpers.mixture import Mixture

# a climb that ends early has NaN in the rest of its history
pytestmark = pytest.mark.usefixtures("nan_is_meant")
KINDS = ["spherical", "full"]
both_kinds = pytest.mark.parametrize("kind", KINDS)


def geyser():
    x = jnp.array(data.old_faithful())
    return (x - x.mean(axis=0)[None, :]) / x.std(axis=0)[None, :]


X = geyser()
SPHERICAL = Mixture(
    jnp.array([0.5, 0.3, 0.2]),
    jnp.array([[-1.0, -1.0], [1.0, 0.5], [0.2, 0.9]]),
    jnp.array([0.5, 1.0, 0.3]),
)
FULL = SPHERICAL._replace(
    covariances=SPHERICAL.covariances[:, None, None] * jnp.eye(2)[None]
)
START = {"spherical": SPHERICAL, "full": FULL}


def loop(params, x, kind, num_steps):
    """Parameters and log-likelihoods of the two teaching functions in turn."""
    path = [params]
    for _ in range(num_steps):
        path.append(em.m_step(em.e_step(path[-1], x), x, covariance_type=kind))
    return path, jnp.stack([mixture.log_likelihood(params, x) for params in path])


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def bound(params, q, x):
    """The sum over points of S17."""
    return bounds.elbo(mixture.log_joint(params, x), q).sum()


def random_start(key, x, k, kind):
    mean_key, weight_key, scale_key = jax.random.split(key, 3)
    n, d = x.shape
    means = x[jax.random.choice(mean_key, n, (k,), replace=False)]
    covariances = x.var() * jnp.exp(0.5 * jax.random.normal(scale_key, (k,)))
    if kind == "full":
        covariances = covariances[:, None, None] * jnp.eye(d, dtype=x.dtype)[None]
    weights = jax.random.dirichlet(weight_key, jnp.ones(k, x.dtype))
    start = Mixture(weights, means, covariances)
    return jax.tree.map(lambda leaf: leaf.astype(x.dtype), start)


# the two steps, as the slide reads


@both_kinds
def test_e_step_is_the_posterior(kind):
    expected = mixture.responsibilities(START[kind], X)
    np.testing.assert_allclose(em.e_step(START[kind], X), expected, rtol=1e-14)


@both_kinds
def test_e_step_makes_the_bound_tight(kind):
    q = em.e_step(START[kind], X)
    np.testing.assert_allclose(
        bound(START[kind], q, X), mixture.log_likelihood(START[kind], X), rtol=1e-13
    )


@both_kinds
def test_m_step_is_where_the_gradient_of_the_bound_vanishes(kind):
    q = em.e_step(START[kind], X)
    best = em.m_step(q, X, covariance_type=kind)
    gradient = jax.grad(bound)(best, q, X)
    # on the simplex a maximum has equal derivatives in all weights
    np.testing.assert_allclose(gradient.weights, len(X), rtol=1e-12)
    np.testing.assert_allclose(gradient.means, 0, atol=1e-9)
    np.testing.assert_allclose(gradient.covariances, 0, atol=1e-9)


@both_kinds
def test_no_other_parameters_raise_the_bound_more_than_the_m_step(kind):
    q = em.e_step(START[kind], X)
    best = em.m_step(q, X, covariance_type=kind)
    free, as_tree = ravel_pytree(_climb.unconstrained(best))
    others = free[None] + 0.1 * jax.random.normal(jax.random.key(0), (200, len(free)))
    values = jax.jit(
        jax.vmap(lambda free: bound(_climb.constrained(as_tree(free)), q, X))
    )(others)
    assert (values < bound(best, q, X)).all()


@pytest.fixture(params=KINDS)
def proof(request):
    """q(t), q(t+1), theta(t), theta(t+1) and l, on the way up."""
    path, log_likelihoods = loop(START[request.param], X, request.param, 2)
    return em.e_step(path[0], X), em.e_step(path[1], X), path[1:], log_likelihoods[1:]


def test_the_proof_as_printed_fails_in_its_last_two_relations(proof):
    old_q, _, (theta, after), (log_likelihood, _) = proof
    assert bound(after, old_q, X) < bound(theta, old_q, X) - 1e-3
    assert bound(theta, old_q, X) < log_likelihood - 1e-3


def test_the_proof_mended_holds(proof):
    _, q, (theta, after), (log_likelihood, higher) = proof
    assert higher >= bound(after, q, X) >= bound(theta, q, X)
    np.testing.assert_allclose(bound(theta, q, X), log_likelihood, rtol=1e-13)


# fit is the loop


@both_kinds
def test_fit_is_the_loop_at_every_step(kind):
    path, log_likelihoods = loop(START[kind], X, kind, 20)
    result = em.fit(START[kind], X, num_steps=20, tol=0.0)
    np.testing.assert_allclose(result.log_likelihoods, log_likelihoods, rtol=1e-10)
    assert_close(result.params, path[-1], rtol=1e-10, atol=1e-12)


@both_kinds
@pytest.mark.parametrize("d", [1, 3, 6])
def test_fit_is_the_loop_in_any_dimension(kind, d):
    x = jax.random.normal(jax.random.key(d), (150, d)) + jnp.arange(150)[:, None] % 3
    start = random_start(jax.random.key(1), x, 2, kind)
    path, log_likelihoods = loop(start, x, kind, 5)
    result = em.fit(start, x, num_steps=5, tol=0.0)
    np.testing.assert_allclose(result.log_likelihoods, log_likelihoods, rtol=1e-10)
    assert_close(result.params, path[-1], rtol=1e-9, atol=1e-10)


@both_kinds
@pytest.mark.parametrize("n", [15, 16, 17, 33])
def test_chunks_do_not_change_the_climb(kind, n):
    one = em.fit(START[kind], X[:n], num_steps=3, tol=0.0, chunk_size=n)
    many = em.fit(START[kind], X[:n], num_steps=3, tol=0.0, chunk_size=16)
    assert_close(many, one, rtol=1e-11, atol=1e-12)


@both_kinds
@pytest.mark.parametrize("n", [16, 17, 271])
def test_points_too_many_to_copy_make_the_same_climb(kind, n, monkeypatch):
    # far from 0, so that a wrong centre takes the digits
    x, start = X[:n] + 1e3, START[kind]._replace(means=SPHERICAL.means + 1e3)
    copied = em.fit(start, x, num_steps=3, tol=0.0)
    monkeypatch.setattr(sufficient, "AT_ONCE", 0)
    cut_anew = em.fit(start, x, num_steps=3, tol=0.0, chunk_size=16)
    assert_close(cut_anew, copied, rtol=1e-11, atol=1e-9)


@both_kinds
def test_many_points_take_hardly_any_memory_beyond_themselves(kind):
    def temporary(n):
        x = jax.ShapeDtypeStruct((n, 2), jnp.float32)
        start = jax.tree.map(jnp.float32, START[kind])
        options = None, False, 2, None, None
        program = _climb._climb.lower(start, x, 0.0, 0.0, *options).compile()
        return program.memory_analysis().temp_size_in_bytes

    # of 10^6 points a copy is held; of 10^8 one would be of 1200 MB
    assert temporary(10**8) < 2**19 < 2**23 < temporary(10**6)


@both_kinds
def test_fit_is_scikit_learns_from_the_same_start(kind):
    start = START[kind]
    precisions = (
        1 / start.covariances if kind == "spherical" else np.linalg.inv(FULL[2])
    )
    peer = GaussianMixture(
        3,
        covariance_type=kind,
        reg_covar=0,
        tol=1e-13,
        max_iter=5000,
        weights_init=np.array(start.weights),
        means_init=np.array(start.means),
        precisions_init=np.array(precisions),
    ).fit(np.array(X))
    result = em.fit(start, X, num_steps=5000, tol=1e-13)
    expected = peer.score(np.array(X)) * len(X)
    reached = result.log_likelihoods[result.num_steps]
    np.testing.assert_allclose(reached, expected, rtol=1e-8)


@both_kinds
def test_vmap_over_starts_is_a_loop(kind):
    keys = jax.random.split(jax.random.key(3), 4)
    starts = jax.vmap(lambda key: random_start(key, X, 3, kind))(keys)
    together = jax.vmap(lambda start: em.fit(start, X, num_steps=50))(starts)
    for i in range(4):
        start, one = jax.tree.map(lambda leaf, i=i: leaf[i], (starts, together))
        assert_close(one, em.fit(start, X, num_steps=50), rtol=1e-8, atol=1e-10)


# monotone


@both_kinds
@pytest.mark.parametrize("d", [1, 2, 5, 16])
def test_no_step_of_em_goes_down(kind, d):
    def climb(key):
        centre_key, which_key, noise_key, start_key = jax.random.split(key, 4)
        centres = 2 * jax.random.normal(centre_key, (3, d))
        which = jax.random.randint(which_key, (120,), 0, 3)
        x = centres[which] + jax.random.normal(noise_key, (120, d))
        return em.fit(random_start(start_key, x, 3, kind), x, num_steps=60, tol=0.0)

    # 25 data sets for each of 8 cases: 200
    keys = jax.random.split(jax.random.key(d), 25)
    climbs = jax.vmap(climb)(keys).log_likelihoods
    steps, sizes = jnp.diff(climbs, axis=1), jnp.abs(climbs[:, 1:])
    # nan where a collapse has ended a climb: most go on
    assert jnp.isfinite(steps).mean() > 0.8
    assert jnp.nanmin(steps / sizes) >= -1e-11


@both_kinds
def test_float32_goes_down_by_rounding_alone(kind):
    def climb(key):
        return em.fit(random_start(key, x, 3, kind), x, num_steps=200, tol=0.0)

    x = X.astype(jnp.float32)
    climbs = jax.vmap(climb)(jax.random.split(jax.random.key(0), 20)).log_likelihoods
    falls = jnp.nan_to_num(-jnp.diff(climbs, axis=1) / jnp.abs(climbs[:, 1:]))
    # terms of the size mean^2 / variance cancel in each log density
    assert 1e-8 < falls.max() < 5e-6


def test_a_floor_keeps_the_climb_monotone():
    climbs = em.fit(FULL, X, num_steps=200, tol=0.0, variance_floor=0.1)
    steps = jnp.diff(climbs.log_likelihoods)
    assert (steps >= -1e-11 * jnp.abs(climbs.log_likelihoods[1:])).all()
    assert jnp.linalg.eigvalsh(climbs.params.covariances).min() >= 0.1 - 1e-12


# what ends a climb, and what it reports


def test_converged_says_whether_the_last_step_gained_less_than_tol():
    short = em.fit(SPHERICAL, X, num_steps=2, tol=1e-9)
    long = em.fit(SPHERICAL, X, num_steps=2000, tol=1e-9)
    gains = jnp.diff(long.log_likelihoods)[: long.num_steps]
    assert not short.converged
    assert short.num_steps == 2
    assert long.converged
    assert gains[-1] < 1e-9 * len(X) <= gains[:-1].min()
    assert jnp.isnan(long.log_likelihoods[long.num_steps + 1 :]).all()


@both_kinds
def test_a_sound_climb_has_no_faults(kind):
    assert em.faults(em.fit(START[kind], X)) == []


@both_kinds
def test_a_weight_of_zero_stays_zero_and_is_reported(kind):
    start = START[kind]._replace(weights=jnp.array([0.6, 0.4, 0.0]))
    result = em.fit(start, X, num_steps=20, tol=0.0)
    others = em.fit(
        jax.tree.map(lambda leaf: leaf[:2], start), X, num_steps=20, tol=0.0
    )
    assert result.params.weights[2] == 0
    np.testing.assert_allclose(result.params.means[2], start.means[2], rtol=1e-14)
    assert result.lost.tolist() == [False, False, True]
    np.testing.assert_allclose(
        result.log_likelihoods, others.log_likelihoods, rtol=1e-12
    )


@both_kinds
def test_equal_components_stay_equal_and_are_reported(kind):
    equal = jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 1])], START[kind])
    start = equal._replace(weights=jnp.array([0.4, 0.3, 0.3]))
    result = em.fit(start, X, num_steps=500)
    assert result.equal.tolist() == [False, True, True]
    assert "component 2 equals another" in em.faults(result)[-1]


@both_kinds
def test_a_component_that_falls_onto_one_point_is_reported(kind):
    start = START[kind]._replace(
        means=START[kind].means.at[1].set(X[0]),
        covariances=START[kind].covariances.at[1].multiply(1e-6),
    )
    result = em.fit(start, X)
    assert result.collapsed.tolist() == [False, True, False]
    assert not result.converged
    assert "component 1 has collapsed" in em.faults(result)[0]
    assert all(jnp.isfinite(leaf).all() for leaf in result.params)


@both_kinds
def test_a_floor_lets_the_climb_go_on_and_is_reported(kind):
    start = START[kind]._replace(
        means=START[kind].means.at[1].set(X[0]),
        covariances=START[kind].covariances.at[1].multiply(1e-6),
    )
    result = em.fit(start, X, variance_floor=1e-6, num_steps=1000)
    assert result.converged
    assert result.collapsed.tolist() == [False, True, False]


@both_kinds
@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_one_point_and_one_component(kind, floor):
    x = jnp.array([[3.0, 4.0]])
    start = jax.tree.map(lambda leaf: leaf[:1], START[kind])
    start = start._replace(weights=jnp.ones(1))
    result = em.fit(start, x, variance_floor=floor)
    assert result.collapsed.tolist() == [True]
    if floor:
        assert result.params.means.tolist() == [[3.0, 4.0]]
        variances = np.diagonal(np.atleast_2d(result.params.covariances[0]))
        np.testing.assert_allclose(variances, floor)
    else:
        assert_close(result.params, start, rtol=1e-14)


# float32


@both_kinds
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_an_offset_does_not_cost_float32_its_digits(kind, offset):
    # what rounding the data themselves loses is not the climb's fault
    x = (X + offset).astype(jnp.float32)
    start = START[kind]._replace(means=START[kind].means + offset)
    start = start._replace(weights=jnp.array([0.5, 0.25, 0.25]))
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start)
    high = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), low)
    result = em.fit(low, x, num_steps=10, tol=0.0)
    exact = em.fit(high, x.astype(jnp.float64), num_steps=10, tol=0.0)
    assert result.params.covariances.dtype == jnp.float32
    np.testing.assert_allclose(
        result.params.covariances, exact.params.covariances, rtol=2e-5, atol=1e-6
    )
    np.testing.assert_allclose(result.log_likelihoods, exact.log_likelihoods, rtol=2e-6)


# gradient ascent


@both_kinds
def test_gradient_ascent_reaches_the_maximum_of_em(kind):
    start = jax.tree.map(lambda leaf: leaf[:2], START[kind])
    start = start._replace(weights=jnp.array([0.6, 0.4]))
    top = em.fit(start, X, num_steps=3000, tol=1e-12)
    climb = em.gradient_ascent(start, X, optimizer=optax.adam(0.02), num_steps=1500)
    np.testing.assert_allclose(
        climb.log_likelihoods[-1], top.log_likelihoods[top.num_steps], rtol=1e-9
    )


@both_kinds
def test_gradient_ascent_takes_the_step_that_autodiff_finds(kind):
    def mean_log_likelihood(free):
        return mixture.log_likelihood(_climb.constrained(free), X) / len(X)

    free = _climb.unconstrained(START[kind])
    gradient = jax.grad(mean_log_likelihood)(free)
    expected = _climb.constrained(
        jax.tree.map(lambda u, g: u + 0.1 * g, free, gradient)
    )
    climb = em.gradient_ascent(
        START[kind], X, optimizer=optax.sgd(0.1), num_steps=1, chunk_size=100
    )
    assert_close(climb.params, expected, rtol=1e-10, atol=1e-13)


def test_gradient_ascent_leaves_a_weight_of_zero_at_zero():
    start = SPHERICAL._replace(weights=jnp.array([0.6, 0.4, 0.0]))
    climb = em.gradient_ascent(start, X, optimizer=optax.adam(0.1), num_steps=5)
    assert climb.params.weights[2] == 0
    assert jnp.isfinite(climb.log_likelihoods).all()


def test_a_step_too_large_falls():
    climb = em.gradient_ascent(SPHERICAL, X, optimizer=optax.sgd(20.0), num_steps=20)
    assert jnp.nanmin(jnp.diff(climb.log_likelihoods)) < -10
    assert all(jnp.isfinite(leaf).all() for leaf in climb.params)


# the rate


def blobs(distance):
    x = jax.random.normal(jax.random.key(5), (400, 2))
    x = x + jnp.where(jnp.arange(400) < 200, distance, 0)[:, None]
    means = jnp.array([[0.0, 0.0], [distance, distance]])
    return x, Mixture(jnp.array([0.5, 0.5]), means, jnp.ones(2))


@pytest.fixture(params=[1.5, 3.0])
def settled(request):
    x, start = blobs(request.param)
    return em.fit(start, x, num_steps=5000, tol=1e-15), start, x


def test_the_rate_is_that_of_the_climb(settled):
    result, start, x = settled
    final = ravel_pytree(em.fit(result.params, x, num_steps=3000, tol=0.0).params)[0]
    # late enough to be linear, early enough not to be rounding
    num_steps = jnp.argmax(
        result.log_likelihoods > jnp.nanmax(result.log_likelihoods) - 1e-6
    )
    params = em.fit(start, x, num_steps=int(num_steps), tol=0.0).params
    errors = []
    for _ in range(4):
        errors.append(jnp.linalg.norm(ravel_pytree(params)[0] - final))
        params = em.m_step(em.e_step(params, x), x)
    measured = (errors[3] / errors[0]) ** (1 / 3)
    np.testing.assert_allclose(
        em.convergence_rate(result.params, x), measured, rtol=0.02
    )


def test_the_rate_is_that_of_plain_parameters(settled):
    result, _, x = settled
    # the last weight is what the others leave: no symmetry of the simplex
    flat, as_tree = ravel_pytree(result.params._replace(weights=jnp.ones(1)))
    flat = flat.at[0].set(result.params.weights[0])

    def em_map(flat):
        params = as_tree(flat)
        weights = jnp.stack([flat[0], 1 - flat[0]])
        new = em.m_step(em.e_step(params._replace(weights=weights), x), x)
        return ravel_pytree(new._replace(weights=new.weights[:1]))[0]

    eigenvalues = np.linalg.eigvals(jax.jacfwd(em_map)(flat))
    np.testing.assert_allclose(
        em.convergence_rate(result.params, x), abs(eigenvalues).max(), rtol=1e-6
    )


def test_the_rate_ignores_units_and_origin():
    x, start = blobs(3.0)
    params = em.fit(start, x, num_steps=3000, tol=1e-15).params
    moved = Mixture(params.weights, 1e3 * params.means + 1e5, 1e6 * params.covariances)
    np.testing.assert_allclose(
        em.convergence_rate(moved, 1e3 * x + 1e5),
        em.convergence_rate(params, x),
        rtol=1e-6,
    )


def test_overlap_slows_em():
    rates = []
    for distance in (4.0, 3.0, 2.0):
        x, start = blobs(distance)
        params = em.fit(start, x, num_steps=5000, tol=1e-14).params
        rates.append(em.convergence_rate(params, x))
    assert 0 < rates[0] < rates[1] < rates[2] < 1


# bad input

FEW = np.array([[0.0, 0.0], [1.0, 1.0]] * 5)


@pytest.mark.parametrize(
    ("change", "argument", "came", "expected"),
    [
        ({"x": np.ones(5)}, "x", "shape (5,)", "(n, d)"),
        ({"x": np.ones((5, 3))}, "x", "shape (5, 3)", "d = 2"),
        ({"x": [[0.0, np.nan]]}, "x", "nan at index (0, 1)", "finite"),
        ({"x": FEW}, "x", "2 distinct points", "num_components = 3"),
        (
            {"params": SPHERICAL._replace(weights=np.array([0.5, 0.6, 0.2]))},
            "params.weights",
            "1.3",
            "a sum of 1",
        ),
        (
            {"params": SPHERICAL._replace(covariances=np.zeros(3))},
            "params.covariances",
            "0.0",
            "above 0",
        ),
        ({"num_steps": 0}, "num_steps", "0", "at least 1"),
        ({"num_steps": 2.5}, "num_steps", "2.5", "whole number"),
        ({"tol": -1.0}, "tol", "-1.0", "at least 0"),
        ({"tol": np.nan}, "tol", "nan", "finite"),
        ({"chunk_size": 0}, "chunk_size", "0", "at least 1"),
    ],
)
@pytest.mark.parametrize("name", ["fit", "gradient_ascent"])
def test_bad_input_is_refused(refused, name, change, argument, came, expected):
    given = {"params": SPHERICAL, "x": X, "num_steps": 3} | change
    if name == "gradient_ascent":
        given["optimizer"] = optax.sgd(0.1)
    with refused(argument, came, expected):
        getattr(em, name)(given.pop("params"), given.pop("x"), **given)


def test_a_negative_floor_is_refused(refused):
    with refused("variance_floor", "-1.0", "at least 0"):
        em.fit(SPHERICAL, X, variance_floor=-1.0)


def test_what_is_no_optimiser_is_refused(refused):
    with refused("optimizer", "float", "optax"):
        em.gradient_ascent(SPHERICAL, X, optimizer=0.1, num_steps=3)


@pytest.mark.parametrize(
    ("q", "argument", "came", "expected"),
    [
        (np.ones((272, 2)), "responsibilities", "in row 0", "a sum of 1"),
        (np.ones((3, 1)), "responsibilities", "shape (3, 1)", "n = 272"),
        (np.full((272, 2), [1, 0]), "responsibilities of a component", "0.0", "above"),
    ],
)
def test_bad_responsibilities_are_refused(refused, q, argument, came, expected):
    with refused(argument, came, expected):
        em.m_step(q, X)


def test_an_unknown_covariance_type_is_refused(refused):
    with refused("covariance_type", "'diag'", "'spherical' or 'full'"):
        em.m_step(np.ones((272, 1)), X, covariance_type="diag")


def test_a_rate_away_from_a_fixed_point_is_refused(refused):
    with refused("params", "a step of EM moves", "a fixed point"):
        em.convergence_rate(SPHERICAL, X)


def test_a_rate_with_a_weight_of_zero_is_refused(refused):
    with refused("params.weights", "0.0 at index (2,)", "above 0"):
        em.convergence_rate(SPHERICAL._replace(weights=jnp.array([0.6, 0.4, 0])), X)


def test_a_component_on_one_point_alone_has_no_rate(refused):
    x = jnp.array([[0.0], [10.0], [10.5], [11.0], [12.0]])
    means = jnp.array([[0.0], [10.875]])
    alone = Mixture(jnp.array([0.2, 0.8]), means, jnp.array([1e-6, 0.5]))
    with refused("params", "without a derivative", "M-step"):
        em.convergence_rate(alone, x)
