//! The code of the page about moving from other crates, theirs and ours, compiled and run as doc
//! tests. The other pages are in the package `bindu-cb-tests`.
