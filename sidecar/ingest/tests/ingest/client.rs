//! The way back: what the client does when the return input is away, slow, or says something else.

use std::{sync::Arc, time::Duration};

use oddline_ingest::{
    Deliver, DeliverError, Events, Failure, Outgoing,
    forward::{
        client::{Client, ClientSettings},
        frame::{Frame, write_ack},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn outgoing() -> Outgoing {
    Outgoing { tag: b"app".to_vec(), events: b"\x92\x01\x80".to_vec(), records: 1 }
}

fn client(address: String) -> (Client, Arc<Events>) {
    let events = Arc::new(Events::default());
    let mut settings = ClientSettings::new(address);
    settings.timeout = Duration::from_millis(700);
    settings.attempt = Duration::from_millis(200);
    settings.pause = Duration::from_millis(10);
    (Client::new(settings, events.clone()), events)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Reads a frame; its chunk id.
async fn take(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1_024];
    let mut length = 0;
    loop {
        match socket.read(&mut bytes[length..]).await.ok()? {
            0 => return None,
            read => length += read,
        }
        if let Ok(frame) = Frame::parse(&bytes[..length]) {
            return frame.chunk.map(Into::into);
        }
    }
}

async fn acknowledge(socket: &mut TcpStream) {
    let chunk = take(socket).await.unwrap();
    socket.write_all(&write_ack(&chunk)).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_kept_and_replaced_when_it_has_gone_stale() {
    let (listener, address) = listen().await;
    let (client, events) = client(address);
    let serve = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        acknowledge(&mut first).await;
        acknowledge(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        acknowledge(&mut second).await;
        second
    });
    for _ in 0..3 {
        client.deliver(&outgoing()).await.unwrap();
    }
    serve.await.unwrap();
    assert_eq!(events.delivery_errors.get(), 0);
}

#[tokio::test]
async fn it_tries_again_within_its_time() {
    let (listener, address) = listen().await;
    let (client, _) = client(address);
    let serve = tokio::spawn(async move {
        // Closes twice without an answer, then behaves.
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            take(&mut socket).await.unwrap();
        }
        let (mut socket, _) = listener.accept().await.unwrap();
        acknowledge(&mut socket).await;
        socket
    });
    client.deliver(&outgoing()).await.unwrap();
    serve.await.unwrap();
}

#[tokio::test]
async fn what_is_written_and_not_answered_is_not_sent_again() {
    for answers in [true, false] {
        let (listener, address) = listen().await;
        let (client, events) = client(address);
        let serve = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let chunk = take(&mut socket).await.unwrap();
            // Longer than it may take to connect or to write.
            tokio::time::sleep(Duration::from_millis(400)).await;
            if answers {
                socket.write_all(&write_ack(&chunk)).await.unwrap();
            }
            // A second copy would come over this connection or over another.
            let again = tokio::time::timeout(Duration::from_millis(600), async {
                tokio::select! {
                    more = take(&mut socket) => more.is_some(),
                    _ = listener.accept() => true,
                }
            });
            again.await.unwrap_or(false)
        });
        let outcome = client.deliver(&outgoing()).await;
        assert_eq!(outcome.is_ok(), answers);
        if let Err(error) = outcome {
            assert!(
                error.reason.starts_with("no acknowledgement") && error.failure == Failure::Silent,
                "{error}"
            );
        }
        assert_eq!(events.delivery_errors.get(), u64::from(!answers));
        assert!(!serve.await.unwrap(), "sent twice");
    }
}

async fn refused(address: String) -> DeliverError {
    let (client, events) = client(address.clone());
    let error = client.deliver(&outgoing()).await.unwrap_err();
    assert_eq!((error.address.as_str(), events.delivery_errors.get()), (address.as_str(), 1));
    error
}

#[tokio::test]
async fn nobody_there_silence_and_wrong_answers_are_told_apart() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = refused(address).await;
    assert!(error.reason.starts_with("cannot connect: ") && error.failure == Failure::Away, "{error}");

    let (_listener, address) = listen().await;
    let error = refused(address).await;
    assert!(error.reason.starts_with("no ") && error.failure == Failure::Silent, "{error}");

    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                take(&mut socket).await;
                let _ = socket.write_all(&write_ack(b"another")).await;
            });
        }
    });
    assert_eq!(refused(address).await.reason, "acknowledged another chunk");
}

#[tokio::test]
async fn deliveries_in_parallel_are_bounded() {
    let (listener, address) = listen().await;
    let mut settings = ClientSettings::new(address);
    settings.connections = 2;
    let client = Arc::new(Client::new(settings, Arc::default()));
    let deliveries: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.deliver(&outgoing()).await })
        })
        .collect();
    let (mut first, _) = listener.accept().await.unwrap();
    let (mut second, _) = listener.accept().await.unwrap();
    for _ in 0..5 {
        acknowledge(&mut first).await;
        acknowledge(&mut second).await;
    }
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
}
