//! A small Qdrant: the seven gRPC calls that the index makes, on maps. Cosines are exact.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request as HttpRequest, routing::post};
use oddline_backends::qdrant::QdrantOptions;
use prost::Message;
use qdrant_client::qdrant::{
    BatchResult, CollectionConfig, CollectionInfo, CollectionOperationResponse, CollectionParams,
    CountPoints, CountResponse, CountResult, CreateCollection, DeletePoints, GetCollectionInfoRequest,
    GetCollectionInfoResponse, PointStruct, PointsOperationResponse, QueryBatchPoints, QueryBatchResponse,
    QueryPoints, RetrievedPoint, ScoredPoint, ScrollPoints, ScrollResponse, UpsertPoints, VectorParams,
    VectorsConfig, VectorsOutput, point_id::PointIdOptions, points_selector::PointsSelectorOneOf, query,
    vector, vector_input, vector_output, vectors::VectorsOptions, vectors_config::Config, vectors_output,
};
use tonic::{Request, Response, Status};

use crate::fakes::{cosine, unit};

/// What the next look-ups answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Spoiled {
    No,
    NoPayload,
    NanScore,
    FiveMebibytes,
    NoLists,
    Refused,
}

pub(crate) struct Server {
    url: String,
    state: Arc<Mutex<State>>,
}

/// What a server has stored; it may outlive the server.
pub(crate) struct State {
    spoiled: Spoiled,
    collections: HashMap<String, Collection>,
}

impl Default for State {
    fn default() -> Self {
        State { spoiled: Spoiled::No, collections: HashMap::new() }
    }
}

struct Collection {
    params: VectorParams,
    points: BTreeMap<u64, PointStruct>,
}

impl Server {
    pub(crate) fn options(&self) -> QdrantOptions {
        let timeout = std::time::Duration::from_secs(30);
        QdrantOptions { url: self.url.clone(), timeout, ..QdrantOptions::default() }
    }

    pub(crate) fn spoil(&self, spoiled: Spoiled) {
        self.state.lock().unwrap().spoiled = spoiled;
    }

    pub(crate) fn delete(&self, collection: &str) {
        self.state.lock().unwrap().collections.remove(collection);
    }

    pub(crate) fn reshape(&self, collection: &str, size: u64) {
        self.state.lock().unwrap().collections.get_mut(collection).unwrap().params.size = size;
    }
}

pub(crate) async fn start() -> Server {
    start_at("127.0.0.1:0".parse().unwrap()).await
}

pub(crate) async fn start_at(address: SocketAddr) -> Server {
    start_with(address, Arc::default()).await
}

/// With what an earlier one had stored.
pub(crate) async fn start_with(address: SocketAddr, state: Arc<Mutex<State>>) -> Server {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new();
    let router = call(router, "/qdrant.Collections/Get", &state, State::get);
    let router = call(router, "/qdrant.Collections/Create", &state, State::create);
    let router = call(router, "/qdrant.Points/Upsert", &state, State::upsert);
    let router = call(router, "/qdrant.Points/Delete", &state, State::delete);
    let router = call(router, "/qdrant.Points/QueryBatch", &state, State::query_batch);
    let router = call(router, "/qdrant.Points/Scroll", &state, State::scroll);
    let router = call(router, "/qdrant.Points/Count", &state, State::count);
    tokio::spawn(axum::serve(listener, router).into_future());
    Server { url, state }
}

/// Serves one unary call at a path.
fn call<Q, R>(
    router: Router,
    path: &'static str,
    state: &Arc<Mutex<State>>,
    handler: fn(&mut State, Q) -> Result<R, Status>,
) -> Router
where
    Q: Message + Default + 'static,
    R: Message + Default + 'static,
{
    let state = Arc::clone(state);
    router.route(
        path,
        post(move |request: HttpRequest| async move {
            let service = tower::service_fn(move |request: Request<Q>| {
                let answer = handler(&mut state.lock().unwrap(), request.into_inner()).map(Response::new);
                std::future::ready(answer)
            });
            let codec = tonic_prost::ProstCodec::<R, Q>::default();
            Ok::<_, Infallible>(tonic::server::Grpc::new(codec).unary(service, request).await.map(Body::new))
        }),
    )
}

impl State {
    fn collection(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let missing = || Status::not_found(format!("Collection `{name}` doesn't exist!"));
        self.collections.get_mut(name).ok_or_else(missing)
    }

    fn get(&mut self, request: GetCollectionInfoRequest) -> Result<GetCollectionInfoResponse, Status> {
        let vectors =
            VectorsConfig { config: Some(Config::Params(self.collection(&request.collection_name)?.params)) };
        let params = CollectionParams { vectors_config: Some(vectors), ..CollectionParams::default() };
        let config = CollectionConfig { params: Some(params), ..CollectionConfig::default() };
        let info = CollectionInfo { config: Some(config), ..CollectionInfo::default() };
        Ok(GetCollectionInfoResponse { result: Some(info), ..GetCollectionInfoResponse::default() })
    }

    fn create(&mut self, request: CreateCollection) -> Result<CollectionOperationResponse, Status> {
        let name = request.collection_name;
        if self.collections.contains_key(&name) {
            return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
        }
        let Some(Config::Params(params)) = request.vectors_config.and_then(|vectors| vectors.config) else {
            return Err(Status::invalid_argument("one plain vector is all that this server knows"));
        };
        self.collections.insert(name, Collection { params, points: BTreeMap::new() });
        Ok(CollectionOperationResponse { result: true, ..CollectionOperationResponse::default() })
    }

