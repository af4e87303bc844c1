/* SPDX-License-Identifier: Apache-2.0 */
/* test_optim_config.c - names, defaults and the hyper-parameters that are refused. */
#include "runtime/optim_support.h"

#include <math.h>

Test(optim_config, names_are_found_in_any_case)
{
    static const char *const names[] = {"sgd", "SGD", "adam", "Adam", "adamw", "AdamW", "ADAMW"};
    static const lks_optim_kind_t kinds[] = {LKS_OPTIM_SGD,  LKS_OPTIM_SGD,   LKS_OPTIM_ADAM,
                                             LKS_OPTIM_ADAM, LKS_OPTIM_ADAMW, LKS_OPTIM_ADAMW,
                                             LKS_OPTIM_ADAMW};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lks_optim_kind_t kind = LKS_OPTIM_COUNT;
        assert_ok(lks_optim_kind_from_name(names[i], &kind));
        cr_assert_eq(kind, kinds[i], "%s", names[i]);
    }
    cr_assert_str_eq(lks_optim_kind_name(LKS_OPTIM_SGD), "SGD");
    cr_assert_str_eq(lks_optim_kind_name(LKS_OPTIM_ADAMW), "AdamW");
}

Test(optim_config, unknown_name_lists_the_known_ones)
{
    lks_optim_kind_t kind = LKS_OPTIM_COUNT;
    assert_fails(lks_optim_kind_from_name("lion", &kind), LKS_ERR_NOT_FOUND,
                 "unknown optimizer 'lion'; there are SGD, Adam, AdamW");
    cr_assert_eq(kind, LKS_OPTIM_COUNT);
}

Test(optim_config, defaults_are_pytorchs)
{
    lks_optim_config_t sgd = lks_optim_config_default(LKS_OPTIM_SGD);
    cr_assert(sgd.kind == LKS_OPTIM_SGD && sgd.lr == 1e-2 && sgd.momentum == 0 &&
              sgd.dampening == 0 && sgd.weight_decay == 0 && !sgd.nesterov && !sgd.maximize);
    lks_optim_config_t adam = lks_optim_config_default(LKS_OPTIM_ADAM);
    cr_assert(adam.kind == LKS_OPTIM_ADAM && adam.lr == 1e-3 && adam.beta1 == 0.9 &&
              adam.beta2 == 0.999 && adam.eps == 1e-8 && adam.weight_decay == 0 && !adam.amsgrad &&
              !adam.maximize);
    lks_optim_config_t adamw = lks_optim_config_default(LKS_OPTIM_ADAMW);
    cr_assert(adamw.kind == LKS_OPTIM_ADAMW && adamw.lr == 1e-3 && adamw.beta1 == 0.9 &&
              adamw.beta2 == 0.999 && adamw.eps == 1e-8 && adamw.weight_decay == 1e-2 &&
              !adamw.amsgrad && !adamw.maximize);
}

static const struct {
    lks_optim_config_t config;
    const char *sentence;
} refused[] = {
    {{.kind = LKS_OPTIM_COUNT}, "3 is no kind of optimizer"},
    {{.kind = LKS_OPTIM_SGD, .lr = -1}, "SGD: lr is -1; it must be finite and at least 0"},
    {{.kind = LKS_OPTIM_SGD, .lr = (double)NAN}, "SGD: lr is"},
    {{.kind = LKS_OPTIM_SGD, .lr = (double)INFINITY}, "SGD: lr is inf"},
    {{.kind = LKS_OPTIM_SGD, .momentum = -0.5}, "SGD: momentum is -0.5"},
    {{.kind = LKS_OPTIM_SGD, .weight_decay = -1}, "SGD: weight_decay is -1"},
    {{.kind = LKS_OPTIM_SGD, .dampening = (double)INFINITY}, "SGD: dampening is inf"},
    {{.kind = LKS_OPTIM_SGD, .nesterov = true},
     "SGD: nesterov needs momentum above 0 and dampening 0, found 0 and 0"},
    {{.kind = LKS_OPTIM_SGD, .nesterov = true, .momentum = 0.9, .dampening = 0.5},
     "found 0.9 and 0.5"},
    {{.kind = LKS_OPTIM_ADAM, .lr = -1}, "Adam: lr is -1"},
    {{.kind = LKS_OPTIM_ADAM, .eps = -1e-8}, "Adam: eps is -1e-08"},
    {{.kind = LKS_OPTIM_ADAM, .beta1 = 1},
     "Adam: betas[0] is 1; it must be at least 0 and below 1"},
    {{.kind = LKS_OPTIM_ADAM, .beta1 = -0.1}, "Adam: betas[0] is -0.1"},
    {{.kind = LKS_OPTIM_ADAM, .beta2 = (double)NAN}, "Adam: betas[1] is"},
    {{.kind = LKS_OPTIM_ADAMW, .beta2 = 1.5}, "AdamW: betas[1] is 1.5"},
    {{.kind = LKS_OPTIM_ADAMW, .weight_decay = -1}, "AdamW: weight_decay is -1"},
};

Test(optim_config, hyper_parameters_out_of_range_are_refused)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_ADAM);
    optim_job_t job = optim_job_start(2, 2, 1, 0, &config);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        lks_optim_t *optim = NULL;
        assert_fails(lks_optim_create(&refused[i].config, job.module, &optim), LKS_ERR_INVALID_ARG,
                     refused[i].sentence);
        cr_assert_null(optim);
    }
    optim_job_end(&job);
}

Test(optim_config, hyper_parameters_of_other_kinds_are_ignored)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_SGD);
    config.beta1 = 7;
    config.eps = (double)NAN;
    config.amsgrad = true;
    optim_job_t job = optim_job_start(2, 2, 1, 0, &config);
    cr_assert_eq(lks_optim_state_count(job.optim), 0);
    config.amsgrad = false;
    assert_ok(lks_optim_set_config(job.optim, &config));
    optim_job_end(&job);
}

Test(optim_config, set_config_replaces_numbers_but_not_the_kind)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_ADAM);
    optim_job_t job = optim_job_start(2, 2, 1, 0, &config);
    lks_optim_config_t next = config;
    next.lr = 0.5;
    next.beta1 = 0.8;
    assert_ok(lks_optim_set_config(job.optim, &next));
    cr_assert_eq(lks_optim_config(job.optim)->beta1, 0.8);
    lks_optim_set_lr(job.optim, 0.25);
    cr_assert_eq(lks_optim_config(job.optim)->lr, 0.25);
    next.kind = LKS_OPTIM_ADAMW;
    assert_fails(lks_optim_set_config(job.optim, &next), LKS_ERR_INVALID_ARG,
                 "Adam: cannot become AdamW");
    next = config;
    next.amsgrad = true;
    assert_fails(lks_optim_set_config(job.optim, &next), LKS_ERR_INVALID_ARG, "Adam: amsgrad");
    next = config;
    next.beta2 = 1;
    assert_fails(lks_optim_set_config(job.optim, &next), LKS_ERR_INVALID_ARG, "betas[1] is 1");
    cr_assert_eq(lks_optim_config(job.optim)->beta2, 0.999);
    cr_assert_eq(lks_optim_config(job.optim)->lr, 0.25);
    optim_job_end(&job);
}
