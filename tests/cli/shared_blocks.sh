#!/bin/sh
# On a file system where files can share blocks, renaming into a new file takes kilobytes of the disk, not a copy.
. "$(dirname "$0")/lib.sh"
disk=$work/disk
mkdir "$disk"
truncate -s 400M "$work/image"
if ! mkfs.xfs -q -m reflink=1 "$work/image" 2>"$err" || ! mount -o loop "$work/image" "$disk" 2>"$err"; then
    echo "SKIPPED: a loop-mounted XFS needs xfsprogs, root and a loop device: $(tail -n 1 "$err")"
    exit 77
fi
trap 'umount "$disk"; rm -rf "$work"' EXIT

# kilobytes of the disk that are in use
used() { sync -f "$disk" && df -k --output=used "$disk" | tail -n 1; }

run train --model mlp:4,400000,3 --devices host --epochs 0 --max-steps 1 --data "$TEST_DATA/iris.csv" --save "$disk"
rm -f "$disk/best.pt"
whole=$(($(stat -c %s "$disk/last.pt") / 1024))
before=$(used)
run convert --add-prefix module. "$disk/last.pt" "$disk/shared.pt"
shared=$(($(used) - before))
check "$whole kB became $shared more" test "$shared" -lt $((whole / 4))
run verify "$disk/shared.pt"
run inspect "$disk/shared.pt"
check "nothing was renamed" grep -q 'module\.' "$out"
run convert --strip-prefix module. "$disk/shared.pt" "$disk/back.pt"
run diff --strict "$disk/last.pt" "$disk/back.pt"

# The two go their own ways.
run convert --in-place --strip-prefix module. "$disk/shared.pt"
run diff --strict "$disk/last.pt" "$disk/shared.pt"
run verify "$disk/last.pt"

# A copy takes a copy's room: the measure measures.
before=$(used)
run convert --cast bfloat16 "$disk/last.pt" "$disk/copy.pt"
copied=$(($(used) - before))
check "a converted file of $whole kB took $copied" test "$copied" -gt $((whole / 4))
finish
