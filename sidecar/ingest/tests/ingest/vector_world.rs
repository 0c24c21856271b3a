//! Both ends of Vector for the tests: a `vector` sink that pushes and a `vector` source that takes, generated from our own
//! description of the wire format.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Extension, Router, body::Body, extract::Request as HttpRequest, http::uri::PathAndQuery, routing::post,
};
use oddline_ingest::{
    Detour,
    vector::server::Service,
    web::{Protocol, Web},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    support::{Running, World},
    vector_event::{
        Event, EventWrapper, Kind, Log, PushEventsRequest, Value, array, float, map, text, truth,
    },
};

pub(crate) const PUSH: &str = "/vector.Vector/PushEvents";
pub(crate) const HEALTH: &str = "/vector.Vector/HealthCheck";

impl World {
    pub(crate) fn vector(&self, detour: Detour) -> Web {
        let (limits, events) = (self.limits.clone(), self.events.clone());
        let service = Service::new(Arc::new(detour), limits.clone(), self.budget.clone(), events.clone());
        let router = service.router();
        Web { name: "vector", router, protocol: Protocol::Http2, tls: None, limits, events }
    }

    pub(crate) async fn serve_web(&self, web: Web) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        Running { address, task: tokio::spawn(web.run(listener, shutdown.clone())), shutdown }
    }

    pub(crate) async fn serve_vector(&self) -> Running {
        self.serve_web(self.vector(self.detour())).await
    }

    /// The events that arrived, all deliveries together.
    pub(crate) fn arrived(&self) -> Vec<EventWrapper> {
        let arrived = self.back.arrived.lock().unwrap();
        let bytes: Vec<u8> = arrived.iter().flat_map(|outgoing| outgoing.events.clone()).collect();
        prost::Message::decode(&*bytes).map(|request: PushEventsRequest| request.events).unwrap()
    }
}

/// A `vector` sink.
#[derive(Clone)]
pub(crate) struct Sink {
    grpc: Grpc<Channel>,
}

impl Sink {
    pub(crate) async fn connect(address: SocketAddr) -> Sink {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        Sink::over(endpoint.connect().await.unwrap())
    }

    pub(crate) fn over(channel: Channel) -> Sink {
        Sink { grpc: Grpc::new(channel) }
    }

    pub(crate) async fn push(&self, events: Vec<EventWrapper>) -> Result<(), Status> {
        self.call(PUSH, PushEventsRequest { events }).await
    }

    pub(crate) async fn call(&self, path: &'static str, message: PushEventsRequest) -> Result<(), Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<PushEventsRequest, PushEventsRequest>::default();
        grpc.unary(Request::new(message), PathAndQuery::from_static(path), codec).await.map(drop)
    }
}

/// How a source meets a push.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Takes,
    Refuses(Status),
    /// Takes it and never answers.
    Hangs,
    /// Cannot go on with what it took.
    Stumbles,
    /// Takes it after a while.
    Waits,
}

/// A `vector` source.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) came: Arc<Mutex<Vec<PushEventsRequest>>>,
    pub(crate) asked: Arc<Semaphore>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Source {
    pub(crate) fn new(mood: Mood) -> Source {
        let semaphore = || Arc::new(Semaphore::new(0));
        let mood = Arc::new(Mutex::new(mood));
        Source { mood, came: Arc::default(), asked: semaphore(), gate: semaphore() }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Waits until it has been asked once more.
    pub(crate) async fn asked(&self) {
        self.asked.acquire().await.unwrap().forget();
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        let came = self.came.lock().unwrap();
        came.iter().flat_map(|request| request.events.clone()).filter_map(log).collect()
    }

    async fn take(self, request: PushEventsRequest) -> Result<Response<PushEventsRequest>, Status> {
        self.asked.add_permits(1);
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Refuses(status) => return Err(status),
            Mood::Stumbles => panic!("a source that stumbles, as it should"),
            Mood::Hangs => std::future::pending().await,
            Mood::Waits => self.gate.acquire().await.unwrap().forget(),
            Mood::Takes => {}
        }
        self.came.lock().unwrap().push(request);
        Ok(Response::new(PushEventsRequest::default()))
    }

    /// Serves on a listener until the token is cancelled; then its connections break, too.
    pub(crate) fn serve(&self, listener: TcpListener) -> CancellationToken {
        let router = Router::new().route(PUSH, post(take)).layer(Extension(self.clone()));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = tokio::select! {
                    () = stopped.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let builder = hyper_util::server::conn::auto::Builder::new(executor).http2_only();
                    let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(socket), service).await;
                });
            }
        });
        stop
    }
}

async fn take(Extension(source): Extension<Source>, request: HttpRequest) -> axum::http::Response<Body> {
    let service = tower::service_fn(move |request: Request<PushEventsRequest>| {
        source.clone().take(request.into_inner())
    });
    let codec = ProstCodec::<PushEventsRequest, PushEventsRequest>::default();
    let answer = tonic::server::Grpc::new(codec).unary(service, request).await;
    answer.map(Body::new)
}

pub(crate) fn log(event: EventWrapper) -> Option<Log> {
    match event.event {
        Some(Event::Log(log)) => Some(log),
        _ => None,
    }
}

/// A log as the remap sends it on the detour.
pub(crate) fn pending(message: &str, tag: &str) -> Log {
    let tags = map([
        ("score", float(0.7)),
        ("level", text("medium")),
        ("status", text("pending")),
        ("flags", array(vec![text("new")])),
        ("template", text(message)),
        ("reason", text("new message")),
        ("model", text("oddline/vrl")),
    ]);
    let ours = map([("tag", text(tag)), ("detour", truth())]);
    Log::new([("message", text(message)), ("anomaly", tags)], [("oddline", ours), ("own", text("kept"))])
}

/// A value nested so deep that prost does not read it.
pub(crate) fn too_deep() -> EventWrapper {
    let value = (0..40).fold(truth(), |inner, _| map([("d", inner)]));
    Log::new([("message", text("deep")), ("d", value)], []).event()
}

/// A log whose root is no map.
pub(crate) fn just_text() -> EventWrapper {
    Log { value: Some(Value { kind: Some(Kind::RawBytes(b"just text".to_vec())) }), ..Log::new([], []) }
        .event()
}
