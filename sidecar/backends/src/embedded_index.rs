//! The known-normal templates in process: vectors in, nearest neighbours out by exact cosine. Rows are kept in a
//! [`StateStore`]; must not know which.
//!
//! There is one vector per template and there are at most [`MAX_KNOWN`], so a scan takes milliseconds, and there is no
//! index that could be corrupt, stale or approximate.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use oddline_analyze::ports::{Answer, BackendError, Known, Neighbour, StateStore, VectorIndex};
use oddline_engine::TemplateId;
use tokio::sync::Mutex;

use crate::vectors;

/// Most templates that are held; past it, use Qdrant.
pub const MAX_KNOWN: usize = 100_000;

/// Up to this many products of numbers are summed where the call is made: 8,192 rows of 256 numbers, about 190 us
/// (measured, see README). What is more leaves the runtime's threads.
const INLINE_PRODUCTS: usize = 1 << 21;

/// Rows that are compared with all queries before the next ones are fetched from memory: 128 KiB at 256 dimensions.
const BLOCK: usize = 128;

/// Rows read from the store at a time: 1 MiB of vectors at 256 dimensions. Their memory is used again for the next ones; that of
/// all rows read at once would stay with the process, in pieces between the texts that are kept.
const LOADED_AT_ONCE: usize = 1_000;

/// Numbers summed side by side, for the compiler to put into vector registers.
const LANES: usize = 16;

/// A [`VectorIndex`] in process.
pub struct EmbeddedIndex {
    collection: String,
    dimension: usize,
    limit: usize,
    store: Arc<dyn StateStore>,
    table: Arc<RwLock<Table>>,
    /// Held while the store and then the table change, so that both see changes in the same order.
    writing: Mutex<()>,
}

impl EmbeddedIndex {
    /// Loads one embedder's collection, [`crate::collection_name`], from the store.
    ///
    /// # Errors
    /// If the store fails, or holds more rows than the limit or vectors of another dimension.
    pub async fn open(
        store: Arc<dyn StateStore>,
        embedder: &str,
        dimension: usize,
    ) -> Result<Self, BackendError> {
        Self::with_limit(store, embedder, dimension, MAX_KNOWN).await
    }

    /// As [`EmbeddedIndex::open`], with another limit than [`MAX_KNOWN`].
    ///
    /// # Errors
    /// As [`EmbeddedIndex::open`].
    pub async fn with_limit(
        store: Arc<dyn StateStore>,
        embedder: &str,
        dimension: usize,
        limit: usize,
    ) -> Result<Self, BackendError> {
        let collection = crate::collection_name(embedder, dimension);
        if !(1..=vectors::MAX_DIMENSION).contains(&dimension) {
            let most = vectors::MAX_DIMENSION;
            return Err(BackendError::rejected(format!(
                "{collection}: dimension {dimension} is not within 1..={most}"
            )));
        }
        let mut table = Table::new(dimension);
        let (mut held, mut last) = (0, None);
        loop {
            let rows = store.load_known(&collection, last, LOADED_AT_ONCE).await?;
            let Some(row) = rows.last() else { break };
            last = Some(row.id);
            vectors::all_fit(&collection, dimension, &rows)?;
            // What is over the limit is counted, so that it can be told, and not kept.
            held += rows.len();
            if held <= limit {
                rows.into_iter().for_each(|row| table.upsert(row));
            }
        }
        if held > limit {
            return Err(full(&collection, held, limit));
        }
        let table = Arc::new(RwLock::new(table));
        Ok(EmbeddedIndex { collection, dimension, limit, store, table, writing: Mutex::new(()) })
    }

    fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn full(collection: &str, wanted: usize, limit: usize) -> BackendError {
    BackendError::rejected(format!(
        "{collection}: {wanted} known templates, the limit of the embedded index is {limit}; use qdrant for more"
    ))
}

impl fmt::Debug for EmbeddedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedIndex").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl VectorIndex for EmbeddedIndex {
    fn name(&self) -> &str {
        "embedded"
    }

    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>> {
        Box::pin(async move {
            queries.iter().try_for_each(|query| vectors::fits(&self.collection, self.dimension, query))?;
            let rows = self.read(|table| table.ids.len());
            if rows.saturating_mul(queries.len()).saturating_mul(self.dimension) <= INLINE_PRODUCTS {
                return Ok(self.read(|table| table.nearest(queries, k)));
            }
            let (table, queries) = (Arc::clone(&self.table), queries.to_vec());
            tokio::task::spawn_blocking(move || {
                table.read().unwrap_or_else(PoisonError::into_inner).nearest(&queries, k)
            })
            .await
            .map_err(|error| BackendError::bug(format!("{}: {error}", self.collection)))
        })
    }

    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()> {
        Box::pin(async move {
            vectors::all_fit(&self.collection, self.dimension, &known)?;
            let _turn = self.writing.lock().await;
            // Of several rows with one id the last one counts, for the store as for the table.
            let rows: BTreeMap<u64, Known> = known.into_iter().map(|row| (row.id.0, row)).collect();
            let wanted = self.read(|table| {
                table.ids.len() + rows.keys().filter(|id| !table.positions.contains_key(id)).count()
            });
            if wanted > self.limit {
                return Err(full(&self.collection, wanted, self.limit));
            }
            let rows: Vec<Known> = rows.into_values().collect();
            self.store.save_known(&self.collection, rows.clone()).await?;
            self.write(|table| rows.into_iter().for_each(|row| table.upsert(row)));
            Ok(())
        })
    }

    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        Box::pin(async move {
            let _turn = self.writing.lock().await;
            self.store.remove_known(&self.collection, ids).await?;
            self.write(|table| ids.iter().for_each(|id| table.remove(id.0)));
            Ok(())
        })
    }

    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>> {
        Box::pin(async move { Ok(self.read(|table| table.sample(limit))) })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move { Ok(self.read(|table| table.ids.len())) })
    }
}

