//! The known-normal templates in Qdrant, over gRPC: vectors in, nearest neighbours out. Knows Qdrant's messages, and
//! nothing of how vectors come about.
//!
//! There is one collection per embedder and dimension, [`crate::collection_name`], made when it is first used. A
//! point's id is the template's id, its payload the beginning of the template's text. The generated client of `qdrant-client` is used
//! directly rather than its wrapper, which would take answers of any size.

mod answer;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use oddline_analyze::ports::{Answer, BackendError, Known, Neighbour, VectorIndex};
use oddline_engine::TemplateId;
use qdrant_client::qdrant::{
    CollectionParams, CountPoints, CreateCollection, DeletePoints, Distance, GetCollectionInfoRequest,
    PointId, PointStruct, QueryBatchPoints, QueryPoints, ScrollPoints, UpsertPoints, VectorInput,
    VectorParams, collections_client::CollectionsClient, points_client::PointsClient, vectors_config::Config,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::{http, vectors};

/// Most rows in one message; see [`rows`].
const PAGE: usize = 256;
/// Longest text of a payload, in bytes: as much of it as embedders are given. A template may be as long as what is
/// analysed of a message, 64 KiB: three neighbours of each of 64 such would be 12 MiB.
const MAX_TEXT_BYTES: usize = 2 << 10;
/// Most bytes of a message with rows or queries, half of what we take for an answer: 256 rows of 1,024 dimensions with
/// the longest texts are 1.6 MiB, and the 192 neighbours of 64 queries 0.4 MiB.
const MESSAGE_BYTES: usize = http::MAX_ANSWER_BYTES / 2;
/// Id, score, version and the names of fields, of one row.
const AROUND: usize = 128;

/// Where the server is.
#[derive(Clone)]
pub struct QdrantOptions {
    /// Base address of its gRPC port.
    pub url: String,
    /// Key, if the server wants one.
    pub api_key: Option<String>,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

impl Default for QdrantOptions {
    fn default() -> Self {
        QdrantOptions {
            url: "http://127.0.0.1:6334".to_owned(),
            api_key: None,
            timeout: Duration::from_secs(2),
        }
    }
}

/// Leaves out the key.
impl fmt::Debug for QdrantOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QdrantOptions")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A [`VectorIndex`] in Qdrant.
pub struct Qdrant {
    name: String,
    collection: String,
    dimension: usize,
    timeout: Duration,
    service: Service,
    /// Whether the collection has been seen to exist with the right shape.
    ready: AtomicBool,
}

type Service = InterceptedService<Channel, ApiKey>;

/// Puts the key on every request.
#[derive(Clone)]
struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("api-key", key.clone());
        }
        Ok(request)
    }
}

/// Rows of so many bytes each that make one message.
fn rows(bytes: usize) -> usize {
    (MESSAGE_BYTES / bytes.max(1)).clamp(1, PAGE)
}

fn head(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text)
}

