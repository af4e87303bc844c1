# jobs.sh - one training job started in different ways, and whether it is the same job: sourced after lib.sh.
iris="--model mlp:4,8,3 --data $TEST_DATA/iris.csv --optimizer adam --lr 0.02 --batch-size 30 --epochs 20 --seed 0 --val-fraction 0.2"
log_every="--log-every 1"

# trains NAME LAUNCHER ... - one job; its steps go to NAME.log, its checkpoint to NAME/last.pt
trains() {
    name=$1
    shift
    checks=$((checks + 1))
    timeout 100 "$@" --json --save "$work/$name" >"$work/$name.json" 2>"$err" </dev/null ||
        say_failure "$name: exit $?"
    sed -n 's/.*"event": "step".*"global_step": \([0-9]*\).*"loss": \([^,}]*\).*/\1 \2/p' "$work/$name.json" >"$work/$name.log"
    check "$name: more than one log, or none" test "$(grep -c '"event": "start"' "$work/$name.json")" -eq 1
}

# same_as NAME REFERENCE - losses to 1e-6, every value of the checkpoint
same_as() {
    check "$1: no losses" test -s "$work/$2.log"
    check "$1: losses differ from $2" awk '
        NR == FNR { loss[$1] = $2; next }
        { d = loss[$1] - $2; if (!($1 in loss) || d > 1e-6 || d < -1e-6) exit 1; n++ }
        END { if (n == 0) exit 1 }' "$work/$2.log" "$work/$1.log"
    run diff --rtol 1e-5 --atol 1e-6 "$work/$2/last.pt" "$work/$1/last.pt"
}

# wrap N - the program with that many replicas in each process
wrap() {
    printf '#!/bin/sh\nexec "%s" "$@" --devices host:%s\n' "$LOCKSTEP" "$1" >"$work/host$1"
    chmod +x "$work/host$1"
}
