//! Credentials that calls of a session mint: the agent gets dummies, and what they sign leaves as the real ones.

mod answers;
mod clients;
mod session;
