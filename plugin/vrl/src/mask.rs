//! The part of the program that masks: `message` becomes `masked`, the text by which all nodes know a template.
//!
//! Takes nothing, gives statements. The engine's scanner (its module `mask`) as passes of regular expressions, few and
//! without captures, for those stay on the fast path of the regex crate. What the passes cannot tell is listed in the
//! README and held by a test. Must not know advice, rules or tags.
//!
//! | pass | on | does |
//! |---|---|---|
//! | keys | messages with `":` or `':` | sets the quotes of keys aside, for keys stay |
//! | quotes | messages with quotes | a short quoted string is one variable |
//! | variables | all | everything else that varies, with what joins it, is one variable |
//! | drawing | where the text has it | white space is one blank, a run of one character is at most four |

/// Bytes of a message that are masked: four times what is kept of the masked text.
const PREFIX: usize = 4_096;
/// Masked text is cut here, see `MAX_MASKED_BYTES` of the engine.
const LIMIT: usize = oddline_engine::mask::MAX_MASKED_BYTES;

/// No letter, digit or underscore before; after.
const LEFT: &str = r"(?-u:\b{start-half})";
const RIGHT: &str = r"(?-u:\b{end-half})";
/// One character of a word; of a word without digits.
const WORD: &str = r"[0-9A-Za-z_[^\x00-\x7F]]";
const NAME: &str = "[A-Za-z_]";
/// What a path or URL does not have in it, to be used within a class.
const ENDS: &str = r" \t\n\r\x0C\x22\x27<>()\[\]{}|,;";
/// Characters whose runs are drawn short.
const DRAWN: &str = "-=*.#~+<>?!";

/// Statements before all that reads the message: colours are taken out of it.
pub(crate) const PREPARE: &str = r#"if contains(message, "\u{1b}") {
  message = replace(message, r'(?s)\x1B\[[\x20-\x3F]*[^\x20-\x3F]?', "")
  message = replace(message, r'\x1B', " ")
}
"#;

/// Runs of so many of one character.
fn drawn(count: u8) -> String {
    let runs = DRAWN.chars().map(|it| format!(r"\x{:02X}{{{count}}}", u32::from(it)));
    runs.collect::<Vec<_>>().join("|")
}

/// The statements; they leave `masked`, and the `size` of the message.
pub(crate) fn section() -> String {
    let variables = variables();
    let quoted = |quote: &str| format!(r"{LEFT}{quote}[^{quote}\n\x00]{{1,255}}{quote}");
    let (double, single) = (quoted(r"\x22"), quoted(r"\x27"));
    let key = |quote: &str| format!(r"{LEFT}{quote}([0-9A-Za-z_.@$\-[^\x00-\x7F]]{{1,255}}){quote}:");
    let (double_key, single_key) = (key(r"\x22"), key(r"\x27"));
    let draw: String = DRAWN
        .chars()
        .map(|it| {
            let four = String::from_iter([it; 4]);
            format!("    masked = replace(masked, r'\\x{:02X}{{5,}}', \"{four}\")\n", u32::from(it))
        })
        .collect();
    format!(
        r#"# The message with its variable parts as <*>.
size = length(message)
masked = message
{{
# What few messages have: quotes, other white space than single blanks, drawn lines. One look for all.
is_plain = !match(message, {{r'\A(?: |(?s:.)*?(?:[\x22\x27\t\n\r]|  | \z|{runs}))'}})
if size > {PREFIX} {{
  masked = slice(masked, 0, {PREFIX}) ?? ""
}}
has_quotes = false
if !is_plain && match(masked, r'[\x22\x27]') {{
  has_quotes = true
  masked = replace(masked, r'\x00', " ")
  if contains(masked, "\":") {{
    masked = replace(masked, r'{double_key}', "\0${{1}}\0:")
    masked = replace(masked, r'\x22\x22[^\x22\n\x00]{{1,255}}\x00', "\"\"<*>\"")
  }}
  if contains(masked, "':") {{
    masked = replace(masked, r'{single_key}', "\0\0${{1}}\0\0:")
    masked = replace(masked, r'\x27\x27[^\x27\n\x00]{{1,255}}\x00\x00', "''<*>'")
  }}
  masked = replace(masked, r'{double}', "\"<*>\"")
  masked = replace(masked, r'{single}', "'<*>'")
}}
masked = replace(masked, {{r'{variables}'}}, "<*>")
if !is_plain {{
  if has_quotes {{
    masked = replace(masked, r'\x00\x00', "'")
    masked = replace(masked, r'\x00', "\"")
  }}
  masked = replace(masked, r'\A[ \t\n\r][ \t\n\r\x0C]*|[ \t\n\r\x0C]+\z', "")
  masked = replace(masked, r'[ \t\n\r][ \t\n\r\x0C]+|[\t\n\r]', " ")
  if match(masked, r'{runs}') {{
{draw}  }}
}}
}}
if size > {short} {{
{cut}}}
"#,
        runs = drawn(5),
        cut = cut(),
        // A digit becomes three bytes.
        short = LIMIT / 3,
    )
}

/// Where masked text is cut: at the limit if a word ends there, else at the last blank of its second half.
fn cut() -> String {
    let half = LIMIT / 2;
    format!(
        r#"  if length(masked) > {LIMIT} {{
    border = slice(masked, {before}, {after}) ?? ""
    masked = slice(masked, 0, {LIMIT}) ?? ""
    if match(border, r'\A(?:{WORD}{{2}}|<\*|\*>|[\x22\x27]<|>[\x22\x27])') {{
      words = replace(masked, r' [^ ]*\z', "")
      if length(words) > {half} && length(words) < length(masked) {{
        masked = words
      }} else {{
        masked = replace(slice(masked, 0, {before}) ?? "", r'\x{{FFFD}}\z', "")
      }}
    }}
  }}
