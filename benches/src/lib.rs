//! Nothing: the benchmark is in `compare/`, the compile times in `src/bin/compile-time.rs`.
