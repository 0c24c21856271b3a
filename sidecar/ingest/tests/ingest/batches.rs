//! What happens to records: every mode of frame, byte fidelity, markers, copies, summaries, loops, unreadable entries.

use std::{future::Future, io::Write, task::Poll};

use oddline_codec::{Edit, MARKER_KEY, TagStyle, Tags, marker, msgpack, read_summary, summary_record};
use oddline_engine::{
    Ending, Level, Mode, Picker, Profile, Settings, Status, Summary, TemplateId, Verdict, rules::RuleSet,
};
use tokio::time::Instant;

use crate::support::{World, body, event, packed, pending, secret};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn compressed(tag: &str, data: &[u8], name: &str) -> Vec<u8> {
    let mut out = vec![0x93];
    rmp::encode::write_str(&mut out, tag).unwrap();
    rmp::encode::write_bin(&mut out, data).unwrap();
    out.push(0x82);
    for text in ["chunk", "c", "compressed", name] {
        rmp::encode::write_str(&mut out, text).unwrap();
    }
    out
}

/// A returned body must be the sent one plus tags and a marker that the plugin accepts.
fn check_returned(returned: &msgpack::Event<'_>, message: &str, number: u16, tag: &str, settings: &Settings) {
    assert_eq!(returned.head, &event(b"")[..]);
    let style = TagStyle::of(settings);
    let tags = msgpack::read_styled_tags(returned.body, &style).unwrap();
    assert_eq!(tags.status, Some(Status::Confirmed));
    let original = body(message, number);
    let (sent, kept) = (&original[1..], &returned.body[1..]);
    let start = kept.windows(sent.len()).position(|part| part == sent);
    assert!(start.is_some_and(|at| at < 4), "the record's own bytes changed: {:x?}", returned.body);

    let given = msgpack::read_marker(returned.body).unwrap();
    let mut bare = Vec::new();
    msgpack::splice(returned.body, &Edit::remove(&style, &[MARKER_KEY]), &mut bare).unwrap();
    let picker = Picker::new(settings, &RuleSet::default());
    let mut picking = picker.start(tag.as_bytes());
    msgpack::walk(&bare, &mut picking).unwrap();
    let message = picking.finish().message;
    let status = tags.status.unwrap();
    assert!(marker::verify(&secret(), tag.as_bytes(), &message, tags.template_id, tags.level, status, given));
}

#[tokio::test]
async fn every_mode_comes_back_with_its_bytes_tags_and_marker() {
    let world = World::new();
    let one = event(&pending("odd one", 1, &world.settings));
    let two = [one.clone(), event(&pending("odd two", 2, &world.settings))].concat();
    let tag = "oddline.pending.app";
    let mut forward = vec![0x93];
    rmp::encode::write_str(&mut forward, tag).unwrap();
    forward.push(0x92);
    let forward = [forward.as_slice(), &two, b"\x81\xa5chunk\xa1c"].concat();
    for (name, frame) in [
        ("forward", forward),
        ("packed", packed(tag, &two, "c")),
        ("gzip", compressed(tag, &gzip(&two), "gzip")),
        ("zstd", compressed(tag, &zstd::encode_all(&*two, 3).unwrap(), "zstd")),
    ] {
        // A server each, as the same chunk would be recognised.
        let running = world.serve(world.server()).await;
        let mut sender = running.sender().await;
        sender.send(&frame).await;
        assert_eq!(sender.ack().await.as_deref(), Some("c"), "{name}");
        let events = world.back.events("app");
        let events: Vec<_> = msgpack::events(&events).map(Result::unwrap).collect();
        assert_eq!(events.len(), 2, "{name}");
        check_returned(&events[0], "odd one", 1, "app", &world.settings);
        check_returned(&events[1], "odd two", 2, "app", &world.settings);
        world.back.arrived.lock().unwrap().clear();
    }
    assert_eq!(world.events.records_sent.get(), 8);
    assert_eq!(world.judge.screened.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn message_mode_comes_back_too() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    let mut frame = vec![0x94];
    rmp::encode::write_str(&mut frame, "oddline.pending.app").unwrap();
    frame.extend_from_slice(b"\xd7\x00\x65\x00\x00\x00\x00\x00\x00\x07");
    frame.extend_from_slice(&pending("odd one", 1, &world.settings));
    frame.extend_from_slice(b"\x82\xa8metadata\x81\xa1m\x01\xa5chunk\xa1c");
    let mut sender = running.sender().await;
    sender.send(&frame).await;
    assert_eq!(sender.ack().await.as_deref(), Some("c"));
    let events = world.back.events("app");
    check_returned(&msgpack::events(&events).next().unwrap().unwrap(), "odd one", 1, "app", &world.settings);
}

#[tokio::test]
async fn every_profile_gets_a_marker_that_holds() {
    for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
        let world = World::with(Mode::Divert, profile);
        world
            .detour()
            .carry(b"oddline.pending.app", &event(&pending("odd", 1, &world.settings)), Instant::now())
            .await
            .unwrap();
        let events = world.back.events("app");
        check_returned(&msgpack::events(&events).next().unwrap().unwrap(), "odd", 1, "app", &world.settings);
        if profile != Profile::Nested {
            assert_eq!(
                msgpack::read_tags(&events[event(b"").len()..], "anomaly"),
                None,
                "pending tags were left behind"
            );
        }
    }
}

