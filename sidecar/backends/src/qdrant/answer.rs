//! Qdrant's answers, not trusted blindly: messages in, neighbours and known templates out, or what is wrong with them.

use std::{collections::HashMap, sync::Arc};

use oddline_analyze::ports::{BackendError, Known, Neighbour};
use oddline_engine::TemplateId;
use qdrant_client::qdrant::{
    PointId, QueryBatchResponse, RetrievedPoint, Value, VectorsOutput, point_id::PointIdOptions, value::Kind,
    vector_output, vectors_output::VectorsOptions,
};

use crate::vectors;

/// The payload field that holds the template's text.
pub(super) const TEXT: &str = "text";

pub(super) fn neighbours(
    index: &str,
    answer: QueryBatchResponse,
    queries: usize,
    k: usize,
) -> Result<Vec<Vec<Neighbour>>, BackendError> {
    if answer.result.len() != queries {
        let found = answer.result.len();
        return Err(BackendError::bug(format!("{index}: answered {found} lists for {queries} queries")));
    }
    let neighbour = |point: qdrant_client::qdrant::ScoredPoint| {
        if !point.score.is_finite() {
            return Err(BackendError::bug(format!("{index}: a similarity is not finite")));
        }
        Ok(Neighbour {
            id: id(index, point.id)?,
            text: text(index, point.payload)?,
            // Rounding can put the cosine of equal vectors a little over 1.
            similarity: point.score.clamp(-1.0, 1.0),
        })
    };
    let list = |points: Vec<_>| points.into_iter().take(k).map(neighbour).collect();
    answer.result.into_iter().map(|batch| list(batch.result)).collect()
}

pub(super) fn known(
    index: &str,
    dimension: usize,
    points: Vec<RetrievedPoint>,
) -> Result<Vec<Known>, BackendError> {
    let row = |point: RetrievedPoint| {
        let vector = dense(point.vectors)
            .ok_or_else(|| BackendError::bug(format!("{index}: a point has no plain vector")))?;
        // Qdrant stores vectors of a cosine collection at unit length, up to rounding.
        let vector = vectors::accept(index, 1, Some(dimension), vec![vector])?.swap_remove(0);
        Ok(Known { id: id(index, point.id)?, text: text(index, point.payload)?, vector })
    };
    points.into_iter().map(row).collect()
}

fn id(index: &str, id: Option<PointId>) -> Result<TemplateId, BackendError> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => Ok(TemplateId(number)),
        _ => Err(BackendError::bug(format!(
            "{index}: a point's id is not a number; someone else writes to it"
        ))),
    }
}

fn text(index: &str, mut payload: HashMap<String, Value>) -> Result<Arc<str>, BackendError> {
    match payload.remove(TEXT).and_then(|value| value.kind) {
        Some(Kind::StringValue(text)) => Ok(text.into()),
        _ => Err(BackendError::bug(format!(
            "{index}: a point has no payload `{TEXT}`; someone else writes to it"
        ))),
    }
}

/// Not the crate's own `into_vector`, which panics on some answers.
fn dense(vectors: Option<VectorsOutput>) -> Option<Vec<f32>> {
    let Some(VectorsOptions::Vector(output)) = vectors?.vectors_options else { return None };
    match output.vector {
        Some(vector_output::Vector::Dense(dense)) => Some(dense.data),
        Some(_) => None,
        #[expect(deprecated, reason = "servers before 1.16 answer in this field only")]
        None => Some(output.data),
    }
}
