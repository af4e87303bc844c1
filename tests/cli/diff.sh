#!/bin/sh
# diff: what counts as a difference, and what it exits with.
. "$(dirname "$0")/lib.sh"
corpus=$TEST_DATA/corpus
# differs CODE ARG ... : diff exits with CODE and says nothing on stderr.
differs() {
    want=$1
    shift
    checks=$((checks + 1))
    "$LOCKSTEP" diff "$@" >"$out" 2>"$err"
    code=$?
    { [ $code -eq "$want" ] && [ ! -s "$err" ]; } || say_failure "diff $* : exit $code, wanted $want"
}
differs 0 "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_sd_proto4.pth"
check "equal is said" grep -q 'are equal: 4 values' "$out"
differs 3 "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_dp_sd.pth"
check "what is gone" grep -q '^- fc.0.weight$' "$out"
check "what is new" grep -q '^+ module.fc.0.weight$' "$out"
check "the counts" grep -q '0 changed, 4 only in the first, 4 only in the second, 0 equal' "$out"
differs 3 --quiet "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_dp_sd.pth"
check "quiet is one line" test "$(wc -l <"$out")" -eq 1
differs 0 --canonical wrappers "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_dp_dp_sd.pth"
differs 3 --strict "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_cuda_tag_sd.pth"
check "a device tag counts when strict" grep -q 'fc.0.weight: device cpu -> cuda' "$out"
differs 0 "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_cuda_tag_sd.pth"
# cast to bfloat16: another dtype, and near
run convert --cast bfloat16 "$corpus/t113_cnn_sd.pth" "$work/bf16.pt"
differs 3 "$corpus/t113_cnn_sd.pth" "$work/bf16.pt"
check "a dtype counts" grep -q '^~ conv1.weight: float32 -> bfloat16$' "$out"
differs 3 --ignore-dtype "$corpus/t113_cnn_sd.pth" "$work/bf16.pt"
check "how far off" grep -qE '^~ conv1.weight: [0-9]+ of 27 elements, at most by 0.00[0-9]+ ' "$out"
differs 0 --ignore-dtype --rtol 0.01 "$corpus/t113_cnn_sd.pth" "$work/bf16.pt"
# values that are no tensors
differs 3 --json "$corpus/t113_save_checkpoint_best.pth.tar" "$corpus/t113_tutorial_ckpt.tar"
check "the JSON is JSON" python3 -c "import json, sys; d = json.load(open('$out')); sys.exit(not (d['missing'] and d['differences']))"
# Strided tensors beside packed ones, and one tensor in two places
differs 0 "$corpus/t113_views.pt" "$corpus/t113_views.pt"
run convert --to npz "$corpus/t113_views.pt" "$work/views.npz"
differs 0 "$corpus/t113_views.pt" "$work/views.npz"
differs 0 --only tensors "$corpus/t113_scalars.pt" "$corpus/t113_bare_int.pt"
# A file that cannot be read is no difference.
expect 1 "no-such.pt" diff "$corpus/t113_iris_sd.pth" "$work/no-such.pt"
expect 2 "which two files" diff "$corpus/t113_iris_sd.pth"
expect 2 "not negative" diff --rtol -1 "$corpus/t113_iris_sd.pth" "$corpus/t113_iris_sd.pth"
expect 1 "limit of 2000 bytes" diff --memory-limit 2000 "$corpus/t113_cnn_sd.pth" "$corpus/t113_cnn_sd.pth"
finish
