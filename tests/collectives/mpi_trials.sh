#!/bin/sh
# mpi_trials.sh openmpi|mpich MPI_JOB - ranks in several processes: that they compute what they should, and how they end.
set -u
mpi=$1
launcher=mpirun.$mpi
command -v "$launcher" >/dev/null || { echo "skipped: there is no $launcher"; exit 77; }
folder=$(mktemp -d) red=0
trap 'rm -rf "$folder"' EXIT
out=$folder/out job=$folder/mpi_job # a name that no other test's processes have
ln -s "$2" "$job"
case $mpi in
    openmpi) options="--allow-run-as-root --oversubscribe --bind-to none" ;;
    *) options= ;;
esac

# launch PROCESSES RANKS TRIAL [TIMEOUT] - what it says goes to $out
launch() {
    processes=$1
    shift
    # shellcheck disable=SC2086 # options are words
    timeout -k 1 60 "$launcher" $options -np "$processes" "$job" "$@" >"$out" 2>&1
}

complain() {
    echo "$mpi: $*:"
    cat "$out"
    red=1
}

works() { launch "$@" || complain "$* ended with $?"; }

# ends_with TEXT PROCESSES RANKS TRIAL - some rank says TEXT, everything ends in time, and no process is left
ends_with() {
    text=$1
    shift
    begin=$(date +%s)
    launch "$@" 1.5 && complain "$* did not fail"
    took=$(($(date +%s) - begin))
    grep -q "$text" "$out" || complain "$*: '$text' was not said"
    [ $took -le 6 ] || complain "$* took $took s" # a launcher's start and end in it
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$(ps -eo stat=,args= | awk -v job="$job" '$1 !~ /^Z/ && $2 == job')" ] || return 0
        sleep 0.3
    done
    complain "$*: a process is left"
}

for layout in "2 1" "3 1" "1 3" "2 2" "4 1"; do
    # shellcheck disable=SC2086 # two words
    works $layout random
done
works 2 1 dtypes
works 2 2 moves
works 2 1 stage
works 2 2 million
works 2 1 reuse
works 4 2 small-buckets

# memory that all processes see
for layout in "2 1" "2 3" "3 1"; do
    # shellcheck disable=SC2086 # two words
    works $layout shared
done
works 2 1 partly-shared
works 2 2 partly-shared
works 2 2 memories
works 2 2 sizes
limited=$folder/limited # rank 1's process may make no file of over 32 MiB
{
    printf '#!/bin/sh\n[ "${OMPI_COMM_WORLD_RANK-${PMI_RANK-}}" = 1 ] && trap "" XFSZ && ulimit -f 65536\n'
    printf 'exec "%s" "$@"\n' "$job"
} >"$limited"
chmod +x "$limited"
job=$limited
works 2 2 fall-back
grep -q "memory that processes would share is private, which is slower: File too large" "$out" ||
    complain "that memory is private was not said"
job=$folder/mpi_job

other="collective 2: rank 0 called all_reduce of 100000 float32 (sum), rank 1 called"
late="collective 2, all_reduce of 100000 float32 (sum): rank 1 did not come within 1.5 s"
for layout in "2 1" "2 2"; do
    # shellcheck disable=SC2086 # two words
    {
        ends_with "$other all_reduce of 99999" $layout count
        ends_with "rank 1 called all_reduce of 100000" $layout small-count
        ends_with "$other barrier" $layout collective
        ends_with "$late" $layout stall
        ends_with "rank 1: I/O error: disk full" $layout fail
        ends_with "sum), rank 1 called all_reduce of 99999" $layout seen-count
        ends_with "rank 1 called all_reduce of 100000" $layout seen-small-count
        ends_with "all_reduce of 100000 float32 (sum): rank 1 did not come within 1.5 s" $layout seen-stall
        ends_with "" $layout kill # the launcher ends the others
    }
done
ends_with "$late" 2 1 stop
# the same by messages, as between machines
LOCKSTEP_MPI_MESSAGES=1
export LOCKSTEP_MPI_MESSAGES
works 2 1 random
works 2 2 random
works 3 1 dtypes
works 2 2 million
works 2 1 overlap
works 2 2 overlap
works 3 1 overlap
works 2 2 memories
ends_with "$other all_reduce of 99999" 2 2 count
ends_with "rank 1 did not come within 1.5 s" 2 1 stall
ends_with "rank 1: I/O error: disk full" 2 2 fail

# A process that never gets to MPI: the others wait longer for it, but not for ever.
stopped=$folder/stopped
printf '#!/bin/sh\n[ "${OMPI_COMM_WORLD_RANK-${PMI_RANK-}}" = 1 ] && kill -STOP $$\nexec "%s" "$@"\n' "$job" >"$stopped"
chmod +x "$stopped"
job=$stopped
launch 2 1 random 1.5 && complain "it started without a process"
grep -q "the processes of this job did not all start within 20 s" "$out" || complain "that a process is missing was not said"
[ -z "$(ps -eo args= | grep -F "$stopped" | grep -v grep)" ] || complain "a process is left"
exit $red
