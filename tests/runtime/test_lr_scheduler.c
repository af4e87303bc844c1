/* SPDX-License-Identifier: Apache-2.0 */
/* test_lr_scheduler.c - PyTorch's rates to the last bit, and what a description may say. */
#include "support/support.h"

#include <lockstep/lr_scheduler.h>

#include <math.h>
#include <stdio.h>

#include "data/lr_golden.h"

enum { GOLDEN_SCHEDULES = sizeof golden / sizeof *golden };

Test(lr_scheduler, rates_are_pytorchs_bit_for_bit)
{
    for (size_t i = 0; i < GOLDEN_SCHEDULES; i++) {
        lks_lr_scheduler_t scheduler;
        assert_ok(lks_lr_scheduler_parse(golden[i].description, golden[i].base_lr, &scheduler));
        cr_assert_str_eq(lks_lr_kind_name(scheduler.kind), golden[i].name);
        cr_assert_eq(scheduler.last_lr, golden[i].base_lr);
        for (int epoch = 0; epoch < GOLDEN_EPOCHS; epoch++) {
            double lr = lks_lr_scheduler_step(&scheduler);
            cr_assert_eq(lr, golden[i].lr[epoch], "%s, epoch %d: %a, PyTorch has %a",
                         golden[i].description, epoch + 1, lr, golden[i].lr[epoch]);
            cr_assert_eq(scheduler.last_lr, lr);
            cr_assert_eq(scheduler.last_epoch, epoch + 1);
        }
    }
}

Test(lr_scheduler, copy_continues_with_the_same_bits)
{
    lks_lr_scheduler_t a;
    assert_ok(lks_lr_scheduler_parse("cosine:7,0.001", 0.3, &a));
    for (int epoch = 0; epoch < 5; epoch++) {
        (void)lks_lr_scheduler_step(&a);
    }
    lks_lr_scheduler_t b = {.kind = LKS_LR_COSINE,
                            .t_max = a.t_max,
                            .eta_min = a.eta_min,
                            .base_lr = a.base_lr,
                            .last_lr = a.last_lr,
                            .last_epoch = a.last_epoch};
    assert_ok(lks_lr_scheduler_check(&b));
    for (int epoch = 0; epoch < 30; epoch++) {
        cr_assert_eq(lks_lr_scheduler_step(&a), lks_lr_scheduler_step(&b));
    }
}

Test(lr_scheduler, none_keeps_the_rate)
{
    lks_lr_scheduler_t scheduler;
    assert_ok(lks_lr_scheduler_parse("none", 0.25, &scheduler));
    cr_assert_eq(scheduler.kind, LKS_LR_CONSTANT);
    cr_assert_str_eq(lks_lr_kind_name(scheduler.kind), "");
    cr_assert_eq(lks_lr_scheduler_step(&scheduler), 0.25);
    cr_assert_eq(scheduler.last_epoch, 1);
}

Test(lr_scheduler, defaults_are_pytorchs)
{
    lks_lr_scheduler_t scheduler;
    assert_ok(lks_lr_scheduler_parse("step:30", 1, &scheduler));
    cr_assert_eq(scheduler.step_size, 30);
    cr_assert_eq(scheduler.gamma, 0.1);
    assert_ok(lks_lr_scheduler_parse("multistep:30,80", 1, &scheduler));
    cr_assert_eq(scheduler.milestone_count, 2);
    cr_assert_eq(scheduler.milestones[1], 80);
    cr_assert_eq(scheduler.gamma, 0.1);
    assert_ok(lks_lr_scheduler_parse("cosine:50", 1, &scheduler));
    cr_assert_eq(scheduler.t_max, 50);
    cr_assert_eq(scheduler.eta_min, 0);
}