#[tokio::test]
async fn records_without_tags_are_screened_and_forged_tags_are_not_believed() {
    let world = World::new();
    let forged = {
        let verdict =
            Verdict { status: Some(Status::Cleared), template: Some("x".into()), ..Verdict::default() };
        let mut out = Vec::new();
        let style = TagStyle::of(&world.settings);
        let tags = Tags::of(&verdict, &"m".into());
        msgpack::splice(&body("odd", 2), &Edit { marker: Some("00"), ..Edit::tag(&style, &tags) }, &mut out)
            .unwrap();
        out
    };
    let chunk = [event(&body("quiet", 1)), event(&forged)].concat();
    world.detour().carry(b"plain", &chunk, Instant::now()).await.unwrap();
    assert_eq!(*world.judge.screened.lock().unwrap(), ["quiet", "odd"]);
    assert_eq!(world.judge.judged.lock().unwrap().len(), 1);
    let events = world.back.events("plain");
    let events: Vec<_> = msgpack::events(&events).map(Result::unwrap).collect();
    let tags = |at: usize| msgpack::read_tags(events[at].body, "anomaly").unwrap();
    assert_eq!((tags(0).status, tags(1).status), (None, Some(Status::Confirmed)));
    assert!(msgpack::read_tags(events[1].body, "anomaly_original").is_some(), "user data was lost");
}

#[tokio::test]
async fn pending_tags_and_summaries_that_no_plugin_has_written_are_the_applications() {
    let world = World::new();
    let style = TagStyle::of(&world.settings).pending();
    let with_template = |bytes: usize| {
        let verdict = Verdict {
            status: Some(Status::Pending),
            template: Some("x".repeat(bytes).into()),
            ..Verdict::default()
        };
        let mut tagged = Vec::new();
        let tags = Tags::of(&verdict, &"m".into());
        msgpack::splice(&body(&format!("odd {bytes}"), 2), &Edit::tag(&style, &tags), &mut tagged).unwrap();
        event(&tagged)
    };
    let mut summary = Vec::new();
    summary_record(&Summary { kind: "v1".into(), ..Summary::default() }, &mut summary);
    // A record with both: two maps in one.
    let forged = pending("odd", 1, &world.settings);
    let both = [&[forged[0] + 1], &forged[1..], &summary[1..]].concat();
    world.detour().carry(b"app", &event(&both), Instant::now()).await.unwrap();
    assert_eq!(*world.judge.screened.lock().unwrap(), ["odd"]);
    assert!(world.judge.summaries.lock().unwrap().is_empty());
    let events = world.back.events("app");
    let back = msgpack::events(&events).next().unwrap().unwrap();
    assert!(msgpack::read_tags(back.body, "anomaly_original").is_some(), "user data was lost");
    // From a plugin, they are what they say; but no plugin has templates without end.
    world.detour().carry(b"oddline.pending.app", &event(&both), Instant::now()).await.unwrap();
    assert_eq!(world.judge.summaries.lock().unwrap().len(), 1);
    for bytes in [4_096, 4_097, 40_960] {
        world.detour().carry(b"oddline.pending.app", &with_template(bytes), Instant::now()).await.unwrap();
    }
    assert_eq!(*world.judge.screened.lock().unwrap(), ["odd", "odd 4097", "odd 40960"]);
}

