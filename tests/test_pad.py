"""The pad: how it treats a drawing, and what the page sends."""

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from helpers.explorer import Pad, saved
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


def test_a_stroke_notifies_observers(pad):
    heard = []
    pad.observe(lambda change: heard.append(change["new"]), "image")
    ink = (255 * ring(64, (20, 20), 10, 3)).astype(np.uint8)
    send(pad, {"kind": "ink"}, memoryview(ink.tobytes()))
    (image,) = heard
    np.testing.assert_allclose(image, as_mnist(ink / 255))
    np.testing.assert_array_equal(
        np.frombuffer(pad.seen, np.uint8), np.rint(255 * image).ravel()
    )
    assert pad.words == "Your drawing, 28 by 28."


def test_samples_are_chosen_and_cleared(pad):
    send(pad, {"kind": "sample", "index": 1})
    np.testing.assert_array_equal(pad.image, DIGIT.T)
    assert pad.words == "Sample two."
    send(pad, {"kind": "clear"})
    assert not pad.image.any()
    assert pad.words == "The pad is empty."


def test_the_same_sample_twice_notifies_observers_twice(pad):
    heard = []
    pad.observe(heard.append, "image")
    for _ in range(2):
        send(pad, {"kind": "sample", "index": 0})
    assert len(heard) == 2


def test_the_page_has_the_samples(pad):
    assert pad.names == ["one", "two"]
    sent = np.frombuffer(pad.samples, np.uint8).reshape(2, 28, 28) / 255
    np.testing.assert_array_equal(sent, [DIGIT, DIGIT.T])


def test_a_pad_without_samples_is_empty():
    pad = Pad()
    assert (pad.names, pad.samples) == ([], b"")
    assert not pad.image.any()
    pad.close()


def test_without_a_kernel_the_digit_is_seen(pad):
    send(pad, {"kind": "sample", "index": 0})
    data, metadata = pad._repr_mimebundle_()
    stored = Image.open(io.BytesIO(b64decode(data["image/png"])))
    np.testing.assert_array_equal(
        np.asarray(stored)[2::5, 2::5], (255 * (1 - DIGIT)).astype(int)
    )
    assert metadata["image/png"]["alt"] == "Draw a digit. Sample one."


def test_the_output_has_the_picture_the_pad_and_the_words(pad, monkeypatch):
    shown = []
    monkeypatch.setattr(saved, "display", lambda part, **_: shown.append(part))
    pad._ipython_display_()
    picture, live, words = shown
    assert {"image/png", "text/plain"} == picture.keys()
    assert {saved.WIDGET} == live.keys()
    assert "Draw a digit. The pad is empty.</details>" in words.data


@pytest.mark.parametrize(
    ("arguments", "argument", "came", "expected"),
    [
        ({"samples": {"7": np.zeros((8, 8))}}, "samples['7']", "(8, 8)", "(28, 28)"),
        ({"samples": {"7": 255 * DIGIT}}, "samples['7']", "255", "1 for ink"),
        ({"samples": {"7": DIGIT * np.nan}}, "samples['7']", "nan", "1 for ink"),
        ({"label": " "}, "label", "' '", "words"),
    ],
)
def test_bad_pads_are_refused(refused, arguments, argument, came, expected):
    with refused(argument, came, expected):
        Pad(**arguments)
