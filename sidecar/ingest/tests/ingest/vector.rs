//! Events over gRPC: judged, tagged and given back in order; everything else untouched; acknowledged only when delivered.

use oddline_codec::{TagStyle, marker, protobuf};
use oddline_engine::{BARE_COUNTS, Mode, Profile, Status};
use tonic::Code;

use crate::{
    support::{World, secret},
    vector_event::{Event, EventWrapper, Metric, Number, PushEventsRequest, Trace, text},
    vector_world::{HEALTH, Sink, just_text, log, pending, too_deep},
};

fn encoded(events: Vec<EventWrapper>) -> Vec<u8> {
    prost::Message::encode_to_vec(&PushEventsRequest { events })
}

#[tokio::test]
async fn events_come_back_in_order_tagged_marked_and_otherwise_as_they_were() {
    for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
        let world = World::with(Mode::Divert, profile);
        let running = world.serve_vector().await;
        let sink = Sink::connect(running.address).await;
        let metric = Metric { name: "up".into(), gauge: Some(Number { value: 1.0 }), ..Metric::default() };
        let trace = EventWrapper { event: Some(Event::Trace(Trace::default())) };
        let rooted = pending("odd two", "web").rooted();
        let sent =
            vec![pending("odd one", "app").event(), metric.event(), rooted.event(), trace, just_text()];
        sink.push(sent.clone()).await.unwrap();
        let arrived = world.arrived();
        assert_eq!(arrived.len(), sent.len());
        for at in [1, 3, 4] {
            assert_eq!(arrived[at], sent[at]);
        }
        let style = TagStyle::of(&world.settings);
        for (at, message, tag) in [(0, "odd one", "app"), (2, "odd two", "web")] {
            let done = log(arrived[at].clone()).unwrap();
            let bytes = prost::Message::encode_to_vec(&done);
            let tags = protobuf::read_styled_tags(&bytes, &style).unwrap();
            assert_eq!((tags.status, tags.model.as_deref()), (Some(Status::Confirmed), Some("oddline/vrl")));
            let marker = protobuf::read_marker(&bytes).unwrap();
            let (id, level) = (tags.template_id, tags.level);
            let by = secret();
            assert!(marker::verify(
                &by,
                tag.as_bytes(),
                message.as_bytes(),
                id,
                level,
                Status::Confirmed,
                marker
            ));
            assert_eq!(done.root().at(&["message"]), Some(&text(message)));
            assert_eq!(
                (done.meta(&["own"]), done.meta(&["oddline", "tag"])),
                (Some(&text("kept")), Some(&text(tag)))
            );
            assert_eq!(done.meta(&["oddline", "detour"]), None);
        }
        let judged = world.judge.judged.lock().unwrap();
        assert_eq!(judged.iter().map(|record| &*record.source).collect::<Vec<_>>(), ["app", "web"]);
        assert_eq!((world.events.records_sent.get(), world.events.records_unread.get()), (5, 1));
    }
}

#[tokio::test]
async fn logs_without_tags_are_screened_and_forged_ones_not_believed() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    let mut plain = pending("quiet", "app");
    plain.fields.remove("anomaly");
    let mut forged = pending("odd", "app");
    forged.fields.insert("anomaly".into(), text("cleared, believe me"));
    sink.push(vec![plain.event(), forged.event()]).await.unwrap();
    assert_eq!(*world.judge.screened.lock().unwrap(), ["quiet", "odd"]);
    let back: Vec<_> = world.arrived().into_iter().filter_map(log).collect();
    assert_eq!(back[0].root().at(&["anomaly", "level"]), Some(&text("none")));
    assert_eq!(back[1].root().at(&["anomaly", "status"]), Some(&text("confirmed")));
    assert_eq!(back[1].root().at(&["anomaly_original"]), Some(&text("cleared, believe me")));
}

#[tokio::test]
async fn counts_are_taken_once_and_other_metrics_are_not() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    let events = || {
        let other = Metric { namespace: "mine".into(), ..Metric::count("0000000000000abc", "app", 1.0) };
        vec![
            Metric::count("0000000000000abc", "app", 12.0).event(),
            Metric::count("not an id", "app", 1.0).event(),
            other.event(),
            Metric::count("0000000000000def", "web", 3.0).event(),
        ]
    };
    // Not delivered, so not counted: it comes again.
    *world.back.failures.lock().unwrap() = 1;
    assert_eq!(sink.push(events()).await.unwrap_err().code(), Code::Unavailable);
    assert!(world.judge.summaries.lock().unwrap().is_empty());
    sink.push(events()).await.unwrap();
    assert_eq!(world.arrived(), [events()[2].clone()]);
    let summaries = world.judge.summaries.lock().unwrap().clone();
    assert_eq!((summaries.len(), summaries[0].kind.as_str()), (1, BARE_COUNTS));
    let counted: Vec<_> =
        summaries[0].templates.iter().map(|one| (one.id.0, &*one.source, one.count)).collect();
    assert_eq!(counted, [(0xabc, "app", 12), (0xdef, "web", 3)]);
    assert_eq!(world.events.summaries_unread.get(), 2);
}