#[tokio::test]
async fn what_comes_again_because_it_was_not_delivered_is_screened_once() {
    let world = World::new();
    let detour = world.detour();
    let chunk = [event(&body("quiet", 1)), event(&body("odd", 2))].concat();
    for failures in [1, 0] {
        *world.back.failures.lock().unwrap() = failures;
        let carried = detour.carry(b"plain", &chunk, Instant::now()).await;
        assert_eq!(carried.is_err(), failures > 0);
    }
    assert_eq!(*world.judge.screened.lock().unwrap(), ["quiet", "odd", "quiet"]);
    let events = world.back.events("plain");
    let tags = msgpack::read_tags(msgpack::events(&events).last().unwrap().unwrap().body, "anomaly").unwrap();
    assert_eq!(tags.status, Some(Status::Confirmed));
    // The same once more, when the first has arrived, is another record.
    detour.carry(b"plain", &chunk, Instant::now()).await.unwrap();
    assert_eq!(world.judge.screened.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn what_is_not_understood_goes_back_as_it_came() {
    let world = World::new();
    let group = b"\x92\x92\xd7\x00\xff\xff\xff\xff\0\0\0\0\x80\x81\xa1g\x01".to_vec();
    let no_map = event(b"\xa2hi");
    let tail = b"\x92\x92\xd7\x00cut";
    let chunk =
        [group.clone(), no_map.clone(), event(&pending("odd", 1, &world.settings)), tail.to_vec()].concat();
    world.detour().carry(b"oddline.pending.app", &chunk, Instant::now()).await.unwrap();
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert_eq!(arrived.len(), 2);
    assert!(arrived[0].events.starts_with(&group) && arrived[0].records == 2);
    assert_eq!(arrived[1].events, [no_map, tail.to_vec()].concat());
    assert_eq!((world.events.records_unread.get(), world.events.entries_discarded.get()), (2, 0));
}

#[tokio::test]
async fn a_return_input_that_refuses_only_the_unreadable_is_not_asked_for_ever() {
    let world = World::new();
    let chunk = [event(&pending("odd", 1, &world.settings)), b"\xc1".to_vec()].concat();
    world.close_gate();
    let detour = world.detour();
    let carry =
        tokio::spawn(async move { detour.carry(b"oddline.pending.app", &chunk, Instant::now()).await });
    world.back.gate.add_permits(1);
    world.back.entered().await;
    world.back.entered().await;
    *world.back.failures.lock().unwrap() = 1;
    world.back.gate.add_permits(1);
    carry.await.unwrap().unwrap();
    assert_eq!(world.events.entries_discarded.get(), 1);
    // If it refuses all, it is not there: the sender keeps everything.
    *world.back.failures.lock().unwrap() = 1;
    world.back.gate.add_permits(1);
    world.detour().carry(b"oddline.pending.app", b"\xc1", Instant::now()).await.unwrap_err();
}

#[tokio::test]
async fn a_long_batch_without_anything_to_judge_lets_others_run() {
    let world = World::new();
    let (detour, chunk) = (world.detour(), event(b"\xa2hi").repeat(1_000));
    let mut carry = std::pin::pin!(detour.carry(b"app", &chunk, Instant::now()));
    let begun = std::future::poll_fn(|context| Poll::Ready(carry.as_mut().poll(context))).await;
    assert!(begun.is_pending(), "all of it was done at one go");
    carry.await.unwrap();
    assert_eq!(world.events.records_unread.get(), 1_000);
}

#[tokio::test]
async fn copy_mode_emits_companions_and_no_second_copy() {
    let world = World::with(Mode::Copy, Profile::Nested);
    let chunk = [event(&pending("odd", 1, &world.settings)), event(b"\xa2hi"), b"\xc1".to_vec()].concat();
    world.detour().carry(b"oddline.pending.app", &chunk, Instant::now()).await.unwrap();
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].tag.as_slice(), arrived[0].records), (&b"oddline.verdict.app"[..], 1));
    let companion = msgpack::events(&arrived[0].events).next().unwrap().unwrap();
    assert_eq!(companion.time_nanos, 0x6500_0000 * 1_000_000_000 + 7);
    assert_eq!(msgpack::read_tags(companion.body, "anomaly").unwrap().status, Some(Status::Confirmed));
    let text = String::from_utf8_lossy(companion.body);
    assert!(text.contains("oddline_reference") && text.contains("app") && !text.contains("log"), "{text}");
}

#[tokio::test]
async fn summaries_are_taken_alone_and_from_pending_records() {
    let world = World::new();
    let summary = Summary { kind: "v1".into(), time: 5, ..Summary::default() };
    let mut alone = Vec::new();
    summary_record(&summary, &mut alone);
    world
        .detour()
        .carry(b"oddline.summary.app", &[event(&alone), event(&body("no", 1))].concat(), Instant::now())
        .await
        .unwrap();
    assert_eq!(*world.judge.summaries.lock().unwrap(), std::slice::from_ref(&summary));
    assert_eq!(world.events.summaries_unread.get(), 1);
    assert!(world.back.arrived.lock().unwrap().is_empty());

    // One more pair on a pending record: the map's header says so.
    let mut riding = pending("odd", 1, &world.settings);
    riding[0] += 1;
    riding.extend_from_slice(&alone[1..]);
    // Not acknowledged: it comes again, and is counted once.
    *world.back.failures.lock().unwrap() = 1;
    world.detour().carry(b"oddline.pending.app", &event(&riding), Instant::now()).await.unwrap_err();
    world.detour().carry(b"oddline.pending.app", &event(&riding), Instant::now()).await.unwrap();
    assert_eq!(world.judge.summaries.lock().unwrap().len(), 2);
    let events = world.back.events("app");
    let returned = msgpack::events(&events).next().unwrap().unwrap();
    assert_eq!(read_summary(returned.body), None, "the summary was left on the record");
    check_returned(&returned, "odd", 1, "app", &world.settings);
}

