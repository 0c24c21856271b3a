//! What is refused before it runs: files that are too large, no components, or components of something else.

use oddline_component_host::{Detector, Refused, Runtime, limits::MAX_FILE_BYTES};

use crate::guest::{GOOD, Guest, WIT, component, open, spec};

fn refused(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

/// The good guest with a section of padding, so that it has so many bytes.
fn padded(bytes: usize) -> Vec<u8> {
    let mut padded = GOOD.bytes();
    // Section 0: its length in five bytes, an empty name, whatever follows.
    let length = bytes - padded.len() - 6;
    padded.push(0);
    padded.extend((0..5).map(|place| {
        let group = (length >> (7 * place)) as u8 & 0x7f;
        if place < 4 { group | 0x80 } else { group }
    }));
    padded.resize(bytes, 0);
    padded
}

#[test]
fn a_good_guest_says_what_it_is() {
    assert_eq!(GOOD.open().unwrap().description(), "guest/1.2.3");
}

#[test]
fn files_are_read_up_to_the_limit() {
    let limit = MAX_FILE_BYTES as usize;
    assert_eq!(open(&padded(limit)).unwrap().description(), "guest/1.2.3");
    for bytes in [limit + 1, 10 * limit] {
        let error = refused(&padded(bytes));
        assert_eq!(error, format!("has {bytes} bytes, more than the limit of 4194304"));
    }
    let folder = tempfile::tempdir().unwrap();
    let absent =
        Detector::open(&Runtime::new().unwrap(), &spec("absent", &folder.path().join("absent.wasm")));
    assert!(absent.unwrap_err().to_string().starts_with("cannot be read: "));
}

#[test]
fn what_is_no_component_is_refused() {
    assert_eq!(refused(b""), "is no WebAssembly component");
    assert_eq!(
        refused(b"\0asm"),
        "is a WebAssembly module, not a component: make one of it, e.g. with `wasm-tools component new`"
    );
    assert_eq!(refused(b"#!/bin/sh\necho hello\n"), "is no WebAssembly component");
    let module = wat::parse_str("(module)").unwrap();
    assert!(matches!(open(&module).unwrap_err(), Refused::Module));
    let good = GOOD.bytes();
    for cut in [8, 9, good.len() / 2, good.len() - 1] {
        let error = open(&good[..cut]).unwrap_err();
        assert!(matches!(error, Refused::Invalid(_) | Refused::NoDetector { .. }), "{cut}: {error}");
    }
}

#[test]
fn imports_are_refused_by_name() {
    let wit = format!(
        "{}interface host {{ log: func(line: string); }}\n{}",
        &WIT[..WIT.find("/// A detector keeps").unwrap()],
        WIT[WIT.find("/// A detector keeps").unwrap()..]
            .replace("export detection;", "import host; export detection;")
    );
    let guest = Guest {
        wit: &wit,
        imports: r#"(import "oddline:detector/host@0.1.0" "log" (func $log (param i32 i32)))"#,
        ..GOOD
    };
    assert_eq!(
        guest.open().unwrap_err().to_string(),
        "imports oddline:detector/host@0.1.0; a detector imports nothing: build it for wasm32-unknown-unknown, without WASI"
    );
}

#[test]
fn another_version_or_another_interface_is_named() {
    let newer = WIT.replace("@0.1.0", "@0.2.0");
    assert_eq!(
        Guest { wit: &newer, ..GOOD }.open().unwrap_err().to_string(),
        "speaks oddline:detector/detection@0.2.0; this build speaks 0.1.x: build it with the wit/ of this release"
    );
    let later = WIT.replace("@0.1.0", "@0.1.7");
    assert!(Guest { wit: &later, ..GOOD }.open().is_ok(), "the third number changes nothing that matters");

    let other = "package some:thing@1.0.0; interface api { f: func(); } world detector { export api; }";
    let other = component(r#"(module (func (export "some:thing/api@1.0.0#f")))"#, other);
    let words = "exports some:thing/api@1.0.0, not oddline:detector/detection@0.1.x: build it from the wit/ of this release";
    assert_eq!(refused(&other), words);
    assert!(refused(&wat::parse_str("(component)").unwrap()).starts_with("exports nothing, not "));

    // The right name on something else.
    let changed = WIT.replace("score: f32,\n        signals", "score: f64,\n        signals");
    assert_ne!(changed, WIT);
    let error = Guest { wit: &changed, ..GOOD }.open().unwrap_err().to_string();
    assert!(error.starts_with("does not start: ") && error.contains("type mismatch"), "{error}");
}

#[test]
fn a_component_that_is_slow_to_compile_only_costs_itself() {
    // Many functions, none of them trivial: a compiler's work grows with them. What the limit is stands in the error.
    let functions: String = (0..2_000)
        .map(|number| {
            let steps =
                "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 3)) (local.get 0)))".repeat(40);
            format!("(func (export \"f{number}\") (param i32) (result i32) {steps} (local.get 0))")
        })
        .collect();
    let large = Guest { more: &functions, ..GOOD }.bytes();
    let started = std::time::Instant::now();
    match open(&large) {
        Ok(mut detector) => assert!(detector.observe(Default::default(), 0).is_ok()),
        Err(error) => assert_eq!(error.to_string(), "takes more than 30 s to compile"),
    }
    assert!(started.elapsed().as_secs() < 40);
}

#[test]
fn initial_memory_is_bounded() {
    assert!(Guest { pages: 512, ..GOOD }.open().is_ok());
    for pages in [513, 5_120] {
        let error = Guest { pages, ..GOOD }.open().unwrap_err().to_string();
        assert!(error.starts_with("does not start: ") && error.contains("memory"), "{error}");
    }
}