    fn upsert(&mut self, request: UpsertPoints) -> Result<PointsOperationResponse, Status> {
        let collection = self.collection(&request.collection_name)?;
        for point in request.points {
            let vector = stored(&point)?;
            if vector.len() as u64 != collection.params.size {
                return Err(Status::invalid_argument("Wrong input: Vector dimension error"));
            }
            collection.points.insert(number(&point.id)?, point);
        }
        Ok(PointsOperationResponse::default())
    }

    fn delete(&mut self, request: DeletePoints) -> Result<PointsOperationResponse, Status> {
        let selector = request.points.and_then(|points| points.points_selector_one_of);
        let Some(PointsSelectorOneOf::Points(list)) = selector else {
            return Err(Status::invalid_argument("points are deleted by id"));
        };
        let collection = self.collection(&request.collection_name)?;
        for id in list.ids {
            collection.points.remove(&number(&Some(id))?);
        }
        Ok(PointsOperationResponse::default())
    }

    fn query_batch(&mut self, request: QueryBatchPoints) -> Result<QueryBatchResponse, Status> {
        let spoiled = self.spoiled;
        match spoiled {
            Spoiled::NoLists => return Ok(QueryBatchResponse::default()),
            Spoiled::Refused => return Err(Status::unauthenticated("who are you?")),
            _ => {}
        }
        let collection = self.collection(&request.collection_name)?;
        let lists = request.query_points.iter().map(|query| collection.query(query, spoiled));
        Ok(QueryBatchResponse { result: lists.collect::<Result<_, _>>()?, ..QueryBatchResponse::default() })
    }

    fn scroll(&mut self, request: ScrollPoints) -> Result<ScrollResponse, Status> {
        let spoiled = self.spoiled;
        let collection = self.collection(&request.collection_name)?;
        let from = if request.offset.is_some() { number(&request.offset)? } else { 0 };
        let limit = request.limit.unwrap_or(10) as usize;
        let mut rows = collection.points.range(from..);
        let mut result = Vec::new();
        for (_, point) in rows.by_ref().take(limit) {
            let dense = vector_output::Vector::Dense(stored(point)?.into());
            #[expect(deprecated, reason = "the message still has the old fields")]
            let output = qdrant_client::qdrant::VectorOutput {
                data: Vec::new(),
                indices: None,
                vectors_count: None,
                vector: Some(dense),
            };
            result.push(RetrievedPoint {
                id: point.id.clone(),
                payload: if spoiled == Spoiled::NoPayload { HashMap::new() } else { point.payload.clone() },
                vectors: Some(VectorsOutput {
                    vectors_options: Some(vectors_output::VectorsOptions::Vector(output)),
                }),
                ..RetrievedPoint::default()
            });
        }
        let next_page_offset = rows.next().map(|(&id, _)| id.into());
        Ok(ScrollResponse { next_page_offset, result, ..ScrollResponse::default() })
    }

    fn count(&mut self, request: CountPoints) -> Result<CountResponse, Status> {
        let count = self.collection(&request.collection_name)?.points.len() as u64;
        Ok(CountResponse { result: Some(CountResult { count }), ..CountResponse::default() })
    }
}

impl Collection {
    fn query(&self, query: &QueryPoints, spoiled: Spoiled) -> Result<BatchResult, Status> {
        let Some(query::Variant::Nearest(input)) = query.query.clone().and_then(|query| query.variant) else {
            return Err(Status::invalid_argument("only nearest is known"));
        };
        let Some(vector_input::Variant::Dense(wanted)) = input.variant else {
            return Err(Status::invalid_argument("only dense vectors are known"));
        };
        let wanted = unit(wanted.data);
        let mut points = Vec::new();
        for point in self.points.values() {
            let mut payload =
                if spoiled == Spoiled::NoPayload { HashMap::new() } else { point.payload.clone() };
            if spoiled == Spoiled::FiveMebibytes {
                payload.insert("text".to_owned(), "a".repeat(5 << 20).into());
            }
            let score =
                if spoiled == Spoiled::NanScore { f32::NAN } else { cosine(&wanted, &stored(point)?) };
            points.push(ScoredPoint { id: point.id.clone(), payload, score, ..ScoredPoint::default() });
        }
        points.sort_by(|a, b| b.score.total_cmp(&a.score));
        points.truncate(query.limit.unwrap_or(10) as usize);
        Ok(BatchResult { result: points })
    }
}

/// Qdrant stores the vectors of a cosine collection at unit length.
fn stored(point: &PointStruct) -> Result<Vec<f32>, Status> {
    let options = point.vectors.clone().and_then(|vectors| vectors.vectors_options);
    let Some(VectorsOptions::Vector(vector)) = options else {
        return Err(Status::invalid_argument("a point has one vector"));
    };
    match vector.vector {
        Some(vector::Vector::Dense(dense)) => Ok(unit(dense.data)),
        #[expect(deprecated, reason = "the client may still fill the old field")]
        None => Ok(unit(vector.data)),
        Some(_) => Err(Status::invalid_argument("only dense vectors are known")),
    }
}

fn number(id: &Option<qdrant_client::qdrant::PointId>) -> Result<u64, Status> {
    match id.clone().and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => Ok(number),
        _ => Err(Status::invalid_argument("ids are numbers here")),
    }
}
