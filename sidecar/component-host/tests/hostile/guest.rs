//! Small guests, written as WebAssembly text around one function that misbehaves, and made components of some `wit`.

use std::{fs, path::Path};

use oddline_component_host::{Component, Detector, Refused, Runtime, Spec};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// The parts of a guest; what is not set behaves.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'t> {
    /// The interface that it is built from.
    pub(crate) wit: &'t str,
    /// What goes before everything else in the module.
    pub(crate) imports: &'t str,
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// Functions and segments of its own.
    pub(crate) more: &'t str,
    /// The body of `configure`, ending with a pointer to the result.
    pub(crate) configure: &'t str,
    /// The body of `snapshot`, ending with a pointer to a list. At 216 is one of three bytes.
    pub(crate) snapshot: &'t str,
    /// The body of `restore`, ending with a pointer to the result.
    pub(crate) restore: &'t str,
    /// The body of `observe`, ending with a pointer to a verdict. `$verdict` is one with a score of 0.7.
    pub(crate) observe: &'t str,
}

pub(crate) const WIT: &str = include_str!("../../../../wit/detector.wit");
const INTERFACE: &str = "oddline:detector/detection@";

/// A guest that holds every record for odd.
pub(crate) const GOOD: Guest<'_> = Guest {
    wit: WIT,
    imports: "",
    pages: 2,
    more: "",
    configure: "(i32.const 600)",
    snapshot: "(i32.const 600)",
    restore: "(i32.const 600)",
    observe: "(i32.const 128)",
};

impl Guest<'_> {
    /// The component.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let version = self.wit.split_once("oddline:detector@").map_or("", |(_, rest)| &rest[..5]);
        // A verdict lies at 128 (score 0.7, reason "odd" at 512), a description at 256, an empty list and a success at
        // 600; what the host hands over is put behind 1,024, over what was there before.
        let module = format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (data (i32.const 128) "\33\33\33\3f")
                (data (i32.const 216) "\00\02\00\00\03\00\00\00")
                (data (i32.const 256) "\04\02\00\00\05\00\00\00\10\02\00\00\05\00\00\00")
                (data (i32.const 512) "odd\00guest\00\00\00\00\00\00\001.2.3")
                (global $next (mut i32) (i32.const 1024))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (if (i32.gt_u (global.get $next) (i32.const 60000))
                        (then (global.set $next (i32.const 1024))))
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    (global.set $next (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                {more}
                (func (export "{INTERFACE}{version}#describe") (result i32) (i32.const 256))
                (func (export "{INTERFACE}{version}#configure") (param i32 i32) (result i32) {configure})
                (func $observe (export "{INTERFACE}{version}#observe")
                    (param i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {observe})
                (func (export "{INTERFACE}{version}#observe-all") (param i32 i32) (result i32) (i32.const 600))
                (func (export "{INTERFACE}{version}#snapshot") (result i32) {snapshot})
                (func (export "{INTERFACE}{version}#restore") (param i32 i32) (result i32) {restore}))"#,
            imports = self.imports,
            pages = self.pages,
            more = self.more,
            configure = self.configure,
            snapshot = self.snapshot,
            restore = self.restore,
            observe = self.observe,
        );
        component(&module, self.wit)
    }

    /// The component, compiled.
    pub(crate) fn component(&self) -> Component {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.wasm");
        fs::write(&path, self.bytes()).unwrap();
        Component::load(&Runtime::new().unwrap(), &path).unwrap()
    }

    /// The component in a file, opened as the sidecar does.
    pub(crate) fn open(&self) -> Result<Detector, Refused> {
        open(&self.bytes())
    }
}

/// A module's text as a component of the first world of a package.
pub(crate) fn component(module: &str, wit: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).expect("the text is a module");
    let mut resolve = Resolve::default();
    let group = UnresolvedPackageGroup::parse("detector.wit", wit).expect("the wit is valid");
    let package = resolve.push_group(group).expect("the package is whole");
    let world = resolve.select_world(&[package], Some("detector")).expect("it has the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("it is told what it is");
    let mut encoder = ComponentEncoder::default().module(&module).expect("the module fits the world");
    encoder.encode().expect("it is a component")
}

/// Opens bytes as a file.
pub(crate) fn open(bytes: &[u8]) -> Result<Detector, Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.wasm");
    fs::write(&path, bytes).unwrap();
    Detector::open(&Runtime::new().unwrap(), &spec("guest", &path))
}

pub(crate) fn spec(name: &str, path: &Path) -> Spec {
    Spec { name: name.to_owned(), path: path.to_owned(), weight: 1.0, options: Vec::new() }
}
