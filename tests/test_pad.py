"""The pad: how it treats a drawing, and what the page sends."""

import numpy as np
import pytest

from helpers import plotting
from helpers.explorer import Explorer, Pad, positions
from helpers.explorer.pad import as_mnist

DIGIT = np.zeros((28, 28))
DIGIT[4:24, 12:16] = 1


def ring(size, centre, radius, width):
    """A drawn circle: numbers from 0 to 1."""
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return np.clip(width / 2 + 0.5 - abs(distance - radius), 0, 1)


def centre_of_mass(image):
    places = np.mgrid[: image.shape[0], : image.shape[1]]
    return (places * image).sum(axis=(1, 2)) / image.sum()


def extent(image):
    rows, columns = (image.any(axis=axis).nonzero()[0] for axis in (1, 0))
    return np.ptp(rows) + 1, np.ptp(columns) + 1


@pytest.fixture
def pad():
    pad = Pad({"one": DIGIT, "two": DIGIT.T})
    yield pad
    pad.close()


def send(pad, content, *buffers):
    """What the page does: a message of its own."""
    pad._handle_custom_msg(content, list(buffers))


@pytest.mark.parametrize("centre", [(20, 20), (44, 30), (31.5, 31.5)])
@pytest.mark.parametrize("radius", [3, 10, 18])
def test_a_drawing_is_as_large_as_mnists_digits_and_in_the_middle(centre, radius):
    image = as_mnist(ring(64, centre, radius, 3))
    assert image.shape == (28, 28)
    assert max(extent(image)) == 20
    np.testing.assert_allclose(centre_of_mass(image), 13.5, atol=0.51)
    assert image.min() == 0
    assert 0.3 < image.max() <= 1


def test_where_and_how_large_it_was_drawn_makes_no_difference():
    small, large = (
        as_mnist(ring(64, (20, 40), 8, 2.4)),
        as_mnist(ring(64, (32, 32), 24, 7.2)),
    )
    assert abs(small - large).mean() < 0.05


def test_a_wide_drawing_keeps_its_form():
    ink = np.zeros((64, 64))
    ink[30:34, 4:60] = 1
    assert extent(as_mnist(ink)) == (1, 20)
    assert extent(as_mnist(ink.T)) == (20, 1)


def test_a_drawing_heavy_on_one_side_stays_inside():
    ink = np.zeros((64, 64))
    ink[:, :2] = 0.01
    ink[0, :] = 0.01
    ink[60:, 40:] = 1
    image = as_mnist(ink)
    assert extent(image) == (20, 20)


def test_a_digit_of_mnists_size_is_only_moved():
    image = as_mnist(np.roll(DIGIT, (2, -5), axis=(0, 1)))
    np.testing.assert_allclose(image, DIGIT, atol=1e-6)


def test_an_empty_drawing_stays_empty():
    assert not as_mnist(np.zeros((64, 64))).any()


def stroke(pad, ink):
    """What the page does when the pen is lifted."""
    levels = (255 * ink).astype(np.uint8)
    send(pad, {"kind": "ink"}, memoryview(levels.tobytes()))


def test_a_stroke_notifies_observers(pad):
    heard = []
    pad.observe(lambda change: heard.append((change["new"], pad.image)), "value")
    ink = np.rint(255 * ring(64, (20, 20), 10, 3)) / 255
    stroke(pad, ink)
    ((name, image),) = heard
    assert name == "drawing 1"
    np.testing.assert_allclose(image, as_mnist(ink), atol=1e-6)
    np.testing.assert_array_equal(
        np.frombuffer(pad.seen, np.uint8), np.rint(255 * image).ravel()
    )


def test_each_stroke_is_heard_and_the_last_drawing_is_kept(pad):
    heard = []
    pad.observe(lambda change: heard.append(change["new"]), "value")
    for radius in (5, 10, 10):
        stroke(pad, ring(64, (32, 32), radius, 3))
    assert heard == ["drawing 1", "drawing 2", "drawing 3"]
    drawn = pad.image
    pad.value = "one"
    assert pad.values == ["", "one", "two", "drawing 3"]
    pad.value = "drawing 3"
    np.testing.assert_array_equal(pad.image, drawn)


def test_samples_are_chosen_and_cleared(pad):
    send(pad, {"kind": "sample", "index": 1})
    assert pad.value == "two"
    np.testing.assert_array_equal(pad.image, DIGIT.T)
    send(pad, {"kind": "clear"})
    assert pad.value == ""
    assert not pad.image.any()
    assert not any(pad.seen)


def test_the_page_has_the_samples(pad):
    assert pad.names == ["one", "two"]
    sent = np.frombuffer(pad.samples, np.uint8).reshape(2, 28, 28) / 255
    np.testing.assert_array_equal(sent, [DIGIT, DIGIT.T])


def test_a_pad_starts_with_nothing_or_a_sample():
    pad = Pad()
    assert (pad.names, pad.samples, pad.values) == ([], b"", [""])
    assert not pad.image.any()
    pad.close()
    pad = Pad({"7": DIGIT}, "7")
    np.testing.assert_array_equal(pad.image, DIGIT)
    assert np.frombuffer(pad.seen, np.uint8).sum() == 255 * DIGIT.sum()
    pad.close()


def test_an_explorer_follows_the_pad():
    figure, axes = plotting.subplots(figsize=(2, 2))
    picture = axes.imshow(np.eye(28), animated=True)
    pad = Pad({"one": DIGIT, "two": DIGIT.T}, "one")

    def draw(digit):
        assert digit == pad.value
        picture.set_data(pad.image)
        return f"{digit}: {pad.image[0].sum():.0f} in the top row"

    alt = "What is on the pad."
    explorer = Explorer(figure, draw, {"digit": pad}, label="Pad", alt=alt)
    assert explorer.caption == "one: 0 in the top row"
    ink = np.zeros((64, 64))
    ink[30:34, 4:60] = 1
    stroke(pad, ink)
    assert explorer.caption == "drawing 1: 0 in the top row"
    assert explorer.set(digit="two") == "two: 0 in the top row"
    explorer.reset()
    assert (pad.value, explorer.caption) == ("one", "one: 0 in the top row")
    assert positions(pad) == ["", "one", "two", "drawing 1"]
    assert len(explorer.sweep()) == 4
    with pytest.raises(ValueError, match=r"digit: got 'three', expected one of"):
        explorer.set(digit="three")
    Explorer.live.pop("Pad").close_parts()


@pytest.mark.parametrize(
    ("arguments", "argument", "came", "expected"),
    [
        ({"samples": {"7": np.zeros((8, 8))}}, "samples['7']", "(8, 8)", "(28, 28)"),
        ({"samples": {"7": 255 * DIGIT}}, "samples['7']", "255", "1 for ink"),
        ({"samples": {"7": DIGIT * np.nan}}, "samples['7']", "nan", "1 for ink"),
        ({"label": " "}, "label", "' '", "words"),
        ({"value": "7"}, "value", "'7'", "['']"),
    ],
)
def test_bad_pads_are_refused(refused, arguments, argument, came, expected):
    with refused(argument, came, expected):
        Pad(**arguments)
