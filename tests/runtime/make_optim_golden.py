#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/optim_golden.h and lr_golden.h: what PyTorch's optimizers and schedulers compute.

Run by hand with torch 1.13 or later (Debian: python3-torch) when a case is added; the headers are committed.
The problem of every optimizer case is a noisy quadratic, in numbers that float32 holds exactly:
gradient[i] = curvature[i] * (value[i] - target[i]) + noise(i, step), and 0 where i % 11 == 5.
"""
import pathlib
import textwrap
import warnings

import numpy as np
import torch

DATA = pathlib.Path(__file__).resolve().parent.parent / 'data'
SHAPES = ((3, 5), (3,))  # Linear(5, 3): weight, bias
COUNT = sum(int(np.prod(shape)) for shape in SHAPES)
STEPS = 50
HALVE_AT = 25  # the learning rate is halved after this many steps
STATES = {
    'SGD': ('momentum_buffer',),
    'Adam': ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq'),
    'AdamW': ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq'),
}
CASES = (
    ('sgd', 'SGD', dict(lr=0.1)),
    ('sgd_weight_decay', 'SGD', dict(lr=0.1, weight_decay=0.03)),
    ('sgd_maximize', 'SGD', dict(lr=0.1, weight_decay=0.03, maximize=True)),
    ('sgd_momentum', 'SGD', dict(lr=0.05, momentum=0.9)),
    ('sgd_dampening', 'SGD', dict(lr=0.05, momentum=0.9, dampening=0.3)),
    ('sgd_nesterov', 'SGD', dict(lr=0.05, momentum=0.9, nesterov=True)),
    ('sgd_nesterov_weight_decay', 'SGD',
     dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.03)),
    ('sgd_all', 'SGD',
     dict(lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.03, maximize=True)),
    ('adam', 'Adam', dict(lr=0.05)),
    ('adam_weight_decay', 'Adam', dict(lr=0.05, weight_decay=0.03)),
    ('adam_amsgrad', 'Adam', dict(lr=0.05, amsgrad=True)),
    ('adam_betas_eps', 'Adam', dict(lr=0.05, betas=(0.8, 0.99), eps=1e-3)),
    ('adam_all', 'Adam',
     dict(lr=0.05, betas=(0.8, 0.9), weight_decay=0.03, amsgrad=True, maximize=True)),
    ('adamw', 'AdamW', dict(lr=0.05)),
    ('adamw_no_decay', 'AdamW', dict(lr=0.05, weight_decay=0.0)),
    ('adamw_amsgrad', 'AdamW', dict(lr=0.05, amsgrad=True, betas=(0.8, 0.9))),
    ('adamw_all', 'AdamW',
     dict(lr=0.05, weight_decay=0.1, eps=1e-3, amsgrad=True, maximize=True)),
)
EPOCHS = 40
SCHEDULES = (
    ('step:3', 0.1, 'StepLR', dict(step_size=3)),
    ('step:1,0.97', 0.3, 'StepLR', dict(step_size=1, gamma=0.97)),
    ('multistep:2,5,5,30', 0.1, 'MultiStepLR', dict(milestones=[2, 5, 5, 30])),
    ('multistep:1,4,4,4,gamma=0.3', 0.7, 'MultiStepLR', dict(milestones=[1, 4, 4, 4], gamma=0.3)),
    ('cosine:10', 0.1, 'CosineAnnealingLR', dict(T_max=10)),
    ('cosine:7,0.001', 0.3, 'CosineAnnealingLR', dict(T_max=7, eta_min=0.001)),
    ('cosine:1', 0.1, 'CosineAnnealingLR', dict(T_max=1)),
    ('cosine:3,0.5', 0.1, 'CosineAnnealingLR', dict(T_max=3, eta_min=0.5)),
    ('cosine:50', 1e-3, 'CosineAnnealingLR', dict(T_max=50)),
)


def problem():
    i = np.arange(COUNT)
    value = ((i * 29 % 41 - 20) / 16).astype(np.float32)
    target = ((i * 13 % 23 - 11) / 8).astype(np.float32)
    curvature = np.where(i % 11 == 5, 0, (1 + i % 5) / 4).astype(np.float32)
    return value, target, curvature


def noise(step):
    i = np.arange(COUNT)
    values = ((i * 37 + step * 101) % 64 - 32) / 256
    return np.where(i % 11 == 5, 0, values).astype(np.float32)


def flat(tensors):
    return np.concatenate([t.detach().numpy().ravel() for t in tensors])


def run_optimizer(kind, options):
    value, target, curvature = problem()
    sign = np.float32(-1 if options.get('maximize') else 1)
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    params = [torch.tensor(part.reshape(shape), requires_grad=True)
              for part, shape in zip(np.split(value, ends), SHAPES)]
    optimizer = getattr(torch.optim, kind)(params, **options)
    for step in range(STEPS):
        if step == HALVE_AT:
            optimizer.param_groups[0]['lr'] *= 0.5
        grad = sign * (curvature * (flat(params) - target) + noise(step))
        for param, part in zip(params, np.split(grad, ends)):
            param.grad = torch.tensor(part.reshape(param.shape))
        optimizer.step()
    states = [flat([optimizer.state[p][name] for p in params]) for name in STATES[kind]
              if optimizer.state[params[0]].get(name) is not None]
    return flat(params), states


def hexadecimal(value, suffix):
    text = float(value).hex()
    mantissa, exponent = text.split('p')
    if '.' in mantissa:
        mantissa = mantissa.rstrip('0').rstrip('.')
    return f'{mantissa}p{exponent}{suffix}'


def numbers(values, suffix):
    text = '{' + ', '.join(hexadecimal(v, suffix) for v in values) + '}'
    return textwrap.fill(text, 92, break_long_words=False, break_on_hyphens=False,
                         subsequent_indent='      ')


def config(kind, options):
    defaults = {'SGD': {}, 'Adam': dict(betas=(0.9, 0.999), eps=1e-8),
                'AdamW': dict(betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)}[kind]
    fields = [f'.kind = LKS_OPTIM_{kind.upper()}']
    for name, value in {**defaults, **options}.items():
        if name == 'betas':
            fields += [f'.beta1 = {value[0]}', f'.beta2 = {value[1]}']
        else:
            fields.append(f'.{name} = {str(value).lower()}')
    return '{' + ', '.join(fields) + '}'


HEAD = f'''/* SPDX-License-Identifier: Apache-2.0 */
/* Written by tests/runtime/make_optim_golden.py with torch {torch.__version__}; do not edit. */
/* clang-format off */
'''


def write_optimizers():
    with open(DATA / 'optim_golden.h', 'w') as out:
        out.write(HEAD + f'''enum {{ GOLDEN_COUNT = {COUNT}, GOLDEN_STEPS = {STEPS}, GOLDEN_HALVE_AT = {HALVE_AT} }};

static const struct golden {{
    const char *name;
    lks_optim_config_t config;
    size_t state_count;
    float value[GOLDEN_COUNT]; /* after the last step */
    float state[3][GOLDEN_COUNT];
}} golden[] = {{
''')
        for name, kind, options in CASES:
            value, states = run_optimizer(kind, options)
            assert np.isfinite(value).all() and np.abs(value).max() < 10, name
            joined = ',\n      '.join(numbers(state, 'f') for state in states)
            out.write(f'    {{"{name}",\n     {config(kind, options)},\n     {len(states)},\n'
                      f'     {numbers(value, "f")},\n'
                      f'     {{{joined or "{0}"}}}}},\n')
        out.write('};\n')


def write_schedules():
    with open(DATA / 'lr_golden.h', 'w') as out:
        out.write(HEAD + f'''enum {{ GOLDEN_EPOCHS = {EPOCHS} }};

static const struct golden {{
    const char *description, *name;
    double base_lr, lr[GOLDEN_EPOCHS]; /* after each step */
}} golden[] = {{
''')
        for description, lr, kind, options in SCHEDULES:
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
            scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
            rates = []
            for _ in range(EPOCHS):
                optimizer.step()
                scheduler.step()
                rates.append(scheduler.get_last_lr()[0])
            out.write(f'    {{"{description}", "{kind}", {lr},\n     {numbers(rates, "")}}},\n')
        out.write('};\n')


warnings.simplefilter('error')
write_optimizers()
write_schedules()
