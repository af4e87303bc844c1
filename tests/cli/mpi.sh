#!/bin/sh
# One job as threads of one process, as processes of one machine, and as processes of two: the same losses, the same bits
# in one checkpoint. MPI, the launcher's options, and two "machines" (network namespaces, which only root can make) are
# what it needs; what is missing is skipped with a word.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/jobs.sh"
fashion="--model mlp:784,64,10 --data fashion-mnist --optimizer sgd --momentum 0.9 --batch-size 200 --epochs 0 --max-steps 40 --seed 1"
have_fashion=
[ -d /usr/share/datasets/fashion-mnist ] && have_fashion=1

# jobs LAYOUT LAUNCHER ... - both jobs
jobs() {
    layout=$1
    shift
    # shellcheck disable=SC2086 # flags are words
    trains "iris-$layout" "$@" train $iris $log_every
    same_as "iris-$layout" iris
    if [ "$have_fashion" ]; then
        # shellcheck disable=SC2086
        trains "fashion-$layout" "$@" train $fashion $log_every
        same_as "fashion-$layout" fashion
    fi
}

wrap 1
wrap 2
wrap 4

# shellcheck disable=SC2086
trains iris "$work/host4" train $iris $log_every
# shellcheck disable=SC2086
[ "$have_fashion" ] && trains fashion "$work/host4" train $fashion $log_every

for mpi in openmpi mpich; do
    mpirun=$(command -v mpirun.$mpi) || continue
    [ -e "$LIBDIR/liblockstep_mpi_$mpi.so" ] || continue
    options=
    [ $mpi = openmpi ] && options="--allow-run-as-root --oversubscribe --bind-to none"
    # shellcheck disable=SC2086
    jobs "$mpi-2x2" "$mpirun" $options -np 2 "$work/host2"
    # shellcheck disable=SC2086
    jobs "$mpi-4x1" "$mpirun" $options -np 4 "$work/host1"
    launched=1
done
[ "${launched-}" ] || { echo "skipped: this build has no MPI, or this machine no mpirun"; exit 77; }

# A failure is said once for each process that met it, in front of it the rank; the checkpoint of before is whole.
if command -v mpirun.openmpi >/dev/null && [ -e "$LIBDIR/liblockstep_mpi_openmpi.so" ]; then
    mkdir -p "$work/failing/epoch-0002.pt" # a folder in the way of the second save
    # shellcheck disable=SC2086
    timeout 60 mpirun.openmpi --allow-run-as-root --oversubscribe --bind-to none -np 2 "$work/host2" train $iris \
        --save "$work/failing" --save-every 1 >"$out" 2>"$err"
    check "a failed save ended with $?" test $? -ne 0
    check "rank 0 is not named" grep -q "rank 0: .*epoch-0002.pt" "$err"
    run verify "$work/failing/last.pt"
fi

# Two machines with an address each: network namespaces of their own, with names, IPC and /dev/shm of their own.
two_machines() {
    a=lks-a-$$ b=lks-b-$$
    ip netns add $a 2>/dev/null || return 1
    trap 'ip netns del $a; ip netns del $b; rm -rf "$work"' EXIT
    ip netns add $b &&
        ip link add eth0 netns $a type veth peer name eth0 netns $b &&
        ip -n $a addr add 10.77.0.1/24 dev eth0 && ip -n $b addr add 10.77.0.2/24 dev eth0 &&
        ip -n $a link set lo up && ip -n $b link set lo up &&
        ip -n $a link set eth0 up && ip -n $b link set eth0 up || return 1
    printf '10.77.0.1 slots=2\n10.77.0.2 slots=2\n' >"$work/hosts"
    cat >"$work/agent" <<EOS
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
case \$1 in 10.77.0.1) machine=$a ;; *) machine=$b ;; esac
shift
exec ip netns exec \$machine unshare --uts --ipc --mount sh -c "hostname \$machine; mount -t tmpfs none /dev/shm; \$*"
EOS
    cat >"$work/on_two" <<EOS
#!/bin/sh
exec "$work/agent" 10.77.0.1 mpirun.openmpi --allow-run-as-root --oversubscribe --bind-to none --hostfile "$work/hosts" \
    --mca plm_rsh_agent "$work/agent" --mca oob_tcp_if_include 10.77.0.0/24 --mca btl_tcp_if_include 10.77.0.0/24 \
    -x LOCKSTEP_LIBDIR "\$@"
EOS
    chmod +x "$work/agent" "$work/on_two"
}

if command -v mpirun.openmpi >/dev/null && command -v ip >/dev/null && [ "$(id -u)" -eq 0 ] && two_machines; then
    jobs two-machines-2x1 "$work/on_two" -np 4 "$work/host1"
    jobs two-machines-1x2 "$work/on_two" -np 2 --map-by node "$work/host2"
else
    echo "not tried: two machines, which are network namespaces that only root can make"
fi
finish
