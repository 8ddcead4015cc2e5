//! Request → operation, for every AWS protocol.
