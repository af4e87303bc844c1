#!/bin/sh
# The two main jobs learn what they should: iris 95 % on held-out flowers (mean over ten seeds, three replicas) and
# Fashion-MNIST 88 % on its test images (two replicas).
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
total=0
for seed in 0 1 2 3 4 5 6 7 8 9; do
    run train --model mlp:4,8,3 --data "$iris" --devices host:3 --optimizer adam --lr 0.02 --batch-size 24 --epochs 60 \
        --val-fraction 0.2 --seed $seed --json
    accuracy=$(tail -n 1 "$out" | sed -n 's/.*"val_accuracy": \([0-9.]*\).*/\1/p')
    echo "iris, seed $seed: $accuracy % of 30 held-out flowers"
    total=$(echo "$total $accuracy" | awk '{printf "%.4f", $1 + $2}')
done
mean=$(echo "$total" | awk '{printf "%.2f", $1 / 10}')
echo "iris: mean $mean %"
check "iris reaches only $mean %" awk "BEGIN { exit !($mean >= 95) }"

folder=${LOCKSTEP_DATA_DIR:-/usr/share/datasets}/fashion-mnist
if [ ! -d "$folder" ]; then
    echo "Fashion-MNIST is not here (Debian: dataset-fashion-mnist): not tried"
    [ -z "${LOCKSTEP_REQUIRE_TORCH:-}" ] || check "CI needs Fashion-MNIST" false
    finish
    exit
fi
run train --model mlp:784,512,256,10 --data fashion-mnist --devices host:2 --optimizer adam --lr 0.001 --batch-size 128 \
    --epochs 8 --scheduler cosine:8 --save "$work/fashion"
run eval --load "$work/fashion/last.pt" --data fashion-mnist --json
accuracy=$(sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' "$out")
check "all test images" grep -q '"count": 10000' "$out"
echo "fashion-mnist: $accuracy % of 10000 test images"
check "Fashion-MNIST reaches only $accuracy %" awk "BEGIN { exit !($accuracy >= 88) }"
finish
