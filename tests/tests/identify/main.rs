//! `guard identify`: on every operation that botocore knows, and as a program.

mod exceptions;
mod operations;
mod program;
