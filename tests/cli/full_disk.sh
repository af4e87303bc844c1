#!/bin/sh
# A full disk while saving: one sentence, exit 1, and the checkpoint that was there is still there and valid.
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
disk=$work/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=96k tmpfs "$disk" 2>/dev/null; then
    echo "SKIPPED: mounting a small tmpfs needs root"
    exit 77
fi
trap 'umount "$disk"; rm -rf "$work"' EXIT
run train --model mlp:4,8,3 --devices host --epochs 1 --data "$iris" --save "$disk"
before=$(sha256sum <"$disk/last.pt")
ls "$disk" | sort >"$work/files"
head -c 1M /dev/zero >"$disk/filler" 2>/dev/null
expect 1 "(best|last).pt.*No space left" train --model mlp:4,8,3 --devices host:2 --epochs 1 --data "$iris" --save "$disk"
expect 1 "(best|last).pt.*No space left" train --model mlp:4,8,3 --devices host:2 --epochs 1 --data "$iris" --save "$disk" \
    --async-save
expect 1 "tfevents.*No space left" train --model mlp:4,8,3 --devices host:2 --epochs 1 --data "$iris" --tensorboard "$disk"
expect 1 "trace.json.*No space left" train --model mlp:4,8,3 --devices host:2 --epochs 1 --data "$iris" \
    --profile "$disk/trace.json"
rm "$disk/filler"
check "the old checkpoint changed" test "$before" = "$(sha256sum <"$disk/last.pt")"
run inspect --hash "$disk/last.pt"
run eval --load "$disk/last.pt" --data "$iris" --devices host
ls "$disk" | sort >"$work/files.after"
check "something was left behind: $(cat "$work/files.after")" cmp -s "$work/files" "$work/files.after"
# A model that does not fit beside the old file: found out before training is lost elsewhere.
expect 1 "No space left" train --model mlp:4,4000,3 --devices host --epochs 1 --data "$iris" --save "$disk"
check "the old checkpoint changed" test "$before" = "$(sha256sum <"$disk/last.pt")"
finish
