//! Takes a linked wasm module, gives one that does the same and has fewer instructions to Fluent Bit's interpreter. Must not know
//! what the module is for.
//!
//! The compiler writes `local.tee` where a value is kept and used at once. WAMR's fast interpreter runs that as an instruction of its
//! own, which copies the value; of `local.set` and `local.get` it runs neither: the instruction before writes into the local, the one
//! behind reads from it (`WASM_OP_SET_LOCAL` in `wasm_loader.c`, WAMR 2.4.1). To a compiler the two are the same.

use anyhow::Context as _;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Instruction, Module};
use wasmparser::{FunctionBody, Operator, Parser, Validator};

/// The module with `local.set` and `local.get` in the place of each `local.tee`; an error if it is none, or would be none then.
pub(crate) fn without_tees(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut rewritten = Module::new();
    Untee
        .parse_core_module(&mut rewritten, Parser::new(0), module)
        .context("this is no wasm module that can be rewritten")?;
    let rewritten = rewritten.finish();
    Validator::new().validate_all(&rewritten).context("the rewritten module is not valid")?;
    Ok(rewritten)
}

#[derive(Debug)]
struct Untee;

impl Reencode for Untee {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::LocalTee { local_index } => {
                    function.instruction(&Instruction::LocalSet(local_index));
                    function.instruction(&Instruction::LocalGet(local_index));
                }
                other => {
                    function.instruction(&self.instruction(other)?);
                }
            }
        }
        code.function(&function);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Payload;

    use super::*;

    const MODULE: &str = r#"(module
        (memory (export "memory") 1)
        (data (i32.const 8) "kept")
        (func (export "sum") (param $at i32) (result i32) (local $word i64)
            (block $out
                (br_if $out (i32.eqz (local.tee $at (i32.load (local.get $at)))))
                (i64.store (local.get $at) (local.tee $word (i64.load (local.get $at)))))
            (i32.add (local.get $at) (i32.wrap_i64 (local.get $word)))))"#;

    /// What each function does, as text.
    fn operators(module: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                let operators = body.get_operators_reader().unwrap();
                all.extend(operators.into_iter().map(|operator| format!("{:?}", operator.unwrap())));
            }
        }
        all
    }

    #[test]
    fn each_tee_becomes_a_set_and_a_get_and_nothing_else_changes() {
        let before = wat::parse_str(MODULE).unwrap();
        let after = without_tees(&before).unwrap();
        let expected: Vec<String> = operators(&before)
            .into_iter()
            .flat_map(|operator| match operator.strip_prefix("LocalTee") {
                Some(local) => vec![format!("LocalSet{local}"), format!("LocalGet{local}")],
                None => vec![operator],
            })
            .collect();
        assert_eq!(operators(&after), expected);
        assert_eq!(expected.iter().filter(|operator| operator.starts_with("LocalSet")).count(), 2);
        let others = |module: &[u8]| -> Vec<String> {
            let payloads = Parser::new(0).parse_all(module).map(Result::unwrap);
            let sections = payloads.filter(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
            sections
                .filter_map(|payload| payload.as_section())
                .map(|(id, range)| format!("{id} {:?}", &module[range]))
                .collect()
        };
        assert_eq!(others(&after), others(&before));
        assert_eq!(others(&before).len(), 6, "types, functions, memory, exports, data, names");
        assert_eq!(without_tees(&after).unwrap(), after, "nothing is left to rewrite");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh"] {
            let refused = without_tees(bytes).unwrap_err();
            assert!(format!("{refused:#}").starts_with("this is no wasm module"), "{refused:#}");
        }
    }
}
