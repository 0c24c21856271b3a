//! Lets the test hosts be what Fluent Bit is to the native filter: a program whose symbols a loaded library can see.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-tests=-rdynamic");
}
