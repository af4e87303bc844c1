# lib.sh - for tests of the program: sourced with $LOCKSTEP (the program) and $TEST_DATA set.
set -u
failures=0
checks=0
work=$(mktemp -d /tmp/lockstep-cli-XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
out=$work/stdout
err=$work/stderr

say_failure() {
    failures=$((failures + 1))
    echo "FAILED: $1"
    sed 's/^/    stderr: /' "$err"
}

# expect CODE REGEX ARG ... : the program exits with CODE and its stderr is one line (other than progress, which
# failures have none of) that matches REGEX.
expect() {
    want=$1
    regex=$2
    shift 2
    checks=$((checks + 1))
    "$LOCKSTEP" "$@" >"$out" 2>"$err" </dev/null
    code=$?
    if [ "$code" -ne "$want" ]; then
        say_failure "lockstep $* : exit $code, wanted $want"
    elif ! tail -n 1 "$err" | grep -qE -- "$regex"; then
        say_failure "lockstep $* : no line like '$regex'"
    elif [ "$(grep -c '^lockstep' "$err")" -ne 1 ]; then
        say_failure "lockstep $* : more than one sentence"
    fi
}

# run ARG ... : the program succeeds.
run() {
    checks=$((checks + 1))
    "$LOCKSTEP" "$@" >"$out" 2>"$err" </dev/null || say_failure "lockstep $* : exit $?"
}

# check TEXT COMMAND ... : the command succeeds.
check() {
    text=$1
    shift
    checks=$((checks + 1))
    "$@" || say_failure "$text"
}

finish() {
    echo "$checks checks, $failures failures"
    [ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
}
