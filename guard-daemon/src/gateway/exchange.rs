//! THE pipeline of an exchange, top to bottom:
//! identify → operation → decide → hold → record → sign → forward → mask → record.

use std::net::SocketAddr;

use crate::record::entry::Process;

/// What is known of the connection an exchange arrived on.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The process that opened the connection.
    pub process: Process,
    /// Where it wanted to connect to.
    pub destination: SocketAddr,
    /// The TLS server name, lower case: the exchange's host must equal it.
    pub server_name: String,
}
