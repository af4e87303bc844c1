/* SPDX-License-Identifier: Apache-2.0 */
/* test_models_mlp.c - descriptions of models: what they build, and the sentence for each that builds nothing. */
#include "support/nn_support.h"

static void check_names(const char *description, size_t count, const char *const *names)
{
    lks_module_t *module = test_model(description);
    cr_assert(lks_module_param_count(module) == count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_str_eq(lks_module_param(module, i)->name, names[i]);
    }
    lks_module_destroy(module);
}

Test(models_mlp, builds_the_layers_of_a_pytorch_sequential)
{
    check_names("mlp:4,3", 2, (const char *const[]){"0.weight", "0.bias"});
    check_names("mlp:4,8,3", 4, (const char *const[]){"0.weight", "0.bias", "2.weight", "2.bias"});
    check_names("mlp:4,8,3,dropout=0.2", 4,
                (const char *const[]){"0.weight", "0.bias", "3.weight", "3.bias"});
    lks_module_t *module = test_model("mlp:784,512,256,10");
    cr_assert(lks_module_in_features(module) == 784 && lks_module_out_features(module) == 10);
    cr_assert(lks_module_param(module, 2)->value.shape[0] == 256);
    cr_assert(lks_module_param(module, 2)->value.shape[1] == 512);
    lks_module_destroy(module);
}

typedef struct bad_case {
    const char *description, *sentence;
} bad_case_t;

static const bad_case_t bad_cases[] = {
    {"", "unknown model ''; there are: mlp:"},
    {"resnet18", "unknown model 'resnet18'; there are: mlp:IN,HIDDEN,...,OUT[,dropout=P]"},
    {"ml:4,3", "unknown model 'ml:4,3'"},
    {"MLP:4,3", "unknown model"},
    {"mlp", "model 'mlp': '' is no number of features"},
    {"mlp:", "'' is no number"},
    {"mlp:4", "one number of features is no layer"},
    {"mlp:4,", "'' is no number"},
    {"mlp:,4", "'' is no number"},
    {"mlp:4,,3", "'' is no number"},
    {"mlp:4,x,3", "model 'mlp:4,x,3': 'x' is no number of features (1 to 100000000)"},
    {"mlp:4,0,3", "'0' is no number"},
    {"mlp:4,-8,3", "'-8' is no number"},
    {"mlp:4, 8,3", "' 8' is no number"},
    {"mlp:4,8.5,3", "'8.5' is no number"},
    {"mlp:4,100000001", "'100000001' is no number"},
    {"mlp:4,99999999999999999999999", "is no number"},
    {"mlp:dropout=0.5", "'dropout=0.5' is no number"},
    {"mlp:,dropout=0.5", "'' is no number"},
    {"mlp:4,dropout=0.5", "one number of features is no layer"},
    {"mlp:4,8,dropout=0.5,3", "'dropout=0.5,3' is no probability"},
    {"mlp:4,8,3,dropout=", "'dropout=' is no probability from 0 to 1"},
    {"mlp:4,8,3,dropout=.", "'dropout=.' is no probability"},
    {"mlp:4,8,3,dropout=1.5", "'dropout=1.5' is no probability"},
    {"mlp:4,8,3,dropout=-0.1", "'dropout=-0.1' is no probability"},
    {"mlp:4,8,3,dropout=0.1x", "'dropout=0.1x' is no probability"},
    {"mlp:4,8,3,dropout=0.1.2", "is no probability"},
    {"mlp:4,8,3,dropout=1e-1", "is no probability"},
    {"mlp:4,8,3,dropout=0.1,", "is no probability"},
    {"mlp:4,8,3,Dropout=0.1", "'Dropout=0.1' is no number"},
};

Test(models_mlp, bad_descriptions_get_a_sentence)
{
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        lks_module_t *module = NULL;
        assert_fails(lks_model_create(bad_cases[i].description, &module), LKS_ERR_INVALID_ARG,
                     bad_cases[i].sentence);
        cr_assert(!module);
    }
}

Test(models_mlp, dropout_probabilities_are_read_exactly)
{
    static const char *const good[] = {"mlp:2,2,2,dropout=0",   "mlp:2,2,2,dropout=1",
                                       "mlp:2,2,2,dropout=1.0", "mlp:2,2,2,dropout=.5",
                                       "mlp:2,2,2,dropout=0.",  "mlp:2,3,dropout=0.25"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        lks_module_destroy(test_model(good[i]));
    }
}
