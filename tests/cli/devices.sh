#!/bin/sh
# lockstep devices: this machine, and others that hwloc describes in its place.
. "$(dirname "$0")/lib.sh"

# says LINE: stdout has exactly this line.
says() {
    check "no line '$1' in: $(cat "$out")" grep -qxF -- "$1" "$out"
}

# holds EXPRESSION: true of the JSON on stdout, with machine, nodes and devices as m, n and d.
holds() {
    check "not so: $1, in: $(cat "$out")" python3 -c "
import json, sys
report = json.load(open('$out'))
m, n, d = (report[key] for key in ('machine', 'nodes', 'devices'))
sys.exit(not ($1))"
}

# No CUDA here: a file that is no library stands where its backend would be found first.
mkdir "$work/no_cuda"
echo nothing >"$work/no_cuda/liblockstep_cuda.so"
export LOCKSTEP_LIBDIR="$work/no_cuda"
unset HWLOC_SYNTHETIC HWLOC_XMLFILE HWLOC_THISSYSTEM

# this machine
run devices
check "the first line counts" grep -qE '^[0-9]+ packages?, [0-9]+ NUMA nodes?, [0-9]+ cores?, [0-9]+ processing units?' "$out"
check "a line for a node" grep -qE '^node [0-9]+: ' "$out"
check "auto is the host" grep -qE '^host: [0-9]+ cores? of packages? [0-9-]+, nodes? [0-9,-]+, its own; [0-9]+ threads?, (each )?bound to ' "$out"
check "nothing else to say" test ! -s "$err"
run devices --json
holds "m['this_machine'] and 1 <= m['allowed_cores'] <= m['cores'] <= m['processing_units']"
holds "len(d) == 1 and d[0]['name'] == 'host' and d[0]['threads'] == m['allowed_cores'] == len(d[0]['pus'])"
holds "set(d[0]['pus']) <= {pu for node in n for pu in node['allowed_pus']}"
holds "m['allowed_processing_units'] == len(__import__('os').sched_getaffinity(0))"
if command -v taskset >/dev/null; then
    one=$(python3 -c "import os; print(max(os.sched_getaffinity(0)))")
    checks=$((checks + 1))
    taskset -c "$one" "$LOCKSTEP" devices --json >"$out" 2>"$err" || say_failure "under taskset"
    holds "m['allowed_cores'] == m['allowed_processing_units'] == 1"
    holds "d[0]['pus'] == [$one] and [node['allowed_pus'] for node in n if node['allowed_pus']] == [[$one]]"
fi

# two sockets with 64 cores of two threads
export HWLOC_SYNTHETIC="pack:2 [numa(memory=64GB)] core:64 pu:2"
run devices --devices host:2
says "2 packages, 2 NUMA nodes, 128 cores, 256 processing units"
says "not this machine: hwloc's variables describe it, and no thread is bound to it"
says "node 0: package 0, 64 GB, 64 cores, processing units 0-127"
says "node 1: package 1, 64 GB, 64 cores, processing units 128-255"
says "host:0: 64 cores of package 0, node 0, its own; 64 threads, each bound to one of 0-126:2"
says "host:1: 64 cores of package 1, node 1, its own; 64 threads, each bound to one of 128-254:2"
run devices --devices host:3 --bind none
says "host:1: 43 cores of packages 0-1, nodes 0-1, its own; 43 threads, not bound"
run devices --devices host:2 --json
holds "m == {'this_machine': False, 'packages': 2, 'cores': 128, 'allowed_cores': 128, 'processing_units': 256, 'allowed_processing_units': 256}"
holds "n[1] == {'node': 1, 'packages': [1], 'memory': 64 * 10**9, 'memory_allowed': True, 'cores': 64, 'allowed_cores': 64, 'pus': list(range(128, 256)), 'allowed_pus': list(range(128, 256))}"
holds "d[1] == {'name': 'host:1', 'at_node': None, 'packages': [1], 'nodes': [1], 'cores': 64, 'exclusive': True, 'threads': 64, 'binding': 'cores', 'pus': list(range(128, 256, 2))}"
run devices --devices host:2 --json --bind none
holds "[device['binding'] for device in d] == ['none', 'none']"

# two nodes with 4 cores for three devices: nobody straddles, and the slowest has as many cores as before
HWLOC_SYNTHETIC="numa:2 core:4 pu:1"
run devices --devices host:3 --json
holds "[(device['nodes'], device['pus']) for device in d] == [([0], [0, 1, 2, 3]), ([1], [4, 5]), ([1], [6, 7])]"

