#!/bin/sh
# TorchScript and NumPy archives: what inspect says of them, and what convert makes of them.
. "$(dirname "$0")/lib.sh"
corpus=$TEST_DATA/corpus

# a frozen module: weights among the constants, code among the records
frozen=$corpus/t26_ts_cnn_frozen.pt
run inspect "$frozen"
check "seven tensors" grep -q 'torchscript, .* 7 tensors' "$out"
check "constants by their names in code" grep -qE '^CONSTANTS\.c5 +float32 +\(5, 54\)' "$out"
check "code" grep -qE '^code/__torch__/___torch_mangle_30\.py +record +472 B' "$out"
run inspect --json "$frozen"
check "constants in JSON" grep -q '"constants": {"tensors": \[' "$out"
check "records in JSON" grep -q '{"name": "code/__torch__/___torch_mangle_30.py", "size": 472}' "$out"
run inspect --json "$corpus/t113_iris_sd.pth"
check "no constants" sh -c "! grep -q '\"constants\"' '$out'"
check "records of torch.save's archives" grep -q '{"name": "version", "size": 2}' "$out"
run inspect --json --key fc.0.bias "$corpus/t113_iris_sd.pth"
check "only what was asked for" sh -c "! grep -q '\"records\"' '$out'"
expect 1 "has no parameters.*constants of its code" convert --state-dict "$frozen" "$work/none.pt"
expect 1 "torchscript' is only read" convert --to torchscript "$frozen" "$work/none.pt"

# NumPy's archives: tensors under names, and nothing else
run convert "$corpus/t113_cnn_sd.pth" "$work/a.npz"
run diff "$work/a.npz" "$corpus/t113_cnn_sd.pth"
run convert --state-dict "$corpus/t113_ts_mlp_script.pt" "$work/a.npz"
run inspect "$work/a.npz"
check "a scripted model's tensors" grep -q 'npz, .* 4 tensors' "$out"
expect 1 "value 'bfloat16': NumPy has no arrays of bfloat16" convert "$corpus/t113_all_dtypes.pt" "$work/none.npz"
run convert --drop-unsupported "$corpus/t113_all_dtypes.pt" "$work/a.npz"
check "what was left out is said" grep -q "left out 'bfloat16': NumPy has no arrays" "$err"
run convert --cast bfloat16=float32 "$corpus/t113_all_dtypes.pt" "$work/a.npz"

finish
