//! What must hold of the keys that we add and move, in any notation.

use oddline_codec::{TagStyle, Tags};
use oddline_engine::Annotate;

/// Whether a key of the user's that poses as one of ours went on under a name that says so.
pub(crate) fn is_moved(name: &[u8], to: &[u8], style: &TagStyle) -> bool {
    let lossy = String::from_utf8_lossy(name).into_owned();
    let rest = to.strip_prefix(lossy.as_bytes()).and_then(|rest| rest.strip_prefix(b"_original"));
    let number = |rest: &[u8]| rest.strip_prefix(b"_").is_some_and(|n| n.iter().all(u8::is_ascii_digit));
    !style.reserves(to) && rest.is_some_and(|rest| rest.is_empty() || number(rest))
}

/// Whether a record says what it must: tags as the style names them, or nested ones while it is on its way.
pub(crate) fn is_readable(
    styled: Option<Tags>,
    nested: Option<Tags>,
    has_tags: bool,
    style: &TagStyle,
) -> bool {
    let Some(tags) = styled.or(nested) else { return !has_tags && style.annotate == Annotate::Flagged };
    has_tags && (0.0..=1.0).contains(&tags.score) && tags.is_flagged() == (tags.status.is_some())
}
