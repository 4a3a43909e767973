//! Compiles the `.proto` files without a `protoc` on the machine.

use std::path::PathBuf;

#[path = "src/private.rs"]
mod private;

const FILES: [&str; 14] = [
    "lgsp/v1/dossier.proto",
    "lgsp/v1/dossiers.proto",
    "lgsp/v1/inbox.proto",
    "lgsp/v1/numbers.proto",
    "lgsp/v1/documents.proto",
    "lgsp/v1/registry.proto",
    "lgsp/v1/operations.proto",
    "lgsp/v1/certificates.proto",
    "lgsp/v1/audit.proto",
    "lgsp/v1/query.proto",
    "lgsp/store/v1/record.proto",
    "lgsp/store/v1/index.proto",
    "lgsp/store/v1/archive.proto",
    "lgsp/spool/v1/spool.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Served by reflection and walked by the tests that compare the services with the access list.
    std::fs::write(out.join("lgsp.bin"), prost::Message::encode_to_vec(&descriptors))?;
    // Bodies and chunks are handed on as they came: no copy per hop.
    let masked = private::PRIVATE.map(|name| format!(".{name}"));
    tonic_prost_build::configure().bytes(".lgsp.v1").skip_debug(masked).compile_fds(descriptors)?;
    Ok(())
}
