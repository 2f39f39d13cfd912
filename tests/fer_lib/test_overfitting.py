import os
import time

import numpy as np
import pytest

from fer_lib.files import UsageError
from fer_lib.overfitting import find_onset, gap, smooth


def valley(epochs=50, turn=20, rise=0.02, jumps=()):
    """Loss that falls by 0.03 an epoch until `turn` (1-based) and then rises; `jumps` are doubled."""
    epoch = np.arange(1, epochs + 1)
    loss = 0.6 + np.where(epoch < turn, 0.03 * (turn - epoch), rise * (epoch - turn))
    loss[[jump - 1 for jump in jumps]] *= 2
    return loss


def test_running_median_ignores_a_jump_and_keeps_its_place():
    np.testing.assert_allclose(smooth(np.array([5.0, 4, 30, 2, 1, 2, 3]), 3), [4.5, 5, 4, 2, 2, 2, 2.5])
    np.testing.assert_allclose(smooth(np.array([3.0, 9, 1]), 1), [3, 9, 1])


def test_the_onset_is_the_epoch_after_the_minimum():
    onset = find_onset(valley())
    assert onset.found
    # The running median of a sharp valley is flat for three epochs around its bottom.
    assert onset.onset_epoch in (21, 22)
    assert onset.best_epoch == 20
    assert f"epoch {onset.onset_epoch} of 50" in onset.sentence and "epoch 20 is kept" in onset.sentence


def test_jumps_do_not_decide():
    calm = find_onset(valley())
    jumpy = find_onset(valley(jumps=(4, 9, 15, 27, 33, 40)))
    assert abs(jumpy.onset_epoch - calm.onset_epoch) <= 1
    assert jumpy.best_epoch == calm.best_epoch


def test_a_single_dip_is_not_the_minimum_and_a_jump_is_never_kept():
    loss = valley()
    loss[34] = 0.1  # epoch 35: the bare minimum of the curve
    loss[19] = 5.0  # epoch 20, where the smoothed loss is lowest, is itself a jump
    onset = find_onset(loss)
    assert onset.onset_epoch < 25
    assert onset.best_epoch != 20 and loss[onset.best_epoch - 1] < 0.7


@pytest.mark.parametrize("seed", range(20))
def test_the_epoch_kept_comes_before_the_onset_and_is_no_jump(seed):
    rng = np.random.default_rng(seed)
    loss = valley(turn=int(rng.integers(8, 40))) + 0.03 * rng.standard_normal(50)
    loss *= np.where(rng.random(50) < 0.15, 2, 1)
    onset = find_onset(loss)
    assert onset.onset_epoch is None or onset.best_epoch < onset.onset_epoch
    assert loss[onset.best_epoch - 1] <= onset.smoothed.min() + 1e-12


def test_a_falling_or_constant_curve_shows_no_over_fitting():
    for loss in (np.linspace(1.5, 0.5, 40), np.full(40, 0.7)):
        onset = find_onset(loss)
        assert not onset.found and onset.onset_epoch is None
        assert onset.best_epoch >= 38
        assert "No over-fitting is seen within 40 epochs" in onset.sentence


# How often is a curve called over-fitted? FER_CURVES=1000 gives the figures of the docstring.
CURVES = int(os.environ.get("FER_CURVES", "80"))
EPOCH = np.arange(50)
FALLING = 0.6 + 0.5 * np.exp(-EPOCH / 6)
RISING = 0.075 * np.clip(EPOCH - 25, 0, None) / 24


def called_over_fitted(trend, correlation, scatter=0.012, curves=CURVES):
    """Share of curves that are called over-fitted, with noise of statsmodels' AR(1) around a trend."""
    process = pytest.importorskip("statsmodels.tsa.arima_process")
    noise = process.arma_generate_sample(
        [1, -correlation],
        [1],
        (curves, len(trend)),
        scale=scatter * np.sqrt(1 - correlation**2),
        distrvs=np.random.default_rng(1).standard_normal,
        axis=1,
        burnin=50,
    )
    share = np.mean([find_onset(trend + each).found for each in noise])
    print(f"correlation {correlation}: {share:.1%} of {curves}")
    return share