Test(lr_scheduler, bad_descriptions_are_refused_with_the_reason)
{
    static const struct {
        const char *description, *sentence;
    } cases[] = {
        {"", "unknown schedule"},
        {"Step:3", "unknown schedule"},
        {"stepper:3", "unknown schedule"},
        {"plateau", "there are none, step:STEP_SIZE[,GAMMA]"},
        {"none:", "must read none"},
        {"step", "must read step:STEP_SIZE[,GAMMA]"},
        {"step:", "the step size is ''"},
        {"step:0", "the step size is 0; it must be a number of epochs of at least 1"},
        {"step:-3", "the step size is -3"},
        {"step:2.5", "the step size is '2.5'; it must be a whole number"},
        {"step: 3", "the step size is ' 3'"},
        {"step:+3", "the step size is '+3'"},
        {"step:-", "the step size is '-'"},
        {"step:9007199254740993", "the step size is 9007199254740993"},
        {"step:99999999999999999999", "the step size is '99999999999999999999'"},
        {"step:3,", "gamma is ''; it must be a number"},
        {"step:3,x", "gamma is 'x'"},
        {"step:3,0x1p3", "gamma is '0x1p3'"},
        {"step:3,nan", "gamma is 'nan'"},
        {"step:3,1e999", "gamma is inf; it must be a finite number"},
        {"step:3,-0.1", "gamma is -0.1; it must be a finite number of at least 0"},
        {"step:3,0.1,0.2", "must read step:"},
        {"multistep:", "a milestone is ''"},
        {"multistep:0,3", "a milestone is 0"},
        {"multistep:30,10", "milestone 10 comes after 30; they must ascend"},
        {"multistep:30,,40", "a milestone is ''"},
        {"multistep:gamma=0.5", "a milestone is 'gamma=0.5'"},
        {"multistep:30,gamma=", "gamma is ''"},
        {"multistep:30,gamma=0.5,80", "a milestone is 'gamma=0.5'"},
        {"cosine:-1", "T_max is -1; it must be a number of epochs of at least 1"},
        {"cosine:0", "T_max is 0"},
        {"cosine:50,-0.1", "eta_min is -0.1"},
        {"cosine:50,0.1,2", "must read cosine:T_MAX[,ETA_MIN]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_lr_scheduler_t scheduler = {.last_epoch = 77};
        assert_fails(lks_lr_scheduler_parse(cases[i].description, 0.1, &scheduler),
                     LKS_ERR_INVALID_ARG, cases[i].sentence);
        char context[64];
        (void)snprintf(context, sizeof context, "schedule '%s': ", cases[i].description);
        cr_assert(strstr(lks_last_error()->message, context), "no '%s' in '%s'", context,
                  lks_last_error()->message);
        cr_assert_eq(scheduler.last_epoch, 77, "a failed parse changed its output");
    }
}

/* "multistep:1,2,...,count" */
static void describe_milestones(int count, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "multistep:1");
    for (int i = 2; i <= count; i++) {
        at += (size_t)snprintf(out + at, size - at, ",%d", i);
    }
}

Test(lr_scheduler, milestones_are_limited)
{
    char description[512];
    lks_lr_scheduler_t scheduler;
    describe_milestones(LKS_LR_MAX_MILESTONES, description, sizeof description - 16);
    assert_ok(lks_lr_scheduler_parse(description, 1, &scheduler));
    cr_assert_eq(scheduler.milestone_count, LKS_LR_MAX_MILESTONES);
    (void)strcat(description, ",gamma=0.5");
    assert_ok(lks_lr_scheduler_parse(description, 1, &scheduler));
    cr_assert_eq(scheduler.gamma, 0.5);
    for (int more = 1; more <= 3; more++) {
        describe_milestones(LKS_LR_MAX_MILESTONES + more, description, sizeof description);
        assert_fails(lks_lr_scheduler_parse(description, 1, &scheduler), LKS_ERR_INVALID_ARG,
                     "milestones are more than 64");
    }
}

Test(lr_scheduler, base_rate_must_be_a_rate)
{
    lks_lr_scheduler_t scheduler;
    assert_fails(lks_lr_scheduler_parse("none", -1, &scheduler), LKS_ERR_INVALID_ARG,
                 "the base learning rate is -1");
    assert_fails(lks_lr_scheduler_parse("none", (double)NAN, &scheduler), LKS_ERR_INVALID_ARG,
                 "the base learning rate is");
}

Test(lr_scheduler, check_refuses_what_a_step_could_not_take)
{
    lks_lr_scheduler_t good, bad;
    assert_ok(lks_lr_scheduler_parse("multistep:3,5", 0.1, &good));
    assert_ok(lks_lr_scheduler_check(&good));
    bad = good;
    bad.milestone_count = LKS_LR_MAX_MILESTONES + 1;
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "65 milestones");
    bad = good;
    bad.last_epoch = -1;
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "the last epoch is -1");
    bad = good;
    bad.last_lr = (double)INFINITY;
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "the last learning rate");
    bad = good;
    bad.kind = LKS_LR_KIND_COUNT;
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "no kind of schedule");
    bad = (lks_lr_scheduler_t){.kind = LKS_LR_STEP, .base_lr = 1, .last_lr = 1};
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "the step size is 0");
    bad.kind = LKS_LR_COSINE;
    bad.t_max = INT64_MAX;
    assert_fails(lks_lr_scheduler_check(&bad), LKS_ERR_INVALID_ARG, "T_max is");
}