# packages without nodes of their own; a machine that shows no cores
HWLOC_SYNTHETIC="pack:2 core:4 pu:1"
run devices --devices host
says "node 0: packages 0-1, 1.07 GB, 8 cores, processing units 0-7"
HWLOC_SYNTHETIC="pu:3"
run devices
says "1 package, 1 NUMA node, 3 cores, 3 processing units"

# a single core, and more devices than cores
HWLOC_SYNTHETIC="core:1 pu:2"
run devices
says "1 package, 1 NUMA node, 1 core, 2 processing units"
says "host: 1 core of package 0, node 0, its own; 1 thread, bound to 0"
run devices --devices host:3
says "host:2: 1 core of package 0, node 0, shared; 1 thread, bound to 0"
HWLOC_SYNTHETIC="core:2 pu:1"
run devices --devices host:4 --json
holds "[(device['pus'], device['exclusive']) for device in d] == [([0], False), ([0], False), ([1], False), ([1], False)]"

# a cpuset of 1 core of the first package and 2 of the second; memory of the first alone
unset HWLOC_SYNTHETIC
export HWLOC_XMLFILE="$TEST_DATA/machines/restricted.xml"
run devices --devices host:2
says "2 packages, 2 NUMA nodes, 8 cores, 16 processing units; this process may use 3 cores, 6 processing units"
says "node 0: package 0, 8 GB, 4 cores (1 allowed), processing units 0-7 (allowed: 2-3)"
says "node 1: package 1, 8 GB, 4 cores (2 allowed), processing units 8-15 (allowed: 8-11)"
says "host:0: 1 core of package 0, node 0, its own; 1 thread, bound to 2"
says "host:1: 2 cores of package 1, node 1, its own; 2 threads, each bound to one of 8,10"
sed 's/allowed_nodeset="0x00000003"/allowed_nodeset="0x00000001"/' "$HWLOC_XMLFILE" >"$work/memory.xml"
HWLOC_XMLFILE="$work/memory.xml"
run devices
says "node 1: package 1, 8 GB (not allowed), 4 cores (2 allowed), processing units 8-15 (allowed: 8-11)"
run devices --json
holds "[node['memory_allowed'] for node in n] == [True, False] and [node['allowed_pus'] for node in n] == [[2, 3], [8, 9, 10, 11]]"
unset HWLOC_XMLFILE

# 8 make-believe GPUs on 4 nodes
export HWLOC_SYNTHETIC="pack:2 numa:2 core:8 pu:2" LOCKSTEP_LIBDIR="$LEAVES" FAKE_CUDA_DEVICES=8 FAKE_CUDA_NODES=11003322
run devices
says "cuda:0 (at node 1): 4 cores of package 0, node 1, its own; 4 threads, each bound to one of 16-22:2"
says "cuda:7 (at node 2): 4 cores of package 1, node 2, its own; 4 threads, each bound to one of 40-46:2"
run devices --devices cuda:7,0 --json
holds "[(device['name'], device['at_node'], device['nodes'], device['cores']) for device in d] == [('cuda:7', 2, [2], 8), ('cuda:0', 1, [1], 8)]"
FAKE_CUDA_NODES=1100332
run devices --json
holds "d[7]['at_node'] is None and d[7]['nodes'] == [2] and d[7]['exclusive']"
unset FAKE_CUDA_NODES
run devices --devices cuda
says "cuda:0: 4 cores of package 0, node 0, its own; 4 threads, each bound to one of 0-6:2"
export LOCKSTEP_LIBDIR="$work/no_cuda"
unset FAKE_CUDA_DEVICES

# a job on a machine that is not this one says so, and goes on
run train --model mlp:4,8,3 --devices host:2 --epochs 1 --data "$TEST_DATA/iris.csv"
check "threads are not bound, and it says so" sh -c "grep -c 'threads run unbound' '$err' | grep -qx 1"
unset HWLOC_SYNTHETIC

# what cannot be shown
expect 1 "no CUDA device" devices --devices cuda
expect 2 "'host:0'" devices --devices host:0
expect 2 "--bind: wants 'cores' or 'none'" devices --bind tight
expect 2 "unknown flag '--device'; did you mean '--devices'" devices --device host
expect 2 "unexpected argument 'host:2'" devices host:2
if [ -c /dev/full ]; then
    checks=$((checks + 1))
    "$LOCKSTEP" devices >/dev/full 2>"$err"
    code=$?
    { [ $code -eq 1 ] && grep -q "cannot write the result" "$err"; } || say_failure "onto a full device: exit $code"
fi
finish
