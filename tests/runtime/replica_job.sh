#!/bin/sh
# replica_job.sh openmpi|mpich REPLICA_JOB - the same ranks as threads, as processes, and as both: every feature of replicas
# ends with the same bits.
set -u
mpi=$1 job=$2
launcher=mpirun.$mpi
command -v "$launcher" >/dev/null || { echo "skipped: there is no $launcher"; exit 77; }
folder=$(mktemp -d) red=0
trap 'rm -rf "$folder"' EXIT
case $mpi in
    openmpi) options="--allow-run-as-root --oversubscribe --bind-to none" ;;
    *) options= ;;
esac

# same PROCESSES RANKS - ranks of each process
same() {
    processes=$1 ranks=$2 all=$(($1 * $2))
    threads=$folder/threads$all
    [ -e "$threads" ] || timeout 60 "$job" threads $all >"$threads" 2>&1 || red=1
    # shellcheck disable=SC2086 # options are words
    timeout -k 1 60 "$launcher" $options -np "$processes" "$job" mpi "$ranks" >"$folder/processes" 2>&1 || red=1
    diff "$threads" "$folder/processes" && return
    echo "$mpi: $all threads and $processes processes of $ranks differ"
    red=1
}

same 2 1
same 2 2
same 4 1

# processes of different sizes: ranks end with the same numbers
# shellcheck disable=SC2086
timeout -k 1 60 "$launcher" $options -np 1 "$job" mpi 1 : -np 1 "$job" mpi 2 >/dev/null || red=1

# memory does not grow with the steps; REPLICA_SOAK=10000 takes a while
steps=${REPLICA_SOAK:-50}
timeout $((60 + steps)) "$job" threads 2 "$steps" || red=1
# shellcheck disable=SC2086
timeout -k 1 $((60 + steps)) "$launcher" $options -np 2 "$job" mpi 1 "$steps" || red=1
exit $red
