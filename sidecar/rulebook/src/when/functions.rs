//! The functions that conditions may call: VRL's own names and meanings, for those that only look at their arguments.
//!
//! Each takes and gives values, allocates no more than its arguments have, and runs in linear time.

use std::net::IpAddr;

use vrl::{
    compiler::{
        ExpressionError,
        expression::Query,
        function::{Example, FunctionCompileContext},
        state,
        value::VrlValueConvert,
    },
    prelude::{
        ArgumentList, Compiled, Context, Expression, Function, FunctionExpression, NotNan, Parameter,
        Resolved, TypeDef, TypeState, Value, kind,
    },
};

/// One function: how it is called, what it gives, what it does.
struct Simple {
    name: &'static str,
    parameters: &'static [Parameter],
    gives: fn() -> TypeDef,
    kind: u16,
    run: Run,
}

type Run = fn(&[Value]) -> Result<Value, ExpressionError>;

const VALUE: Parameter = Parameter::required("value", kind::ANY, "The value.");
const TEXT: Parameter = Parameter::required("value", kind::BYTES, "The text.");
const CASE: Parameter = Parameter::optional("case_sensitive", kind::BOOLEAN, "Whether case counts; it does.");
const PATTERN: Parameter = Parameter::required("pattern", kind::REGEX, "The regex.");
const PATTERNS: Parameter = Parameter::required("patterns", kind::ARRAY, "The regexes.");
const LIST: Parameter = Parameter::required("value", kind::ARRAY, "The list.");
const ITEM: Parameter = Parameter::required("item", kind::ANY, "What may be in it.");
const NETWORK: Parameter = Parameter::required("cidr", kind::BYTES, "The network.");
const MEASURED: Parameter =
    Parameter::required("value", kind::BYTES | kind::OBJECT | kind::ARRAY, "A text, map or list.");
