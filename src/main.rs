//! The one command line of the gateway.

fn main() {}
