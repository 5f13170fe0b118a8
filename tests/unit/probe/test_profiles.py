"""Profiles of tensors whose size, means and distribution can be worked out by hand."""

import math

import numpy as np
import pytest
import torch

from pytest_modelviz.probe import profiles
from pytest_modelviz.probe.profiles import has_profile, profile_of

NAN, INF = math.nan, math.inf


class TestPlaces:
    def test_root_mean_square_over_samples_and_channels(self):
        tensor = torch.zeros(2, 2, 2, 2)
        tensor[:, :, 0, 1] = torch.tensor([[1.0, 5.0], [-5.0, 7.0]])  # 100 / 4
        assert profile_of(tensor, (2, 2)).places.tolist() == [[0.0, 5.0], [0.0, 0.0]]

    def test_large_maps_are_averaged_in_squares(self):
        tensor = torch.zeros(1, 1, 16, 24)
        tensor[0, 0, :2, :3] = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 7.0]])  # 54 / 6
        places = profile_of(tensor, (16, 24)).places
        assert places.shape == (8, 8)
        assert places[0, 0] == 3.0
        assert places.sum() == 3.0

    @pytest.mark.parametrize(("length", "count"), [(5, 5), (64, 64), (640, 64)])
    def test_a_sequence_is_a_column(self, length, count):
        tensor = torch.ones(2, 3, length)
        tensor[..., 0] = 0.0
        places = profile_of(tensor, (length,)).places
        assert places.shape == (count, 1)
        assert places[0, 0] == pytest.approx(math.sqrt(1 - count / length))
        assert (places[1:] == 1.0).all()

    def test_tokens_form_a_grid_behind_those_of_another_kind(self):
        tensor = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(1, 1, 7)
        assert profile_of(tensor, (2, 3), before=1).places.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]

    def test_of_a_very_large_batch_the_first_samples_are_read(self, monkeypatch):
        monkeypatch.setattr(profiles, "_MOST_NUMBERS", 8)
        tensor = torch.ones(3, 2, 2)
        tensor[2] = math.nan
        assert profile_of(tensor, (2,)).places.tolist() == [[1.0], [1.0]]
        assert np.isnan(profile_of(tensor[2:].repeat(1, 1, 4), (8,)).places).all()  # a single one is read whole

    def test_depth_is_averaged(self):
        tensor = torch.zeros(1, 1, 2, 1, 2)
        tensor[0, 0, :, 0, 1] = torch.tensor([1.0, 7.0])
        assert profile_of(tensor, (2, 1, 2)).places.tolist() == [[0.0, 5.0]]

    @pytest.mark.parametrize(("shape", "grid"), [((2, 5), ()), ((2, 5, 1, 1), (1, 1))])
    def test_a_single_place_is_none(self, shape, grid):
        assert profile_of(torch.ones(shape), grid).places.shape == (0, 0)


class TestChannels:
    def test_size_and_mean(self):
        profile = profile_of(torch.tensor([[[3.0, -3.0], [1.0, 7.0]]]), (2,))
        assert profile.energies.tolist() == [3.0, 5.0]
        assert profile.means.tolist() == [0.0, 4.0]
        assert profile.channels == 2

    def test_neighbouring_channels_are_one_group(self):
        values = torch.arange(64.0).view(1, 64)
        profile = profile_of(values)
        assert len(profile.energies) == 32
        assert profile.means == pytest.approx(np.arange(64).reshape(32, 2).mean(1))
        assert profile.energies == pytest.approx(np.sqrt((np.arange(64.0).reshape(32, 2) ** 2).mean(1)))

    def test_values_that_change_sign_change_the_mean_alone(self):
        values = torch.rand(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        flipped = values.clone()
        flipped[:, 3] *= -1
        before, after = profile_of(values, (4, 4)), profile_of(flipped, (4, 4))
        assert np.array_equal(before.energies, after.energies)
        assert np.array_equal(before.places, after.places)
        assert np.flatnonzero(before.means != after.means).tolist() == [3]


class TestDistribution:
    def shares(self, *values):
        profile = profile_of(torch.tensor([values]))
        return profile.ends, {at: share for at, share in enumerate(profile.shares) if share}

    def test_positive_values_are_counted_from_zero_to_a_power_of_two(self):
        assert self.shares(0.0, 0.1, 1.0, 2.0) == ((0.0, 2.0), {0: 0.25, 1: 0.25, 12: 0.25, 23: 0.25})

    def test_values_of_both_signs_about_zero_and_negative_ones_below(self):
        assert self.shares(-1.0, 0.0, 0.5, 1.0) == ((-1.0, 1.0), {0: 0.25, 12: 0.25, 18: 0.25, 23: 0.25})
        assert self.shares(-1.0, -1.0, -0.5, 0.0) == ((-1.0, 0.0), {0: 0.5, 12: 0.25, 23: 0.25})

    def test_values_far_away_count_in_the_outermost_bin(self):
        ends, shares = self.shares(*[1.0] * 99, 1000.0)  # rms 100
        assert ends == (0.0, 512.0)
        assert shares == {0: 0.99, 23: 0.01}

    def test_a_large_tensor_is_sampled(self):
        values = torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
        profile = profile_of(values, (64, 64))
        exact = np.histogram(values.clamp(*profile.ends).numpy(), 24, profile.ends)[0] / values.numel()
        assert profile.shares == pytest.approx(exact, abs=0.01)
        assert profile.shares.sum() == pytest.approx(1.0)


class TestMagnitudes:
    def test_what_is_not_finite_marks_its_place_and_channel_and_hides_nothing_else(self):
        tensor = torch.ones(1, 3, 2, 2)
        tensor[0, 1, 0, 0], tensor[0, 2, 0, 0] = NAN, -INF
        profile = profile_of(tensor, (2, 2))
        assert np.isnan(profile.places).tolist() == [[True, False], [False, False]]
        assert np.isnan(profile.energies).tolist() == np.isnan(profile.means).tolist() == [False, True, True]
        assert profile.energies[0] == 1.0
        assert profile.shares.sum() == pytest.approx(10 / 12)

    def test_nothing_but_nan(self):
        profile = profile_of(torch.full((1, 2), NAN))
        assert np.isnan(profile.energies).all()
        assert not profile.shares.any()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    @pytest.mark.parametrize("scale", [1e-28, 1.0, 1e28])
    def test_squares_of_large_and_small_numbers_do_not_overflow(self, dtype, scale):
        profile = profile_of(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], dtype=dtype) * scale, (2,))
        assert profile.energies == pytest.approx([math.sqrt(12.5) * scale, 0.0], rel=1e-2)
        assert profile.places.ravel() == pytest.approx([math.sqrt(4.5) * scale, math.sqrt(8.0) * scale], rel=1e-2)

    def test_zeros_and_numbers_beyond_all_bounds(self):
        assert not any(table.any() for table in profile_of(torch.zeros(1, 2)).tables[:3])
        assert profile_of(torch.full((1, 2), 3e38)) is None

    def test_only_floating_point_numbers_that_can_be_read_have_one(self):
        assert has_profile(torch.ones(2))
        for other in (torch.ones(2).int(), torch.ones(0), torch.ones(2, device="meta"), torch.ones(2).to_sparse()):
            assert not has_profile(other)