const SUBSTRING: Parameter = Parameter::required("substring", kind::BYTES, "What to look for.");

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Function>> {
    let yes_or_no = || TypeDef::boolean().infallible();
    let boolean =
        |name, parameters, run| Simple { name, parameters, gives: yes_or_no, kind: kind::BOOLEAN, run };
    let is = |name, run| boolean(name, &[VALUE], run);
    let simple = [
        boolean("contains", &[TEXT, SUBSTRING, CASE], |args| {
            compare(args, |text, part| {
                text.windows(part.len().max(1)).any(|window| window == part) || part.is_empty()
            })
        }),
        boolean("starts_with", &[TEXT, SUBSTRING, CASE], |args| compare(args, <[u8]>::starts_with)),
        boolean("ends_with", &[TEXT, SUBSTRING, CASE], |args| compare(args, <[u8]>::ends_with)),
        boolean("match", &[TEXT, PATTERN], |args| Ok(matches(&argument(args, 1), &text(args)?)?.into())),
        boolean("match_any", &[TEXT, PATTERNS], |args| {
            let text = text(args)?;
            let Value::Array(patterns) = argument(args, 1) else { return Err("patterns are no list".into()) };
            for pattern in &patterns {
                if matches(pattern, &text)? {
                    return Ok(true.into());
                }
            }
            Ok(false.into())
        }),
        boolean("includes", &[LIST, ITEM], |args| {
            let item = argument(args, 1);
            Ok(matches!(args.first(), Some(Value::Array(list)) if list.contains(&item)).into())
        }),
        Simple {
            name: "ip_cidr_contains",
            parameters: &[NETWORK, TEXT],
            gives: || TypeDef::boolean().fallible(),
            kind: kind::BOOLEAN,
            run: |args| {
                let (network, address) = (text(args)?, argument(args, 1).try_bytes()?);
                contains_address(&network, &address).map(Value::from)
            },
        },
        is("is_null", |args| Ok(matches!(args, [Value::Null]).into())),
        is("is_string", |args| Ok(matches!(args, [Value::Bytes(_) | Value::String(_)]).into())),
        is("is_integer", |args| Ok(matches!(args, [Value::Integer(_)]).into())),
        is("is_float", |args| Ok(matches!(args, [Value::Float(_)]).into())),
        is("is_boolean", |args| Ok(matches!(args, [Value::Boolean(_)]).into())),
        is("is_object", |args| Ok(matches!(args, [Value::Object(_)]).into())),
        is("is_array", |args| Ok(matches!(args, [Value::Array(_)]).into())),
        Simple {
            name: "downcase",
            parameters: &[TEXT],
            gives: || TypeDef::bytes().infallible(),
            kind: kind::BYTES,
            run: |args| Ok(Value::Bytes(text(args)?.to_ascii_lowercase().into())),
        },
        Simple {
            name: "upcase",
            parameters: &[TEXT],
            gives: || TypeDef::bytes().infallible(),
            kind: kind::BYTES,
            run: |args| Ok(Value::Bytes(text(args)?.to_ascii_uppercase().into())),
        },
        Simple {
            name: "length",
            parameters: &[MEASURED],
            gives: || TypeDef::integer().infallible(),
            kind: kind::INTEGER,
            run: |args| {
                let length = match args.first() {
                    Some(Value::Array(list)) => list.len(),
                    Some(Value::Object(map)) => map.len(),
                    _ => text(args)?.len(),
                };
                Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
            },
        },
        Simple {
            name: "string",
            parameters: &[VALUE],
            gives: || TypeDef::bytes().fallible(),
            kind: kind::BYTES,
            run: |args| Ok(Value::Bytes(argument(args, 0).try_bytes()?)),
        },
        Simple {
            name: "int",
            parameters: &[VALUE],
            gives: || TypeDef::integer().fallible(),
            kind: kind::INTEGER,
            run: |args| Ok(Value::Integer(argument(args, 0).try_integer()?)),
        },
        Simple {
            name: "float",
            parameters: &[VALUE],
            gives: || TypeDef::float().fallible(),
            kind: kind::FLOAT,
            run: |args| {
                Ok(Value::Float(NotNan::new(argument(args, 0).try_float()?).map_err(|_| "is not a number")?))
            },
        },
        Simple {
            name: "bool",
            parameters: &[VALUE],
            gives: || TypeDef::boolean().fallible(),
            kind: kind::BOOLEAN,
            run: |args| Ok(Value::Boolean(argument(args, 0).try_boolean()?)),
        },
        Simple {
            name: "to_int",
            parameters: &[VALUE],
            gives: || TypeDef::integer().fallible(),
            kind: kind::INTEGER,
            run: |args| match argument(args, 0) {
                Value::Integer(number) => Ok(number.into()),
                // Towards zero, as VRL does.
                Value::Float(number) => Ok(Value::Integer(number.into_inner() as i64)),
                Value::Boolean(yes) => Ok(Value::Integer(i64::from(yes))),
                Value::Null => Ok(Value::Integer(0)),
                other => Ok(Value::Integer(parsed(&other)?)),
            },
        },
        Simple {
            name: "to_float",
            parameters: &[VALUE],
            gives: || TypeDef::float().fallible(),
            kind: kind::FLOAT,
            run: |args| {
                let number: f64 = match argument(args, 0) {
                    Value::Integer(number) => number as f64,
                    Value::Float(number) => number.into_inner(),
                    Value::Boolean(yes) => f64::from(u8::from(yes)),
                    Value::Null => 0.0,
                    other => parsed(&other)?,
                };
                Ok(Value::Float(NotNan::new(number).map_err(|_| "is not a number")?))
            },
        },
    ];
    let mut functions: Vec<Box<dyn Function>> = vec![Box::new(Exists)];
    functions.extend(simple.into_iter().map(|it| Box::new(it) as Box<dyn Function>));
    functions
}

/// An argument that was given; null for one that was not.
fn argument(args: &[Value], place: usize) -> Value {
    args.get(place).cloned().unwrap_or(Value::Null)
}

