#!/bin/sh
# Bad input gets one clear sentence and the right exit code.
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
small="--model mlp:4,8,3 --devices host --epochs 1"

# the command line
expect 2 "no command"
expect 2 "unknown command 'trian'" trian
expect 2 "unknown flag '--epoch'; did you mean '--epochs'" train --epoch 3
expect 2 "unknown flag '--wibble'" train --wibble
expect 2 "unknown flag '-x'" inspect -x
expect 2 "unexpected argument 'extra'" train extra
expect 2 "--epochs wants a whole number, not 'ten'" train --epochs ten
expect 2 "--batch-size must be at least 1" train --batch-size 0
expect 2 "--lr wants a number" train --lr fast
expect 2 "--epochs wants a value" train --epochs
expect 2 "--json takes no value" train --json=1
expect 2 "--data is missing" train --model mlp:4,3
expect 2 "--model is missing" train --data "$iris"
expect 2 "--optimizer.*'lion'" train --optimizer lion
expect 2 "--bind: wants 'cores' or 'none'" train --bind tight
expect 2 "which file" inspect
expect 2 "the checkpoint is missing" eval --data "$iris"

# the model, the devices, the schedule
expect 2 "resnet" train --model resnet:50 --data "$iris"
expect 2 "mlp" train --model mlp:4 --data "$iris"
expect 2 "mlp" train --model mlp:4,-8,3 --data "$iris"
expect 3 "takes 5 features, .* has 4" train --model mlp:5,8,3 --data "$iris" --devices host
expect 3 "has 2 outputs, .* needs 3" train --model mlp:4,8,2 --data "$iris" --devices host
expect 1 "CUDA" train $small --data "$iris" --devices cuda
expect 1 "CUDA" train $small --data "$iris" --devices cuda:0,2
expect 2 "host:0" train $small --data "$iris" --devices host:0
expect 2 "tpu" train $small --data "$iris" --devices tpu
expect 2 "warmup" train $small --data "$iris" --scheduler warmup:3
expect 2 "fc" train $small --data "$iris" --key-prefix fc
expect 2 "fraction" train $small --data "$iris" --val-fraction 1.5
expect 2 "--load starts a new job, --resume continues one" train $small --data "$iris" --load a.pt --resume a.pt

expect 2 "lr" train $small --data "$iris" --lr -1
expect 2 "key_prefix is not UTF-8" train $small --data "$iris" --key-prefix "$(printf '\377.')"
expect 2 "needs a folder to save in" train $small --data "$iris" --save-every 1
expect 2 "lockstep: .*mlp:4" train --model mlp:4 --data "$iris" --devices host:3
check "a mistake in the settings has no rank" sh -c "! grep -q rank '$err'"

# data
expect 1 "no-such.csv" train $small --data "$work/no-such.csv"
expect 1 "" train $small --data "$work"
printf 'a,b,c,d,y\n1,2,3,4,x\n1,2,3,x\n' >"$work/ragged.csv"
expect 1 "ragged.csv.*line 3" train $small --data "$work/ragged.csv"
printf 'a,b,c,d,y\n1,2,3,4,x\n1,two,3,4,x\n' >"$work/text.csv"
expect 1 "text.csv.*line 3.*two" train $small --data "$work/text.csv"
printf 'a,b,c,d,y\n1,2,3,4,x\n1,nan,3,4,x\n' >"$work/nan.csv"
expect 1 "nan.csv.*line 3" train $small --data "$work/nan.csv"
printf 'a,b,c,d,y\n1,2,3,4,0\n1,2,3,4,7\n' >"$work/label.csv"
expect 1 "label.csv" train $small --data "$work/label.csv"
: >"$work/empty.csv"
expect 1 "empty.csv" train $small --data "$work/empty.csv"
expect 1 "color" train $small --data "$iris" --label color

printf 'a,b,c,d,y\n1,2,3,4,x\n1,2,3,5,y\n' >"$work/two.csv"
expect 2 "too few samples" train --model mlp:4,2 --devices host --epochs 1 --data "$work/two.csv" --val-fraction 0.5