#[tokio::test]
async fn copy_mode_gives_back_companions_and_no_copies() {
    let world = World::with(Mode::Copy, Profile::Nested);
    let sink = Sink::connect(world.serve_vector().await.address).await;
    let metric = Metric { gauge: Some(Number { value: 1.0 }), ..Metric::default() }.event();
    sink.push(vec![pending("odd", "app").event(), just_text(), too_deep(), metric.clone()]).await.unwrap();
    let arrived = world.arrived();
    assert_eq!((arrived.len(), &arrived[1]), (2, &metric));
    let companion = log(arrived[0].clone()).unwrap();
    assert_eq!(companion.root().at(&["oddline_reference", "tag"]), Some(&text("app")));
    assert_eq!(companion.root().at(&["anomaly", "status"]), Some(&text("confirmed")));
    assert_eq!(companion.root().at(&["message"]), None);
    // Routes that lead it back here: it ends.
    sink.push(vec![arrived[0].clone()]).await.unwrap();
    assert_eq!((world.arrived().len(), world.events.records_looped.get()), (2, 1));
}

#[tokio::test]
async fn a_log_that_loops_goes_out_once_more_under_a_tag_of_its_own_and_is_cut_then() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    sink.push(vec![pending("odd", "app").event()]).await.unwrap();
    let first = world.arrived();
    sink.push(first.clone()).await.unwrap();
    let again = world.arrived().pop().unwrap();
    let tag = log(again.clone()).unwrap().meta(&["oddline", "tag"]).cloned();
    assert_eq!(tag, Some(text("oddline.loop.app")));
    sink.push(vec![again]).await.unwrap();
    assert_eq!(world.arrived().len(), 2);
    assert_eq!((world.events.records_looped.get(), world.events.loops_cut.get()), (2, 1));
    assert_eq!(world.judge.judged.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_delivered_and_a_known_resend_is_not_delivered_twice() {
    let world = World::new();
    let running = world.serve_vector().await;
    world.close_gate();
    let sink = Sink::connect(running.address).await;
    let events = vec![pending("odd", "app").event()];
    let first = tokio::spawn({
        let (sink, events) = (sink.clone(), events.clone());
        async move { sink.push(events).await }
    });
    world.back.entered().await;
    assert!(!first.is_finished());
    // The sink gives up, as after its own timeout; what has begun ends well all the same.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // Over the same connection, so behind the news of that.
    sink.call(HEALTH, PushEventsRequest::default()).await.unwrap();
    world.back.gate.add_permits(1);
    sink.push(events.clone()).await.unwrap();
    assert_eq!((world.arrived().len(), world.events.duplicates.get()), (1, 1));
    // Only one: an equal batch is new from then on.
    world.back.gate.add_permits(1);
    sink.push(events).await.unwrap();
    assert_eq!((world.arrived().len(), world.events.duplicates.get()), (2, 1));
}

#[tokio::test]
async fn one_unreadable_event_does_not_take_the_batch_along() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    let empty = EventWrapper { event: None };
    sink.push(vec![pending("odd", "app").event(), too_deep(), empty, just_text()]).await.unwrap();
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert_eq!(arrived.len(), 2);
    assert_eq!((arrived[0].records, &arrived[1].events), (2, &encoded(vec![too_deep()])));
    assert_eq!((world.events.records_unread.get(), world.events.entries_discarded.get()), (2, 1));
}

#[tokio::test]
async fn large_batches_go_back_in_pieces_and_what_a_sink_rejected_is_told_after_the_rest() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    let message = format!("odd {}", "x".repeat(30_000));
    let events: Vec<_> =
        (0..100).map(|number| pending(&format!("{message} {number}"), "app").event()).collect();
    world.back.reject(1);
    let status = sink.push(events).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert!(!arrived.is_empty() && arrived.iter().all(|piece| piece.events.len() <= 2 << 20));
    let numbers: Vec<_> = world.arrived().into_iter().filter_map(log).collect();
    assert!(numbers.len() < 100 && numbers.len() > 20, "{}: the other pieces were given up", numbers.len());
}

#[tokio::test]
async fn health_is_told_and_nothing_else_is_offered() {
    let world = World::new();
    let sink = Sink::connect(world.serve_vector().await.address).await;
    sink.call(HEALTH, PushEventsRequest::default()).await.unwrap();
    let status = sink.call("/vector.Vector/Other", PushEventsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    sink.push(vec![]).await.unwrap();
    assert!(world.back.arrived.lock().unwrap().is_empty());
}