impl Qdrant {
    /// Does not connect: a server that is down is an error of the calls. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the address, the key or the dimension makes no sense.
    pub fn new(options: QdrantOptions, embedder: &str, dimension: usize) -> Result<Self, BackendError> {
        let collection = crate::collection_name(embedder, dimension);
        let url = http::join("qdrant", &options.url, "")?;
        let name = format!("qdrant {url}{collection}");
        let rejected = |what: &dyn fmt::Display| BackendError::rejected(format!("{name}: {what}"));
        if !(1..=vectors::MAX_DIMENSION).contains(&dimension) {
            return Err(rejected(&format!(
                "dimension {dimension} is not within 1..={}",
                vectors::MAX_DIMENSION
            )));
        }
        let key = match options.api_key.as_deref().map(MetadataValue::<Ascii>::try_from).transpose() {
            Ok(key) => key,
            Err(_) => return Err(rejected(&"the key holds characters that no header can carry")),
        };
        let mut endpoint = Endpoint::from_shared(url.to_string())
            .map_err(|error| rejected(&error))?
            .connect_timeout(options.timeout)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true);
        if url.scheme() == "https" {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|error| rejected(&error))?;
        }
        let service = InterceptedService::new(endpoint.connect_lazy(), ApiKey(key));
        Ok(Qdrant {
            name,
            collection,
            dimension,
            timeout: options.timeout,
            service,
            ready: AtomicBool::new(false),
        })
    }

    fn points(&self) -> PointsClient<Service> {
        PointsClient::new(self.service.clone()).max_decoding_message_size(http::MAX_ANSWER_BYTES)
    }

    fn collections(&self) -> CollectionsClient<Service> {
        CollectionsClient::new(self.service.clone()).max_decoding_message_size(http::MAX_ANSWER_BYTES)
    }

    /// Rows with vector and text that make one message.
    fn page(&self) -> usize {
        rows(4 * self.dimension + MAX_TEXT_BYTES + AROUND)
    }

    /// Runs one call under the deadline.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, BackendError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => {
                Err(BackendError::unavailable(format!("{}: no answer within {:?}", self.name, self.timeout)))
            }
        }
    }

    fn failure(&self, status: &Status) -> BackendError {
        let text = http::excerpt(status.message().as_bytes());
        let message = format!("{}: {}: {text}", self.name, status.code());
        match status.code() {
            Code::NotFound => {
                // Someone deleted the collection: the next call makes it again.
                self.ready.store(false, Ordering::Relaxed);
                BackendError::unavailable(message)
            }
            // What tonic says of a message over the limit.
            Code::OutOfRange => BackendError::bug(message),
            Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented => BackendError::rejected(message),
            _ => BackendError::unavailable(message),
        }
    }

    /// Makes the collection if it is absent, and refuses one of another shape.
    async fn ready(&self) -> Result<(), BackendError> {
        if self.ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.exists().await? {
            let request = CreateCollection {
                collection_name: self.collection.clone(),
                vectors_config: Some(Config::Params(self.params()).into()),
                ..CreateCollection::default()
            };
            let created = self.call(self.collections().create(request)).await;
            // Another sidecar may have been quicker.
            if let Err(error) = created
                && !self.exists().await?
            {
                return Err(error);
            }
        }
        self.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn params(&self) -> VectorParams {
        VectorParams {
            size: self.dimension as u64,
            distance: Distance::Cosine.into(),
            ..VectorParams::default()
        }
    }

    async fn exists(&self) -> Result<bool, BackendError> {
        let request = GetCollectionInfoRequest { collection_name: self.collection.clone() };
        let mut client = self.collections();
        let found = self.call(async {
            match client.get(request).await {
                Err(status) if status.code() == Code::NotFound => Ok(Response::new(None)),
                answer => answer.map(|response| response.map(Some)),
            }
        });
        let Some(answer) = found.await? else { return Ok(false) };
        let params = answer.result.and_then(|info| info.config).and_then(|config| config.params);
        self.shape(params)?;
        Ok(true)
    }

    fn shape(&self, params: Option<CollectionParams>) -> Result<(), BackendError> {
        let name = &self.name;
        let Some(Config::Params(found)) = params.and_then(|params| params.vectors_config?.config) else {
            return Err(BackendError::rejected(format!(
                "{name}: the collection holds no single vector per point"
            )));
        };
        let wanted = self.params();
        if (found.size, found.distance) == (wanted.size, wanted.distance) {
            return Ok(());
        }
        let distance = found.distance().as_str_name();
        Err(BackendError::rejected(format!(
            "{name}: the collection has dimension {} and distance {distance}, expected {} and Cosine; delete or rename it",
            found.size, wanted.size
        )))
    }
}

