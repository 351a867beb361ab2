"""What all schedules keep, and what some refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodfit.errors import RecipeError
from goodfit.ingredient import find, names
from goodfit.schedules import Schedule
from goodfit.schedules.constant import Constant
from goodfit.schedules.cosine import Cosine
from goodfit.schedules.cosine_restarts import CosineRestarts
from goodfit.schedules.inverse_sqrt import InverseSqrt
from goodfit.schedules.multi_step import MultiStep
from goodfit.schedules.one_cycle import OneCycle


@pytest.fixture(params=names(Schedule))
def schedule(request) -> Schedule:
    return find(Schedule, request.param)()


@given(done=st.floats(0, 1))
@pytest.mark.parametrize("kind", names(Schedule))
def test_a_factor_is_between_zero_and_one(kind, done):
    assert 0 <= find(Schedule, kind)()(done) <= 1 + 1e-12


def test_it_reaches_the_base_learning_rate(schedule):
    assert max(schedule(t / 1000) for t in range(1000)) == pytest.approx(1)


def test_progress_beyond_the_end_is_the_end(schedule):
    assert schedule(1 + 1e-9) == schedule(1.0)
    assert schedule(-1e-9) == schedule(0.0)


@pytest.mark.parametrize("kind", [k for k in names(Schedule) if k != "one-cycle"])
def test_any_of_them_can_warm_up(kind):
    plain, warm = find(Schedule, kind), find(Schedule, kind)(warmup=0.2)
    assert warm(0) == 0
    assert warm(0.1) == pytest.approx(0.5 * warm(0.2), rel=1e-6)
    assert plain().name == kind


def test_restarts_end_low_and_begin_high():
    schedule = CosineRestarts(cycles=4, warmup=0.2, floor=0.1)
    assert schedule.ends() == pytest.approx((0.4, 0.6, 0.8, 1.0))
    for end in schedule.ends():
        assert schedule(end - 1e-6) == pytest.approx(0.1)
    assert schedule(0.4) == schedule(0.6) == schedule(0.8) == 1
    assert schedule(1.0) == pytest.approx(0.1)


def test_only_one_cycle_moves_the_momentum():
    moving = [k for k in names(Schedule) if find(Schedule, k)().momentum(0.5) is not None]
    assert moving == ["one-cycle"]
    assert OneCycle(cycle_momentum=False).momentum(0.5) is None


def test_bad_settings_are_refused():
    for settings in ({"warmup": 1.0}, {"warmup": -0.1}, {"floor": 1.2}):
        with pytest.raises(RecipeError):
            Cosine(**settings)
    with pytest.raises(RecipeError, match="milestones"):
        MultiStep(milestones=(0.6, 0.3))
    with pytest.raises(RecipeError, match="its own rise"):
        OneCycle(warmup=0.1)
    with pytest.raises(RecipeError, match="momentum falls first"):
        OneCycle(low=0.95, high=0.85)
    with pytest.raises(RecipeError):
        InverseSqrt(warmup=0)


def test_ones_own_schedule_needs_one_method():
    class Halves(Schedule):
        def shape(self, done: float) -> float:
            return 0.5 ** int(done * 4)

    assert [Halves()(t / 4) for t in range(4)] == [1, 0.5, 0.25, 0.125]
    assert Halves(warmup=0.5)(0.25) == 0.25
    assert Constant()(0.5) == 1
