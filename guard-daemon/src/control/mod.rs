//! The control socket: wire types, server, client and peer credentials.

pub mod wire;
