#!/bin/sh
# Processes that srun starts are one job, the same that mpirun makes of them, or they end with a sentence: on a Slurm of
# this machine alone (scripts/slurm_node). Without Slurm it is skipped.
[ "${IN_SLURM-}" ] || IN_SLURM=1 exec "$(dirname "$0")/../../scripts/slurm_node" "$0"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/jobs.sh"
wrap 1
wrap 2
wrap 4

# refuses REGEX COMMAND ... - every process of the job says so, and nothing is saved
refuses() {
    regex=$1
    shift
    checks=$((checks + 1))
    # shellcheck disable=SC2086 # flags are words
    timeout 30 "$@" "$work/host2" train $iris --save "$work/refused" >"$out" 2>"$err" </dev/null &&
        say_failure "$*: no failure"
    check "$*: no two lines like '$regex'" test "$(grep -c "^lockstep: $regex" "$err")" -eq 2
    check "$*: saved something" test ! -e "$work/refused"
}

# shellcheck disable=SC2086
trains alone "$work/host4" train $iris $log_every

# starts MPI PLUGIN MPIRUN ... - one job as processes that srun starts, and mpirun where Slurm gave it the cores
starts() {
    mpi=$1
    plugin=--mpi=$2
    shift 2
    [ -e "$LIBDIR/liblockstep_mpi_$mpi.so" ] && srun --mpi=list 2>&1 | grep -qw "${plugin#--mpi=}" || return 0
    # shellcheck disable=SC2086
    trains "$mpi-2x2" srun -n 2 -c 2 "$plugin" "$work/host2" train $iris $log_every
    same_as "$mpi-2x2" alone
    # shellcheck disable=SC2086
    trains "$mpi-4x1" srun -n 4 "$plugin" "$work/host1" train $iris $log_every
    same_as "$mpi-4x1" alone
    command -v "$1" >/dev/null || return 0
    # shellcheck disable=SC2086
    trains "$mpi-mpirun" salloc -Q -n 2 -c 2 "$@" -np 2 "$work/host2" train $iris $log_every
    same_as "$mpi-mpirun" "$mpi-2x2"
}
starts openmpi pmix mpirun.openmpi --allow-run-as-root --oversubscribe --bind-to none
starts mpich pmi2 mpirun.mpich

refuses 'srun started 2 processes that no MPI joins: give it --mpi=pmix' srun -n 2 --mpi=none
if [ -e "$LIBDIR/liblockstep_mpi_mpich.so" ]; then
    refuses 'MPICH does not see the 2 processes' env LOCKSTEP_MPI=mpich srun -n 2 --mpi=none
fi

# Jobs of their own, if that is what is wanted.
checks=$((checks + 1))
# shellcheck disable=SC2086
LOCKSTEP_MPI=none srun -n 2 "$work/host2" train $iris >"$out" 2>"$err" || say_failure "LOCKSTEP_MPI=none: exit $?"
check "LOCKSTEP_MPI=none: not two jobs" test "$(grep -c '^trained' "$out")" -eq 2

# A batch script is one process, whatever it may start later.
printf '#!/bin/sh\n"%s" train %s && touch "%s"\n' "$work/host2" "$iris" "$work/batch.done" >"$work/batch"
check "sbatch does not take the script" sbatch --quiet -n 4 -o "$work/batch.out" "$work/batch"
tries=0
until [ -e "$work/batch.done" ] || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done # what sbatch --wait would do, every few seconds
check "a batch script: not one job" test "$(grep -c '^trained' "$work/batch.out")" -eq 1
finish