/// Rows side by side; row `i` is `ids[i]`, `texts[i]` and `vectors[i * dimension..][..dimension]`.
struct Table {
    dimension: usize,
    ids: Vec<u64>,
    texts: Vec<Arc<str>>,
    vectors: Vec<f32>,
    positions: HashMap<u64, usize>,
}

impl Table {
    fn new(dimension: usize) -> Self {
        let (ids, texts, vectors, positions) = Default::default();
        Table { dimension, ids, texts, vectors, positions }
    }

    fn vector(&self, position: usize) -> &[f32] {
        &self.vectors[position * self.dimension..][..self.dimension]
    }

    fn upsert(&mut self, row: Known) {
        if let Some(&position) = self.positions.get(&row.id.0) {
            self.texts[position] = row.text;
            self.vectors[position * self.dimension..][..self.dimension].copy_from_slice(&row.vector);
        } else {
            self.positions.insert(row.id.0, self.ids.len());
            self.ids.push(row.id.0);
            self.texts.push(row.text);
            self.vectors.extend_from_slice(&row.vector);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(position) = self.positions.remove(&id) else { return };
        // The last row moves into the gap.
        let last = self.ids.len() - 1;
        if position != last {
            self.positions.insert(self.ids[last], position);
            self.vectors.copy_within(last * self.dimension.., position * self.dimension);
        }
        self.ids.swap_remove(position);
        self.texts.swap_remove(position);
        self.vectors.truncate(last * self.dimension);
    }

    fn sample(&self, limit: usize) -> Vec<Known> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_unstable_by_key(|&position| self.ids[position]);
        order.truncate(limit);
        order.into_iter().map(|position| self.known(position)).collect()
    }

    fn known(&self, position: usize) -> Known {
        Known {
            id: TemplateId(self.ids[position]),
            text: Arc::clone(&self.texts[position]),
            vector: self.vector(position).to_vec(),
        }
    }

    fn nearest(&self, queries: &[Vec<f32>], k: usize) -> Vec<Vec<Neighbour>> {
        let mut best = vec![Best::new(k.min(self.ids.len())); queries.len()];
        for (block, ids) in self.ids.chunks(BLOCK).enumerate() {
            for (query, best) in queries.iter().zip(&mut best) {
                for (offset, &id) in ids.iter().enumerate() {
                    let position = block * BLOCK + offset;
                    best.offer(dot(query, self.vector(position)), id, position);
                }
            }
        }
        let neighbour = |&(similarity, id, position): &(f32, u64, usize)| Neighbour {
            id: TemplateId(id),
            text: Arc::clone(&self.texts[position]),
            // Rounding can put the cosine of equal vectors a little over 1.
            similarity: similarity.clamp(-1.0, 1.0),
        };
        best.iter().map(|best| best.rows.iter().map(neighbour).collect()).collect()
    }
}

/// The most similar rows so far, best first; of equally similar ones the smaller id, so that no order of insertion shows.
#[derive(Clone)]
struct Best {
    most: usize,
    rows: Vec<(f32, u64, usize)>,
}

impl Best {
    fn new(most: usize) -> Self {
        Best { most, rows: Vec::new() }
    }

    fn offer(&mut self, similarity: f32, id: u64, position: usize) {
        let before = |row: &(f32, u64, usize)| match row.0.total_cmp(&similarity) {
            Ordering::Equal => row.1 < id,
            order => order == Ordering::Greater,
        };
        if self.rows.len() == self.most && self.rows.last().is_none_or(before) {
            return;
        }
        let place = self.rows.partition_point(before);
        self.rows.insert(place, (similarity, id, position));
        self.rows.truncate(self.most);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
