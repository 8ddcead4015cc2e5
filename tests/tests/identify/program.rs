//! `guard identify` as a program: files, pipes, bad lines.