#[tokio::test]
async fn a_sequence_that_ended_oddly_goes_out_as_a_record_of_its_own() {
    let ending = Ending {
        source: "app|web".into(),
        id: "req-7".into(),
        time: 1_700_000_000_000_000_007,
        template_id: TemplateId::of("begin <*>"),
        template: "begin <*>".into(),
        score: 0.52,
        level: Level::Low,
        reason: "sequence ended: req-7 ended after \"begin <*>\"".into(),
        record: 0,
    };
    let summary = Summary { kind: "v1".into(), endings: vec![ending], ..Summary::default() };
    let mut alone = Vec::new();
    summary_record(&summary, &mut alone);
    for mode in [Mode::Divert, Mode::Copy] {
        let world = World::with(mode, Profile::Nested);
        // Not acknowledged: the summary comes again, and is counted once.
        *world.back.failures.lock().unwrap() = 1;
        world.detour().carry(b"oddline.summary.app", &event(&alone), Instant::now()).await.unwrap_err();
        assert!(world.judge.summaries.lock().unwrap().is_empty());
        world.detour().carry(b"oddline.summary.app", &event(&alone), Instant::now()).await.unwrap();
        assert_eq!(*world.judge.summaries.lock().unwrap(), std::slice::from_ref(&summary));
        let events = world.back.events("oddline.verdict.app");
        let companion = msgpack::events(&events).next().unwrap().unwrap();
        assert_eq!(companion.time_nanos, 1_700_000_000_000_000_007);
        let tags = msgpack::read_tags(companion.body, "anomaly").unwrap();
        assert_eq!((tags.level, tags.status), (Level::Low, Some(Status::Inline)));
        assert!(tags.reason.as_deref().unwrap().contains("req-7"), "{tags:?}");
        // One that is refused for good does not hold up the rest.
        *world.back.rejections.lock().unwrap() = 1;
        world.detour().carry(b"oddline.summary.app", &event(&alone), Instant::now()).await.unwrap();
        assert_eq!(world.judge.summaries.lock().unwrap().len(), 2);
        assert_eq!(world.events.entries_discarded.get(), 1);
    }
}

#[tokio::test]
async fn a_record_that_loops_goes_out_once_more_under_a_tag_of_its_own_and_is_cut_then() {
    let world = World::new();
    let detour = world.detour();
    detour
        .carry(b"oddline.pending.app", &event(&pending("odd", 1, &world.settings)), Instant::now())
        .await
        .unwrap();
    let once = world.back.events("app");
    world.back.arrived.lock().unwrap().clear();
    for tag in [&b"app"[..], b"oddline.pending.app"] {
        detour.carry(tag, &once, Instant::now()).await.unwrap();
        assert_eq!((world.back.events("oddline.loop.app"), world.back.events("app")), (once.clone(), vec![]));
        world.back.arrived.lock().unwrap().clear();
    }
    assert_eq!((world.events.records_looped.get(), world.events.loops_cut.get()), (2, 0));
    // Routes that lead even that tag here: it stays.
    detour.carry(b"oddline.loop.app", &once, Instant::now()).await.unwrap();
    assert!(world.back.arrived.lock().unwrap().is_empty());
    assert_eq!((world.events.records_looped.get(), world.events.loops_cut.get()), (3, 1));
    assert_eq!(world.judge.judged.lock().unwrap().len(), 1);
    // Under another tag the marker does not hold: nothing is cut on a record's own word.
    detour.carry(b"oddline.loop.other", &once, Instant::now()).await.unwrap();
    assert_eq!(world.events.loops_cut.get(), 1);
    assert!(!world.back.events("other").is_empty());
}

#[tokio::test]
async fn large_batches_go_back_in_pieces_and_in_order() {
    let world = World::new();
    let message = format!("odd {}", "x".repeat(10_000));
    let chunk: Vec<u8> =
        (0..700).flat_map(|number| event(&pending(&message, number, &world.settings))).collect();
    world.detour().carry(b"oddline.pending.app", &chunk, Instant::now()).await.unwrap();
    let arrived = world.back.arrived.lock().unwrap().clone();
    assert!(arrived.len() > 3 && arrived.iter().all(|out| out.events.len() <= 2 << 20));
    let events = world.back.events("app");
    for (number, returned) in msgpack::events(&events).enumerate() {
        check_returned(&returned.unwrap(), &message, number as u16, "app", &world.settings);
    }
    assert_eq!(world.events.records_sent.get(), 700);
}