fn text(args: &[Value]) -> Result<Vec<u8>, ExpressionError> {
    Ok(argument(args, 0).try_bytes()?.to_vec())
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Result<T, ExpressionError> {
    let bytes = value.clone().try_bytes()?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    text.ok_or_else(|| "is not a number".into())
}

fn compare(args: &[Value], found: fn(&[u8], &[u8]) -> bool) -> Result<Value, ExpressionError> {
    let (mut text, mut part) = (text(args)?, argument(args, 1).try_bytes()?.to_vec());
    if matches!(args.get(2), Some(Value::Boolean(false))) {
        text.make_ascii_lowercase();
        part.make_ascii_lowercase();
    }
    Ok(found(&text, &part).into())
}

fn matches(pattern: &Value, text: &[u8]) -> Result<bool, ExpressionError> {
    match pattern {
        Value::Regex(regex) => Ok(regex.is_match(&String::from_utf8_lossy(text))),
        _ => Err("pattern is not a regex such as r'a+'".into()),
    }
}

fn contains_address(network: &[u8], address: &[u8]) -> Result<bool, ExpressionError> {
    let read = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let network = read(network).ok_or("the network is not text")?;
    let address: IpAddr = read(address).and_then(|it| it.parse().ok()).ok_or("is not an address")?;
    let (base, bits) = network.split_once('/').ok_or("is not a network such as 10.0.0.0/8")?;
    let base: IpAddr = base.parse().map_err(|_| "is not a network such as 10.0.0.0/8")?;
    let bits: u32 = bits.parse().map_err(|_| "is not a network such as 10.0.0.0/8")?;
    Ok(match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    })
}

impl std::fmt::Debug for Simple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function for Simple {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn usage(&self) -> &'static str {
        self.name
    }

    fn category(&self) -> &'static str {
        "Condition"
    }

    fn return_kind(&self) -> u16 {
        self.kind
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn compile(&self, _: &TypeState, _: &mut FunctionCompileContext, arguments: ArgumentList) -> Compiled {
        let arguments = self
            .parameters
            .iter()
            .filter_map(|parameter| match parameter.required {
                true => Some(arguments.required(parameter.keyword)),
                false => arguments.optional(parameter.keyword),
            })
            .collect();
        Ok(Call { arguments, gives: self.gives, run: self.run }.as_expr())
    }
}

#[derive(Clone, Debug)]
struct Call {
    arguments: Vec<Box<dyn Expression>>,
    gives: fn() -> TypeDef,
    run: Run,
}

impl FunctionExpression for Call {
    fn resolve(&self, ctx: &mut Context) -> Resolved {
        let arguments: Result<Vec<Value>, ExpressionError> =
            self.arguments.iter().map(|argument| argument.resolve(ctx)).collect();
        (self.run)(&arguments?)
    }

    fn type_def(&self, _: &state::TypeState) -> TypeDef {
        (self.gives)()
    }
}

/// Whether a field is there; the one function that needs the path rather than the value.
#[derive(Clone, Copy, Debug)]
struct Exists;

impl Function for Exists {
    fn identifier(&self) -> &'static str {
        "exists"
    }

    fn usage(&self) -> &'static str {
        "exists(.path)"
    }

    fn category(&self) -> &'static str {
        "Condition"
    }

    fn return_kind(&self) -> u16 {
        kind::BOOLEAN
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn parameters(&self) -> &'static [Parameter] {
        const FIELD: Parameter = Parameter::required("field", kind::ANY, "The path.");
        &[FIELD]
    }

    fn compile(&self, _: &TypeState, _: &mut FunctionCompileContext, arguments: ArgumentList) -> Compiled {
        Ok(ExistsAt(arguments.required_query("field")?).as_expr())
    }
}

#[derive(Clone, Debug)]
struct ExistsAt(Query);

impl FunctionExpression for ExistsAt {
    fn resolve(&self, ctx: &mut Context) -> Resolved {
        if let Some(path) = self.0.external_path() {
            return Ok(ctx.target().target_get(path).ok().flatten().is_some().into());
        }
        Ok((self.0.resolve(ctx)? != Value::Null).into())
    }

    fn type_def(&self, _: &state::TypeState) -> TypeDef {
        TypeDef::boolean().infallible()
    }
}
