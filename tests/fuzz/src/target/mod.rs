//! What must hold, one module per target.

mod client_hello;
mod dns_question;
mod head;
mod identify;
mod mask;
mod pattern;
mod policy;
mod signature;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also of its directory in `corpus/`.
    pub name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::new("client_hello", client_hello::run),
        Self::new("dns_question", dns_question::run),
        Self::new("head", head::run),
        Self::new("identify", identify::run),
        Self::new("mask", mask::run),
        Self::new("pattern", pattern::run),
        Self::new("policy", policy::run),
        Self::new("signature", signature::run),
    ];

    const fn new(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run }
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name == name)
    }

    /// Runs it once.
    pub fn run(self, data: &[u8]) {
        (self.run)(data);
    }
}
