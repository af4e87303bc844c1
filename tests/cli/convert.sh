#!/bin/sh
# convert: names, keys, dtypes, device tags, nesting, in place; and loads of what fits.
. "$(dirname "$0")/lib.sh"
corpus=$TEST_DATA/corpus
iris=$TEST_DATA/iris.csv
plain=$corpus/t113_iris_sd.pth
# same A B [FLAG ...]: the two are equal.
same() {
    checks=$((checks + 1))
    "$LOCKSTEP" diff "$@" >"$out" 2>"$err" || {
        cat "$out"
        say_failure "diff $*"
    }
}

# names
run convert --strip-prefix module. "$corpus/t113_iris_dp_sd.pth" "$work/a.pt"
check "what was renamed is said" grep -q 'renamed 4 of 4 keys (module.fc.0.weight -> fc.0.weight)' "$err"
same --strict "$work/a.pt" "$plain"
run convert --add-prefix module. "$plain" "$work/a.pt"
same --strict "$work/a.pt" "$corpus/t113_iris_dp_sd.pth"
run convert --canonical wrappers "$corpus/t113_fsdp_names_sd.pth" "$work/a.pt"
run inspect "$work/a.pt"
check "wrappers are gone" sh -c "! grep -q '_fsdp_wrapped_module\|_checkpoint_wrapped' '$out'"
run convert --rename '^fc\.([0-9]+)=layers.\1.linear' "$plain" "$work/a.pt"
run inspect --json "$work/a.pt"
check "groups" grep -q '"layers.0.linear.weight"' "$out"
run convert --strip-prefix module. --strip-prefix module. --add-prefix net. "$corpus/t113_iris_dp_dp_sd.pth" "$work/a.pt"
run inspect --key net.fc.2.bias "$work/a.pt"
expect 1 "no key begins with 'module.'" convert --strip-prefix module. "$plain" "$work/none.pt"
expect 3 "fc.0.weight.*fc.2.weight" convert --rename 'fc\.[0-9]=fc' "$plain" "$work/none.pt"
expect 2 "regular expression" convert --rename '(=x' "$plain" "$work/none.pt"
check "a refused conversion left a file" test ! -e "$work/none.pt"

# keys
run convert --select '*.weight' "$plain" "$work/a.pt"
run inspect "$work/a.pt"
check "two weights" grep -q '2 tensors' "$out"
run convert --drop 're:^fc\.2' "$plain" "$work/a.pt"
run inspect "$work/a.pt"
check "two of the first layer" grep -q '2 tensors' "$out"
expect 1 "no key" convert --drop 'nothing*' "$plain" "$work/none.pt"
run convert --state-dict "$corpus/t113_reference_ckpt.pth" "$work/a.pt"
run inspect "$work/a.pt"
check "no epoch" sh -c "! grep -q '^epoch' '$out'"
run convert --flatten "$corpus/t113_reference_ckpt.pth" "$work/a.pt"
run inspect --key optimizer.state.0.momentum_buffer "$work/a.pt"
expect 1 "'mixed_keys' is a none" convert --flatten "$corpus/t113_nested.pt" "$work/none.pt"

# dtypes and device tags
run convert --cast float16 "$corpus/t113_cnn_sd.pth" "$work/a.pt"
run inspect "$work/a.pt"
check "floats are halves" grep -qE '^conv1.weight +float16' "$out"
check "ints are not" grep -qE '^bn1.num_batches_tracked +int64' "$out"
run convert --cast float32=float64 "$corpus/t113_cnn_sd.pth" "$work/a.pt"
same --ignore-dtype "$work/a.pt" "$corpus/t113_cnn_sd.pth"
expect 2 "no dtype is called 'float'" convert --cast float "$plain" "$work/none.pt"
run convert --map-location cuda=cpu "$corpus/t113_iris_cuda_tag_sd.pth" "$work/a.pt"
same --strict "$work/a.pt" "$plain"
expect 2 "device tag" convert --map-location '' "$plain" "$work/none.pt"

# in place
cp "$corpus/t113_iris_dp_sd.pth" "$work/place.pt"
run convert --in-place --strip-prefix module. "$work/place.pt"
same --strict "$work/place.pt" "$plain"
run convert --in-place --add-prefix module. --map-location cuda:0 "$work/place.pt"
same "$work/place.pt" "$corpus/t113_iris_dp_sd.pth"
expect 2 "needs an OUT" convert --in-place --cast float16 "$work/place.pt"
expect 2 "what is to be changed" convert --in-place "$work/place.pt"
expect 2 "only that one" convert --in-place --add-prefix a. "$work/place.pt" "$work/b.pt"
same "$work/place.pt" "$corpus/t113_iris_dp_sd.pth"

# a file onto itself, and what cannot be written
cp "$corpus/t113_iris_dp_sd.pth" "$work/self.pt"
run convert --strip-prefix module. "$work/self.pt" "$work/self.pt"
same --strict "$work/self.pt" "$plain"
expect 1 "no checkpoint format is called 'tar'" convert --to tar "$plain" "$work/none"
expect 1 "No such file or directory" convert "$plain" "$work/no/such/folder.pt"
expect 2 "which two files" convert "$plain"

# a limit that IN keeps, but not what is read back of OUT
run convert --memory-limit 3kB --to torch_zip "$corpus/t26_iris.safetensors" "$work/limited.pt"

# loads of what fits
run convert --drop 'fc.2.bias' "$plain" "$work/part.pt"
expect 3 "missing.*fc.2.bias" eval "$work/part.pt" --model mlp:4,8,3 --key-prefix fc. --data "$iris"
run eval "$work/part.pt" --model mlp:4,8,3 --key-prefix fc. --data "$iris" --load-matching
run train --load "$plain" --load-matching --model mlp:4,8,5,3 --key-prefix fc. --data "$iris" --epochs 1
finish
