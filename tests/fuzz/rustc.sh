#!/bin/sh
# rustc with libFuzzer's coverage, for cargo to build guard's own crates with (RUSTC_WORKSPACE_WRAPPER).
exec "$@" -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares \
    -C codegen-units=1
