#!/bin/sh
# Help, version, streams and the shapes of results.
. "$(dirname "$0")/lib.sh"
iris=$TEST_DATA/iris.csv
run --version
check "version" grep -qE '^lockstep [0-9]+\.[0-9]+\.[0-9]+$' "$out"
run --help
for command in train eval predict inspect verify diff convert devices; do
    check "$command is not in --help" grep -q "^  $command " "$out"
done
for command in train eval predict inspect verify diff convert devices; do
    "$LOCKSTEP" $command --help >"$work/help" 2>"$err"
    check "$command --help failed" test $? -eq 0
    check "$command --help is empty" grep -q "usage: lockstep $command" "$work/help"
    check "$command --help spoke to stderr" test ! -s "$err"
done
run train --model mlp:4,8,3 --devices host:3 --optimizer adam --lr 0.02 --epochs 30 --batch-size 30 --data "$iris" \
    --val-fraction 0.2 --key-prefix fc. --save "$work/run" --save-every 10
check "result on stdout" grep -q '^trained after 30 epochs' "$out"
check "progress on stderr" grep -q '^epoch 30/30' "$err"
for file in epoch-0010.pt epoch-0020.pt epoch-0030.pt last.pt best.pt; do
    check "$file is missing" test -f "$work/run/$file"
done
run eval --load "$work/run/best.pt" --data "$iris"
check "eval" grep -qE '^150 samples: loss .*accuracy (9|100)' "$out"
run eval --load "$work/run/best.pt" --data "$iris" --json
check "eval --json" grep -qE '^\{"count": 150, "loss": [0-9.e-]+, "accuracy": [0-9.]+\}$' "$out"
run predict --load "$work/run/best.pt" --data "$iris" --devices host:2
check "predict's header" sh -c "head -n 1 '$out' | grep -q '^setosa,versicolor,virginica$'"
check "predict's rows" test "$(wc -l <"$out")" -eq 151
# a table with two of the three classes: the checkpoint knows their numbers
{ head -n 1 "$iris"; grep virginica "$iris"; } >"$work/virginica.csv"
run eval --json "$work/run/best.pt" --data "$work/virginica.csv"
check "eval of one class" grep -qE '^\{"count": 50, .*"accuracy": (8|9|100)' "$out"
# a table without labels
run predict "$work/run/best.pt" --data "$iris"
cp "$out" "$work/labelled"
cut -d, -f1-4 "$iris" >"$work/features.csv"
run predict "$work/run/best.pt" --data "$work/features.csv" --label none
check "predictions need no labels" cmp -s "$out" "$work/labelled"
expect 2 "nothing to evaluate" eval "$work/run/best.pt" --data "$work/features.csv" --label none
# a table is a table whatever its name ends in
cp "$iris" "$work/iris.data"
run train --model mlp:4,8,3 --devices host --epochs 2 --data "$iris"
sed 's/, [0-9.]* s:/:/' "$out" >"$work/as_csv"
run train --model mlp:4,8,3 --devices host --epochs 2 --data "$work/iris.data"
check "another name, other results" sh -c "sed 's/, [0-9.]* s:/:/' '$out' | cmp -s - '$work/as_csv'"
# a job resumed on a table with two of its classes keeps their numbers
{ head -n 1 "$iris"; grep -E 'setosa|virginica' "$iris"; } >"$work/two.csv"
run train --resume "$work/run/last.pt" --data "$work/two.csv" --epochs 31 --save "$work/resumed"
check "a resumed job lost its classes" sh -c "grep -qE 'accuracy (9[0-9]|100)' '$err'"
run predict "$work/resumed/last.pt" --data "$iris"
check "a resumed job lost the names of its classes" sh -c "head -n 1 '$out' | grep -q '^setosa,versicolor,virginica$'"
# what a model was trained on need not be said again
awk 'BEGIN { print "y,a,b"; for (i = 0; i < 60; i++) print i / 10 "," i "," i % 7 }' >"$work/line.csv"
run train --model mlp:2,1 --devices host --epochs 3 --data "$work/line.csv" --label y --regression --save "$work/line"
run eval "$work/line/last.pt" --data "$work/line.csv"
check "eval of a regression" grep -qE '^60 samples: loss [0-9.]+$' "$out"
# 16-bit weights: trained, resumed, evaluated and asked for predictions as any
for precision in bfloat16 float16; do
    job="--model mlp:4,16,3 --devices host:2 --optimizer adam --lr 0.01 --data $iris --precision $precision"
    run train $job --epochs 20 --save "$work/$precision"
    check "start says the precision" grep -q "^mlp:4,16,3 in $precision on 2 devices" "$err"
    run inspect "$work/$precision/last.pt"
    check "weights of $precision" grep -qE "^model_state_dict.0.weight +$precision " "$out"
    check "masters of $precision" grep -qE "^master_params.0.weight +float32 " "$out"
    run eval "$work/$precision/last.pt" --data "$iris"
    check "eval of $precision" grep -qE '^150 samples: loss .*accuracy 9' "$out"
    check "nothing is converted for it" sh -c "! grep -q converted '$err'"
    run predict "$work/$precision/last.pt" --data "$iris"
    check "predict of $precision" test "$(wc -l <"$out")" -eq 151
    run train --resume "$work/$precision/last.pt" --devices host:2 --epochs 21 --json
    run train --model mlp:4,16,3 --data "$iris" --epochs 1 --load "$work/$precision/last.pt"
    check "a float32 job converts" grep -q "file $precision, model float32, converted" "$err"
done
check "the scaler of float16" sh -c "'$LOCKSTEP' inspect '$work/float16/last.pt' | grep -q '^grad_scaler._growth_tracker '"
check "none of bfloat16" sh -c "! '$LOCKSTEP' inspect '$work/bfloat16/last.pt' | grep -q '^grad_scaler'"
run train $job --no-standardize --epochs 2 --json --log-every 1
check "steps say their scale" grep -q '"event": "step".*"loss_scale": 65536' "$out"
check "overflowing steps are skipped" grep -qE '"event": "done".*"skipped_steps": [1-9]' "$out"
run inspect "$work/run/last.pt"
check "float32 has neither" sh -c "! grep -qE '^(grad_scaler|master_params)' '$out'"
check "inspect lists a weight" grep -qE 'model_state_dict.fc.0.weight +float32 +\(8, 4\) +128 B' "$out"
run train --model mlp:4,8,3 --devices host --epochs 1 --batch-size 50 --data "$iris" --json --log-every 1
check "a JSON line per event" test "$(grep -c '"event": "step"' "$out")" -eq 3
check "the result as JSON" sh -c "tail -n 1 '$out' | grep -q '\"event\": \"done\"'"
finish