@pytest.mark.parametrize("trend", [np.full(50, 0.6), FALLING], ids=["flat", "falling"])
@pytest.mark.parametrize("correlation", [0, 0.4, 0.55, 0.75])
def test_noise_however_correlated_is_rarely_called_over_fitting(trend, correlation):
    """At most 8 %; of 80 curves, twelve are more than chance makes of that in a hundred tests."""
    assert called_over_fitted(trend, correlation) <= (0.08 if CURVES >= 1000 else 12 / 80)


@pytest.mark.parametrize(
    ("trend", "power"), [(0.6 + RISING, 0.95), (FALLING + RISING, 0.8)], ids=["flat first", "falling first"]
)
@pytest.mark.parametrize("correlation", [0, 0.55, 0.75])
def test_a_rise_of_six_times_the_noise_nearly_always_is(trend, power, correlation):
    assert called_over_fitted(trend, correlation) >= power


def test_the_answer_is_quick_and_always_the_same():
    loss = FALLING + RISING + 0.012 * np.random.default_rng(0).standard_normal(50)
    began = time.process_time()
    answers = {(onset.found, onset.rule) for onset in (find_onset(loss) for _ in range(3))}
    assert len(answers) == 1 and time.process_time() - began < 3
    scaled = find_onset(10 * loss)  # another unit of loss, the same answer
    assert (scaled.found, scaled.onset_epoch) == (True, find_onset(loss).onset_epoch)


def test_a_rise_must_last_for_the_patience_and_exceed_min_delta():
    short = valley(epochs=34, turn=20)  # 14 epochs up
    assert not find_onset(short, window=1, patience=15).found
    assert find_onset(short, window=1, patience=6).found
    assert not find_onset(valley(epochs=23)).found
    assert find_onset(valley(), min_delta=0.3).found
    assert not find_onset(valley(), min_delta=0.7).found  # rises by 0.6 in all
    late = find_onset(valley(), window=1, min_delta=0.1)
    assert (
        late.onset_epoch == 26 and late.best_epoch == 25
    )  # 0.02 an epoch: 0.1 is reached, not passed, at 25


def test_a_rise_that_comes_back_does_not_count():
    loss = np.r_[np.linspace(1, 0.6, 20), np.full(4, 0.9), np.full(20, 0.6)]
    assert not find_onset(loss, patience=5).found


def test_the_onset_is_after_the_last_return_to_the_minimum():
    loss = np.r_[1.0, 0.8, 0.6, 0.9, 0.9, 0.65, 0.65, np.linspace(0.8, 1.6, 12)]  # back at epochs 6 and 7
    onset = find_onset(loss, window=1, patience=3, min_delta=0.1)
    assert (onset.onset_epoch, onset.best_epoch) == (8, 7)


def test_few_epochs_are_said_to_be_too_few():
    one = find_onset(np.array([0.9]))
    assert (one.found, one.best_epoch) == (False, 1)
    assert "1 epoch is too few" in one.sentence
    falling = find_onset(np.array([3.0, 2.0, 1.0]))
    assert falling.best_epoch == 3 and "3 epochs are too few" in falling.sentence
    assert find_onset(np.array([1.0, 2.0, 3.0])).best_epoch == 1


def test_the_rule_states_its_parameters():
    rule = find_onset(valley(), window=7, patience=4, min_delta=0.05).rule
    assert rule.endswith(".")
    for part in ("7 epochs", "4 epochs", "0.05", "running median", "validation loss"):
        assert part in rule


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        ([], {}, "train at least one epoch"),
        ([0.5, np.nan, 0.4], {}, "epoch 2: nan .* lower the learning rate"),
        ([0.5, 0.6, np.inf], {}, "epoch 3: inf"),
        ([0.5] * 9, {"window": 4}, "odd"),
        ([0.5] * 9, {"patience": 0}, "patience"),
        ([0.5] * 9, {"min_delta": -1}, "min_delta"),
        ([0.5] * 9, {"min_delta": np.nan}, "min_delta"),
    ],
)
def test_bad_input_is_named(loss, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        find_onset(np.array(loss, float), **options)
    assert "\n" not in str(caught.value)


def test_gap():
    np.testing.assert_allclose(gap({"loss": [1.0, 0.5], "val_loss": [0.9, 0.8]}), [-0.1, 0.3])


def test_more_epochs_than_a_run_can_have_are_refused_before_anything_is_simulated():
    with pytest.raises(UsageError, match=r"^validation loss: 10,001 epochs, more than 10,000"):
        find_onset(np.ones(10_001))
