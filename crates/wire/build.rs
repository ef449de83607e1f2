//! Compiles `proto/` without `protoc`: protox parses, tonic-prost-build generates, and the descriptors
//! are kept beside the code for server reflection and for the test that holds them to the contract.

use std::error::Error;
use std::path::Path;

use prost::Message;

const PROTOS: [&str; 9] = [
    "authzed/api/v1/error_reason.proto",
    "authzed/api/v1/experimental_service.proto",
    "authzed/api/v1/schema_service.proto",
    "authzed/api/v1/watch_service.proto",
    "google/rpc/error_details.proto",
    "idhini/admin/v1/admin.proto",
    "idhini/v1/history_service.proto",
    "idhini/v1/namespace_service.proto",
    "idhini/v1/permission_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::Config::new();
    // A message finds its description by its name.
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
