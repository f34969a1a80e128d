#!/bin/sh
# Stands in for rustc while `cargo xtask fuzz` builds our own crates: they count which of their
# branches were taken, as libFuzzer wants it. What others wrote is built as always, and so are
# build scripts: they run without libFuzzer.
case " $* " in
*" --crate-name build_script_"*) exec "$@" ;;
esac
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table