"#,
        before = LIMIT - 1,
        after = LIMIT + 1,
    )
}

/// One variable, and all variables that only punctuation or one blank joins to it.
fn variables() -> String {
    let d = "[0-9]";
    // A unit of size or time that stands apart.
    let unit = format!("(?: (?:[KMGT]i?B|kB|B|us|ms|s){RIGHT})?");
    // 12, 17ms, 12 kB, 3rd; and any other word that begins with a digit.
    let number = format!(r"{d}[0-9A-Za-z_]*[^\x00-\x7F]{WORD}*|{d}+[A-Za-z]{{0,4}}{RIGHT}{unit}|{d}{WORD}*");
    let hex = hex();
    // 1.5, 1.5GB, 1.5 GB. What follows the digits is another word if it is long.
    let fraction = format!(
        r"{d}+\.{d}+(?:[0-9A-Za-z_]{{1,4}}{RIGHT}|(?:{hex})|[^\x00-\x7F]{{1,2}}[0-9A-Za-z_]{{0,2}})?{unit}"
    );
    let path = format!(r"/(?:[^{ENDS}=/]+/(?:[^{ENDS}=]*[^{ENDS}=.:])?|/[^{ENDS}=]*[^{ENDS}=.:])");
    let url = format!(r"{NAME}+://(?:[^{ENDS}]*[^{ENDS}.:])?");
    let date = format!(
        "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\
         (?: +|[-/]|[-/ ]{{2,4}})(?:{number})"
    );
    // blk_-16089996: the word belongs to the long number.
    let signed = format!("{NAME}*_[-+]{d}[0-9A-Za-z_]{{7,}}");
    let (scrambled, heavy) = (scrambled(), heavy());
    let others = format!("{LEFT}(?:{hex}|{scrambled}|{heavy}|{signed}|{path}|{url}|{date})|{d}+");
    let uuid = uuid();
    let first = format!("(?:{LEFT}(?:{uuid}|{fraction}|{number})|{others})");
    let joined = format!("(?:{LEFT}(?:{uuid}|{number})|{others})");
    let sign = format!("(?:{LEFT}[-+])?");
    format!(r"{sign}{first}(?:(?:[-.:,/+_@~#T]{{1,4}}|-{{5,}}|\.{{5,}}){joined}|[ \t\n\r]+{sign}{first})*")
}

/// UUIDs with a digit in their first group: other groups may be words by themselves.
fn uuid() -> String {
    const FIRST: usize = 8;
    let h = "[0-9A-Fa-f]";
    let first = (0..FIRST).map(|letters| format!("[A-Fa-f]{{{letters}}}[0-9]{h}{{{}}}", FIRST - 1 - letters));
    let first = first.collect::<Vec<_>>().join("|");
    format!("(?:{first})(?:-{h}{{4}}){{3}}-{h}{{12}}{RIGHT}")
}

/// Hexadecimal words that begin with a letter: from four characters with a digit among them, from sixteen without.
fn hex() -> String {
    let (h, letter) = ("[0-9A-Fa-f]", "[A-Fa-f]");
    format!(
        "(?:{letter}{{3,}}[0-9]{h}*|{letter}{{2}}[0-9]{h}+|{letter}[0-9]{h}{{2,}}|{letter}{{16,}}){RIGHT}"
    )
}

/// Words of at least six characters that go from letters to digits, back, and to digits again: `x86_64`, `q4Zk9w`.
fn scrambled() -> String {
    let d = "[0-9]";
    let n = r"[A-Za-z_[^\x00-\x7F]]";
    let alternatives = [
        format!("{NAME}{{3,}}{d}+{n}+{d}{WORD}*"),
        format!("{NAME}{{2}}{d}{{2,}}{n}+{d}{WORD}*"),
        format!("{NAME}{{2}}{d}{NAME}{{2,}}{d}{WORD}*"),
        format!("{NAME}{{2}}{d}{NAME}{d}{WORD}+"),
        format!("{NAME}{d}{{3,}}{n}+{d}{WORD}*"),
        format!("{NAME}{d}{{2}}{NAME}{{2,}}{d}{WORD}*"),
        format!("{NAME}{d}{{2}}{NAME}{d}{WORD}+"),
        format!("{NAME}{d}{NAME}{{3,}}{d}{WORD}*"),
        format!("{NAME}{d}{NAME}{{2}}{d}{WORD}+"),
        format!("{NAME}{d}{NAME}{d}{WORD}{{2,}}"),
    ];
    format!("(?:{})", alternatives.join("|"))
}

/// Words of at least eight characters with more digits than letters, the letters before and behind: `req20261121`.
fn heavy() -> String {
    const MOST_LETTERS: usize = 8;
    let mut alternatives = Vec::new();
    for letters in 1..=MOST_LETTERS {
        let digits = (letters + 1).max(8_usize.saturating_sub(letters));
        alternatives.push(format!("{NAME}{{{letters}}}[0-9]{{{digits},}}"));
        alternatives.extend(
            (1..letters)
                .map(|before| format!("{NAME}{{{before}}}[0-9]{{{digits},}}{NAME}{{{}}}", letters - before)),
        );
    }
    format!("(?:{}){RIGHT}", alternatives.join("|"))
}
