/* SPDX-License-Identifier: Apache-2.0 */
/* The loss scale, against the rule that torch.cuda.amp.GradScaler documents. */
#include "support/support.h"

#include <float.h>
#include <lockstep/grad_scaler.h>
#include <math.h>

static void assert_state(const lks_grad_scaler_t *scaler, float scale, int64_t tracker)
{
    cr_assert_eq(scaler->scale, scale, "scale %g, wanted %g", (double)scaler->scale, (double)scale);
    cr_assert_eq(scaler->growth_tracker, tracker, "tracker %lld, wanted %lld",
                 (long long)scaler->growth_tracker, (long long)tracker);
}

Test(grad_scaler, defaults_are_torchs)
{
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    assert_ok(lks_grad_scaler_check(&scaler));
    assert_state(&scaler, 65536, 0);
    cr_assert_eq(scaler.growth_factor, 2.0);
    cr_assert_eq(scaler.backoff_factor, 0.5);
    cr_assert_eq(scaler.growth_interval, 2000);
    cr_assert_eq(lks_grad_scaler_inverse(&scaler), 0x1p-16f);
}

Test(grad_scaler, grows_after_so_many_good_steps_in_a_row)
{
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    for (int i = 1; i < 2000; i++) {
        lks_grad_scaler_update(&scaler, false);
        assert_state(&scaler, 65536, i);
    }
    lks_grad_scaler_update(&scaler, false);
    assert_state(&scaler, 131072, 0);
    for (int i = 0; i < 2000; i++) {
        lks_grad_scaler_update(&scaler, false);
    }
    assert_state(&scaler, 262144, 0);
}

Test(grad_scaler, backs_off_and_counts_anew)
{
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    scaler.growth_interval = 3;
    const bool found[] = {true, true, false, false, true, false, false, false, false};
    const float scales[] = {32768, 16384, 16384, 16384, 8192, 8192, 8192, 16384, 16384};
    const int64_t trackers[] = {0, 0, 1, 2, 0, 1, 2, 0, 1};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        lks_grad_scaler_update(&scaler, found[i]);
        assert_state(&scaler, scales[i], trackers[i]);
    }
}

Test(grad_scaler, products_are_float64_and_rounded_once)
{
    lks_grad_scaler_t scaler = {
        .scale = 1000, .growth_factor = 1.1, .backoff_factor = 0.3, .growth_interval = 1};
    lks_grad_scaler_update(&scaler, false);
    assert_state(&scaler, (float)(1000 * 1.1), 0);
    float before = scaler.scale;
    lks_grad_scaler_update(&scaler, true);
    assert_state(&scaler, (float)((double)before * 0.3), 0);
    cr_assert_eq(lks_grad_scaler_inverse(&scaler), (float)(1 / (double)scaler.scale));
}

Test(grad_scaler, stays_finite_and_above_0)
{
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    scaler.scale = FLT_MAX;
    scaler.growth_interval = 1;
    lks_grad_scaler_update(&scaler, false);
    assert_state(&scaler, FLT_MAX, 0);
    for (int i = 0; i < 300; i++) {
        lks_grad_scaler_update(&scaler, true);
    }
    assert_state(&scaler, FLT_MIN, 0);
    cr_assert(isfinite(lks_grad_scaler_inverse(&scaler)));
}

Test(grad_scaler, factors_of_1_fix_the_scale)
{
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    scaler.growth_factor = scaler.backoff_factor = 1;
    scaler.growth_interval = 1;
    assert_ok(lks_grad_scaler_check(&scaler));
    lks_grad_scaler_update(&scaler, true);
    lks_grad_scaler_update(&scaler, false);
    assert_state(&scaler, 65536, 0);
}

Test(grad_scaler, numbers_out_of_range_are_named)
{
    const lks_grad_scaler_t good = lks_grad_scaler_default();
    lks_grad_scaler_t scaler = good;
    scaler.scale = 0;
    assert_fails(lks_grad_scaler_check(&scaler), LKS_ERR_INVALID_ARG, "the loss scale is 0");
    scaler.scale = INFINITY;
    assert_fails(lks_grad_scaler_check(&scaler), LKS_ERR_INVALID_ARG, "the loss scale is inf");
    scaler = good;
    scaler.growth_factor = 0.5;
    assert_fails(lks_grad_scaler_check(&scaler), LKS_ERR_INVALID_ARG, "growth_factor is 0.5");
    scaler = good;
    scaler.backoff_factor = (double)NAN;
    assert_fails(lks_grad_scaler_check(&scaler), LKS_ERR_INVALID_ARG, "backoff_factor is nan");
    scaler = good;
    scaler.growth_interval = 0;
    assert_fails(lks_grad_scaler_check(&scaler), LKS_ERR_INVALID_ARG, "grows after 0 steps");
}
