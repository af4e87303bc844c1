#!/bin/sh
# kill -9 at any moment leaves whole checkpoints: every save goes to a temporary file first. The next save sweeps it.
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
for delay in 0.05 0.11 0.17 0.23 0.29 0.35 0.41 0.47; do
    case $delay in *[37]) how=--async-save ;; *) how=--no-async-save ;; esac
    "$LOCKSTEP" train --model mlp:4,64,64,3 --devices host:2 --epochs 100000 --data "$iris" \
        --save "$work/run" --save-every-steps 1 $how >"$out" 2>"$err" &
    pid=$!
    sleep "$delay"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    for file in "$work"/run/*.pt; do
        [ -e "$file" ] && run inspect --hash "$file"
    done
    last=$work/run/last.pt
    [ -e "$last" ] && run train --resume "$last" --max-steps 1 --devices host
    run train --model mlp:4,3 --devices host --epochs 1 --data "$iris" --save "$work/run"
    for left in "$work"/run/.last.pt.*.tmp; do
        [ ! -e "$left" ] || check "$left was left behind" false
    done
    rm -rf "$work/run"
done
finish