# checkpoints
run train $small --data "$iris" --save "$work/ok"
good=$work/ok/last.pt
expect 1 "no-such.pt.*No such file" inspect "$work/no-such.pt"
expect 1 "" inspect "$work"
: >"$work/empty.pt"
expect 1 "empty.pt" inspect "$work/empty.pt"
echo "this is no checkpoint, it is a sentence" >"$work/text.pt"
expect 1 "text.pt" inspect "$work/text.pt"
size=$(wc -c <"$good")
head -c $((size / 2)) "$good" >"$work/half.pt"
expect 1 "half.pt" inspect "$work/half.pt"
expect 1 "half.pt" eval --load "$work/half.pt" --data "$iris" --devices host
head -c $((size - 1)) "$good" >"$work/short.pt"
expect 1 "short.pt" eval --load "$work/short.pt" --data "$iris" --devices host
# One byte of a weight: found by its checksum, named by its key. data/0 is the first weight.
offset=$(grep -abo 'data/0' "$good" | head -n 1 | cut -d: -f1)
cp "$good" "$work/flip.pt"
printf '\377' | dd of="$work/flip.pt" bs=1 seek=$(((offset / 64 + 1) * 64 + 3)) conv=notrunc 2>/dev/null
expect 1 "flip.pt.*weight.*CRC" eval --load "$work/flip.pt" --data "$iris" --devices host
expect 3 "shape" eval --load "$good" --model mlp:4,9,3 --data "$iris" --devices host
expect 3 "missing" train --model mlp:4,8,8,3 --devices host --data "$iris" --epochs 1 --load "$good"
expect 3 "shape" train --model mlp:4,9,3 --devices host --data "$iris" --load "$good" --save "$work/new"
check "a load that failed left a folder" test ! -e "$work/new"
check "a load that failed says it loaded" sh -c "! grep -q '^loaded' '$err'"
expect 2 "--lr differs from the resumed" train --resume "$good" --lr 0.5
expect 2 "--clip-norm differs from the resumed" train --resume "$good" --clip-norm 0.5
expect 2 "--accumulate differs from the resumed" train --resume "$good" --accumulate 2
expect 2 "--precision differs from the resumed" train --resume "$good" --precision float16
expect 2 "--loss-scale differs from the resumed" train --resume "$good" --loss-scale 8
expect 2 "--grad-average differs from the resumed" train --resume "$good" --grad-average ranks
expect 1 "no-such.pt" train $small --data "$iris" --resume "$work/no-such.pt"

# where it cannot be saved
expect 1 "cannot create the folder" train $small --data "$iris" --save "$work/no/such/folder"
expect 1 "not a folder" train $small --data "$iris" --save "$iris"
expect 2 "the folder for TensorBoard has no name" train $small --data "$iris" --tensorboard ""
expect 2 "the file for the profile has no name" train $small --data "$iris" --profile=
expect 2 "--profile wants a value: FILE" train $small --data "$iris" --profile
# precision
expect 2 "float32, bfloat16 or float16, not 'int8'" train $small --data "$iris" --precision int8
expect 2 "'auto', 'none' or a number, not 'dynamic'" train $small --data "$iris" --loss-scale dynamic
expect 2 "the loss scale is -1; it must be finite and above 0" train $small --data "$iris" --loss-scale -1
expect 2 "the loss scale is inf; it must be finite and above 0" train $small --data "$iris" --loss-scale 1e60
# how gradients are exchanged
expect 2 "--clip-norm must be at least 0, not -1" train $small --data "$iris" --clip-norm -1
expect 2 "--clip-value wants a number, not 'much'" train $small --data "$iris" --clip-value much
expect 2 "--accumulate must be at least 1, not 0" train $small --data "$iris" --accumulate 0
expect 2 "9223372036854775807 batches of 32 samples are no step" train $small --data "$iris" --accumulate 9223372036854775807
expect 2 "averaged over 'samples' or 'ranks', not 'devices'" train $small --data "$iris" --grad-average devices
expect 2 "--bucket-mb must be at least 0, not -25" train $small --data "$iris" --bucket-mb -25
expect 2 "the first of 1e[+]300; both must be 0 to" train $small --data "$iris" --first-bucket-mb 1e300
expect 2 "--timeout must be at least 0, not -3" train $small --data "$iris" --timeout -3
expect 2 "timeout is 1e[+]20 s; it must be above 0" train $small --devices host:2 --data "$iris" --timeout 1e20
expect 1 "cannot create the folder '$work/no/such'" train $small --data "$iris" --tensorboard "$work/no/such"
expect 1 "'$iris': it is not a folder" train $small --data "$iris" --tensorboard "$iris" --profile "$work/trace.json"
expect 1 "$work/no/trace.json" train $small --data "$iris" --tensorboard "$work/tb" --profile "$work/no/trace.json"
check "a file that cannot be begun left others" test ! -e "$work/tb" -a ! -e "$work/trace.json"
expect 1 "$work" train $small --data "$iris" --profile "$work"
if command -v setpriv >/dev/null && [ "$(id -u)" = 0 ]; then
    mkdir "$work/locked"
    chmod 755 "$work" "$work/locked"
    checks=$((checks + 1))
    # As nobody, if the program can be reached as nobody at all.
    if setpriv --reuid=65534 --clear-groups "$LOCKSTEP" --version >/dev/null 2>&1; then
        setpriv --reuid=65534 --clear-groups "$LOCKSTEP" train $small --data "$iris" \
            --save "$work/locked" >"$out" 2>"$err"
        code=$?
        { [ $code -eq 1 ] && grep -q "cannot save in .*Permission denied" "$err"; } ||
            say_failure "saving in a folder without permission: exit $code"
    fi
fi
if [ -c /dev/full ]; then
    checks=$((checks + 1))
    "$LOCKSTEP" inspect "$good" >/dev/full 2>"$err"
    code=$?
    { [ $code -eq 1 ] && grep -q "cannot write the result" "$err"; } ||
        say_failure "inspect onto a full device: exit $code"
fi
finish
