//! What every backend agrees on about vectors: which answers of an embedder are acceptable, of what length a stored
//! vector is, and what a collection is called. Must not know any backend.

use oddline_analyze::ports::{BackendError, Known, MAX_EMBED_BATCH};

/// Longest vector that is accepted; the largest embedding models give 4,096.
pub(crate) const MAX_DIMENSION: usize = 8_192;

/// How far from 1 the length of a unit vector may be, for f32 sums over [`MAX_DIMENSION`] numbers.
const UNIT_TOLERANCE: f32 = 1e-3;

/// Name of the collection that holds one embedder's vectors: `oddline_<embedder>_<dimension>`, with only characters
/// that Qdrant and file systems take.
///
/// ```
/// assert_eq!(oddline_backends::collection_name("ollama/nomic-embed-text:v1.5", 768), "oddline_ollama-nomic-embed-text-v1.5_768");
/// ```
pub fn collection_name(embedder: &str, dimension: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = embedder.chars().take(128).map(plain).collect();
    format!("oddline_{name}_{dimension}")
}

/// Refuses a batch of texts that is over the port's limit.
pub(crate) fn admit(embedder: &str, texts: &[String]) -> Result<(), BackendError> {
    if texts.len() <= MAX_EMBED_BATCH {
        return Ok(());
    }
    let count = texts.len();
    Err(BackendError::rejected(format!(
        "{embedder}: {count} texts in one call, the limit is {MAX_EMBED_BATCH}"
    )))
}

/// Accepts an embedder's answer for `texts` texts: one vector each, all of one acceptable dimension (`expected`, if it
/// is known), every number finite, none of them zero. Gives them at unit length.
pub(crate) fn accept(
    embedder: &str,
    texts: usize,
    expected: Option<usize>,
    mut vectors: Vec<Vec<f32>>,
) -> Result<Vec<Vec<f32>>, BackendError> {
    let bug = |what: String| Err(BackendError::bug(format!("{embedder}: {what}")));
    if vectors.len() != texts {
        return bug(format!("answered {} vectors for {texts} texts", vectors.len()));
    }
    let Some(first) = vectors.first() else { return Ok(vectors) };
    let dimension = expected.unwrap_or(first.len());
    if !(1..=MAX_DIMENSION).contains(&dimension) {
        return bug(format!("answered vectors of dimension {dimension}, not within 1..={MAX_DIMENSION}"));
    }
    for (position, vector) in vectors.iter_mut().enumerate() {
        if vector.len() != dimension {
            return bug(format!("vector {position} has dimension {}, expected {dimension}", vector.len()));
        }
        if vector.iter().any(|number| !number.is_finite()) {
            return bug(format!("vector {position} holds a number that is not finite"));
        }
        // In f64: the square of a large f32 is not an f32.
        let length = vector.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
        if length == 0.0 {
            return bug(format!("vector {position} is zero"));
        }
        vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    }
    Ok(vectors)
}

/// Refuses a vector that an index of `dimension` cannot hold or search for.
pub(crate) fn fits(index: &str, dimension: usize, vector: &[f32]) -> Result<(), BackendError> {
    if vector.len() != dimension {
        let found = vector.len();
        return Err(BackendError::rejected(format!(
            "{index}: vector has dimension {found}, expected {dimension}"
        )));
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    // Written so that NaN is refused as well.
    if (length - 1.0).abs() <= UNIT_TOLERANCE {
        return Ok(());
    }
    Err(BackendError::rejected(format!("{index}: vector has length {length}, expected 1")))
}

/// Refuses rows that an index of `dimension` cannot hold.
pub(crate) fn all_fit(index: &str, dimension: usize, rows: &[Known]) -> Result<(), BackendError> {
    rows.iter().try_for_each(|row| fits(index, dimension, &row.vector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oddline_analyze::ports::FailureKind;

    fn refusal(texts: usize, expected: Option<usize>, vectors: Vec<Vec<f32>>) -> String {
        let error = accept("e", texts, expected, vectors).unwrap_err();
        assert_eq!(error.kind, FailureKind::Bug);
        error.message
    }

    #[test]
    fn good_vectors_come_back_at_unit_length() {
        let vectors = accept("e", 2, None, vec![vec![3.0, 4.0], vec![0.0, 1e30]]).unwrap();
        assert_eq!(vectors, [vec![0.6, 0.8], vec![0.0, 1.0]]);
        assert_eq!(accept("e", 0, Some(2), vec![]).unwrap(), Vec::<Vec<f32>>::new());
    }

    #[test]
    fn bad_vectors_are_refused_by_name() {
        assert_eq!(refusal(2, None, vec![vec![1.0]]), "e: answered 1 vectors for 2 texts");
        assert_eq!(refusal(1, Some(2), vec![vec![1.0]]), "e: vector 0 has dimension 1, expected 2");
        assert_eq!(
            refusal(2, None, vec![vec![1.0], vec![1.0, 0.0]]),
            "e: vector 1 has dimension 2, expected 1"
        );
        assert_eq!(
            refusal(1, None, vec![vec![f32::NAN, 1.0]]),
            "e: vector 0 holds a number that is not finite"
        );
        assert_eq!(
            refusal(1, None, vec![vec![f32::INFINITY]]),
            "e: vector 0 holds a number that is not finite"
        );
        assert_eq!(refusal(1, None, vec![vec![0.0, -0.0]]), "e: vector 0 is zero");
        assert_eq!(refusal(1, None, vec![vec![]]), "e: answered vectors of dimension 0, not within 1..=8192");
    }

    #[test]
    fn the_dimension_is_limited() {
        assert!(accept("e", 1, None, vec![vec![1.0; MAX_DIMENSION]]).is_ok());
        for dimension in [MAX_DIMENSION + 1, 10 * MAX_DIMENSION] {
            assert!(refusal(1, None, vec![vec![1.0; dimension]]).contains("not within 1..=8192"));
        }
    }

    #[test]
    fn the_batch_is_limited() {
        let texts = |count: usize| vec![String::new(); count];
        assert!(admit("e", &texts(MAX_EMBED_BATCH)).is_ok());
        for count in [MAX_EMBED_BATCH + 1, 10 * MAX_EMBED_BATCH] {
            assert_eq!(admit("e", &texts(count)).unwrap_err().kind, FailureKind::Rejected);
        }
    }

    #[test]
    fn an_index_takes_unit_vectors_of_its_dimension() {
        assert!(fits("i", 2, &[0.6, 0.8]).is_ok());
        for bad in [&[1.0][..], &[0.6, 0.9], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 0.0]] {
            assert_eq!(fits("i", 2, bad).unwrap_err().kind, FailureKind::Rejected, "{bad:?}");
        }
    }
}