impl fmt::Debug for Qdrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qdrant").field("name", &self.name).field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl VectorIndex for Qdrant {
    fn name(&self) -> &str {
        &self.name
    }

    fn nearest<'a>(&'a self, queries: &'a [Vec<f32>], k: usize) -> Answer<'a, Vec<Vec<Neighbour>>> {
        Box::pin(async move {
            queries.iter().try_for_each(|query| vectors::fits(&self.name, self.dimension, query))?;
            if queries.is_empty() || k == 0 {
                return Ok(vec![Vec::new(); queries.len()]);
            }
            self.ready().await?;
            let query = |vector: &Vec<f32>| QueryPoints {
                collection_name: self.collection.clone(),
                query: Some(VectorInput::from(vector.clone()).into()),
                limit: Some(k as u64),
                with_payload: Some(true.into()),
                ..QueryPoints::default()
            };
            // Neither the question nor its answer is too long.
            let vector = 4 * self.dimension + AROUND;
            let most = rows(vector.max(k.saturating_mul(MAX_TEXT_BYTES + AROUND)));
            let mut neighbours = Vec::with_capacity(queries.len());
            for some in queries.chunks(most) {
                let request = QueryBatchPoints {
                    collection_name: self.collection.clone(),
                    query_points: some.iter().map(query).collect(),
                    ..QueryBatchPoints::default()
                };
                let answer = self.call(self.points().query_batch(request)).await?;
                neighbours.extend(answer::neighbours(&self.name, answer, some.len(), k)?);
            }
            Ok(neighbours)
        })
    }

    fn upsert(&self, known: Vec<Known>) -> Answer<'_, ()> {
        Box::pin(async move {
            vectors::all_fit(&self.name, self.dimension, &known)?;
            self.ready().await?;
            // Of several rows with one id the last one counts.
            let known: BTreeMap<u64, Known> = known.into_iter().map(|row| (row.id.0, row)).collect();
            let known: Vec<Known> = known.into_values().collect();
            for page in known.chunks(self.page()) {
                let point = |row: &Known| PointStruct {
                    id: Some(row.id.0.into()),
                    vectors: Some(row.vector.clone().into()),
                    payload: [(answer::TEXT.to_owned(), head(&row.text).into())].into(),
                };
                let request = UpsertPoints {
                    collection_name: self.collection.clone(),
                    wait: Some(true),
                    points: page.iter().map(point).collect(),
                    ..UpsertPoints::default()
                };
                self.call(self.points().upsert(request)).await?;
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, ids: &'a [TemplateId]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.ready().await?;
            for page in ids.chunks(PAGE) {
                let ids: Vec<PointId> = page.iter().map(|id| id.0.into()).collect();
                let request = DeletePoints {
                    collection_name: self.collection.clone(),
                    wait: Some(true),
                    points: Some(ids.into()),
                    ..DeletePoints::default()
                };
                self.call(self.points().delete(request)).await?;
            }
            Ok(())
        })
    }

    fn sample(&self, limit: usize) -> Answer<'_, Vec<Known>> {
        Box::pin(async move {
            self.ready().await?;
            let mut rows = Vec::new();
            let mut offset = None;
            while rows.len() < limit {
                let request = ScrollPoints {
                    collection_name: self.collection.clone(),
                    offset,
                    limit: Some(self.page().min(limit - rows.len()) as u32),
                    with_payload: Some(true.into()),
                    with_vectors: Some(true.into()),
                    ..ScrollPoints::default()
                };
                let answer = self.call(self.points().scroll(request)).await?;
                let page = answer::known(&self.name, self.dimension, answer.result)?;
                let empty = page.is_empty();
                rows.extend(page);
                offset = answer.next_page_offset;
                // An empty page that promises more would never end.
                if offset.is_none() || empty {
                    break;
                }
            }
            rows.truncate(limit);
            Ok(rows)
        })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move {
            self.ready().await?;
            let request = CountPoints {
                collection_name: self.collection.clone(),
                exact: Some(true),
                ..CountPoints::default()
            };
            let answer = self.call(self.points().count(request)).await?;
            Ok(answer.result.map_or(0, |result| usize::try_from(result.count).unwrap_or(usize::MAX)))
        })
    }
}
