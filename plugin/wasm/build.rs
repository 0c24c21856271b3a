//! Exports the allocator: without it Fluent Bit puts a heap of its own over the module's memory and crashes.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    if target.split(',').any(|family| family == "wasm") {
        for name in ["malloc", "free"] {
            println!("cargo::rustc-link-arg-cdylib=--export={name}");
        }
    }
}
