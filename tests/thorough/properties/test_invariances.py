"""What turning, stretching, shifting and renaming do, at any scale and in any dtype."""

import operator

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from problems import (
    KINDS,
    LOG_DENSITIES,
    D,
    K,
    Motion,
    N,
    assert_close,
    both_kinds,
    digits_of,
    free_numbers,
    isotropic,
    motions,
    numbers,
    problem,
    seeds,
)

from helpers import bounds, em, gaussian, mixture

right_angles = motions().filter(
    lambda m: abs(m.rotation[0, 0] * m.rotation[0, 1]) < 0.1
)


@pytest.mark.parametrize("name", LOG_DENSITIES)
@given(seed=seeds, motion=st.data())
def test_a_density_moves_with_its_space(name, seed, motion):
    motion = motion.draw(right_angles if name == "diagonal" else motions())
    params_of, log_density = LOG_DENSITIES[name]
    p = numbers(seed)
    still = Motion(np.eye(D), 1.0, np.zeros(D), "float64")
    plain, there = (
        log_density(m.cast(p), m.of(params_of(p)), m.of_points(p.x), m.cast(m.scale))
        for m in (still, motion)
    )
    # the Jacobian of the map: a volume grows by scale^D
    expected = np.asarray(plain) - D * np.log(motion.scale)
    assert_close(there, expected, digits_of(motion.dtype))


def init(kind):
    return lambda p, x: mixture.init_from_data(
        jax.random.key(0), x, K, covariance_type=kind
    )


def after_two_steps(p, x, m):
    result = em.fit(m, x, num_steps=2, tol=0.0)
    # A component that collapses onto a few points is stopped where rounding begins,
    # which is not the same place in other units.
    assume(not result.collapsed.any())
    return result.params


# What is fitted to points, from whatever start.
FITS = {
    "fit_mle": (lambda p: isotropic(p), lambda p, x, m: gaussian.fit_mle(x)),
    "fit_mle of each": (
        lambda p: p.normal,
        lambda p, x, m: gaussian.fit_mle(x, isotropic=False),
    ),
}
for kind in KINDS:
    start = operator.attrgetter(kind)
    FITS |= {
        f"init_from_data {kind}": (start, lambda p, x, m, kind=kind: init(kind)(p, x)),
        f"m_step {kind}": (
            start,
            lambda p, x, m, kind=kind: em.m_step(p.q, x, covariance_type=kind),
        ),
        f"fit {kind}": (start, after_two_steps),
    }


@pytest.mark.parametrize("name", FITS)
@given(seed=seeds, motion=st.data())
def test_what_is_fitted_moves_with_the_points(name, seed, motion):
    motion = motion.draw(right_angles if "each" in name else motions())
    p = numbers(seed)
    start, fitted = FITS[name]
    still = Motion(np.eye(D), 1.0, np.zeros(D), motion.dtype)
    plain, there = (
        fitted(m.cast(p), m.of_points(p.x), m.of(start(p))) for m in (still, motion)
    )
    expected = motion.of(jax.tree.map(np.asarray, plain))
    assert_close(there, expected, digits_of(motion.dtype))


@both_kinds
@given(seed=seeds, order=st.permutations(range(K)), points=st.permutations(range(N)))
def test_the_order_of_labels_and_points_does_not_matter(kind, seed, order, points):
    p, order, points = problem(free_numbers(seed)), np.array(order), np.array(points)
    params, cell = getattr(p, kind), np.ix_(points, order)
    other = jax.tree.map(operator.itemgetter(order), params)

    def everything(params, x, q):
        joint = mixture.log_joint(params, x)
        by_point = mixture.log_prob(params, x), bounds.elbo(joint, q)
        by_point += (
            bounds.gap(joint, q),
            bounds.decompositions(joint, q, params.weights),
        )
        exact = bounds.importance_weighted_bound_exact(joint, q, num_samples=2)
        by_both = joint, mixture.responsibilities(params, x), em.e_step(params, x)
        by_label = (
            em.m_step(q, x, covariance_type=kind),
            em.fit(params, x, num_steps=2, variance_floor=0.1).params,
        )
        total = mixture.log_likelihood(params, x), gaussian.fit_mle(x)
        return (*by_point, exact), by_both, by_label, total

    by_point, by_both, by_label, total = everything(params, p.x, p.q)
    expected = (
        jax.tree.map(lambda leaf: leaf[points], by_point),
        jax.tree.map(lambda leaf: leaf[cell], by_both),
        jax.tree.map(lambda leaf: leaf[order], by_label),
        total,
    )
    assert_close(everything(other, p.x[points], p.q[cell]), expected, 1e-9)
