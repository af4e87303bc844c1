#!/bin/sh
# Ctrl-C finishes the step, saves and exits cleanly; the job goes on from there with the same bits.
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
job="--model mlp:4,16,3,dropout=0.2 --devices host:3 --optimizer adam --batch-size 16 --data $iris --seed 5"
hashes() {
    "$LOCKSTEP" inspect --json --hash "$1" | sed -n 's/.*"path": "\([^"]*\)".*"sha256": "\([0-9a-f]*\)".*/\1 \2/p'
}

# interrupt_and_resume FLAG
interrupt_and_resume() {
    "$LOCKSTEP" train $job --epochs 1000000 $1 --save "$work/cut" >"$out" 2>"$err" &
    pid=$!
    sleep 1
    kill -INT "$pid"
    wait "$pid"
    code=$?
    check "exit $code after SIGINT" test "$code" -eq 0
    check "no word of the interruption" grep -q "interrupted after step" "$err"
    check "no result" grep -q "^stopped after" "$out"
    run inspect --hash "$work/cut/last.pt"
    steps=$("$LOCKSTEP" inspect --json "$work/cut/last.pt" | sed -n 's/.*"lockstep.rng.step", "value": \([0-9]*\).*/\1/p')
    check "no step count in the checkpoint" test -n "$steps"
    goal=$((steps + 37))
    run train $1 --resume "$work/cut/last.pt" --devices host:3 --epochs 0 --max-steps $goal --save "$work/resumed"
    run train $job --epochs 0 --max-steps $goal --save "$work/whole"
    hashes "$work/resumed/last.pt" >"$work/a"
    hashes "$work/whole/last.pt" >"$work/b"
    check "no hashes" test -s "$work/a"
    check "resumed and uninterrupted weights differ" cmp -s "$work/a" "$work/b"
    rm -r "$work/cut" "$work/resumed" "$work/whole"
}

interrupt_and_resume --no-async-save
interrupt_and_resume --async-save
finish
