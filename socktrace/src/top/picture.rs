//! The picture in the documentation: the screen of a host with some failing services, as drawn now.

use std::{env, fs, io::Cursor, path::Path};

use jiff::Timestamp;
use ratatui::{buffer::Buffer, layout::Rect};
use socktrace_top::{Key, Source, svg};

use super::{Feed, replay, screen::Work, tests::screen};

/// 12:00 of a day, in seconds since 1970.
const NOON: i64 = 1_764_504_000;

/// Duration of the failures: a minute and a half.
const SECONDS: i64 = 90;

/// A kind of failure: its frequency, its offset, and the other fields of its lines.
struct Kind {
    every: i64,
    times: std::ops::Range<i64>,
    fields: &'static str,
}

/// Failures in the picture.
const KINDS: [Kind; 5] = [
    Kind {
        every: 2,
        times: 40..SECONDS,
        fields: r#""comm":"java","pid":2310,"uid":1000,"exe":"/usr/bin/java","service":"shop/api-7d9f/api",
            "role":"client","local":"10.1.4.7","local_port":51514,"remote":"10.1.9.3","remote_port":5432,
            "state":"ESTABLISHED","flow":"8c1f00a2b94de731","errno":"ETIMEDOUT","errno_number":110,
            "cause":"user_timeout","severity":"failure","call":"read_or_write","user_timeout_ms":5000,
            "retransmits":4,"rto_ms":3200,"elapsed_ms":4890,"silent_ms":5010,"unacked_bytes":412,
            "reason":"412 bytes not acknowledged for 5.0 s, TCP_USER_TIMEOUT is 5.0 s""#,
    },
    Kind {
        every: 5,
        times: 0..SECONDS,
        fields: r#""comm":"nginx","pid":812,"uid":33,"exe":"/usr/sbin/nginx","service":"nginx.service",
            "role":"server","local":"10.1.4.7","local_port":443,"remote":"198.51.100.23","remote_port":40122,
            "state":"ESTABLISHED","flow":"51b7e0c3d2a49f60","errno":"ECONNRESET","errno_number":104,
            "cause":"reset_by_peer","severity":"failure","call":"read_or_write","silent_ms":12,
            "reason":"the peer sent RST on a live connection""#,
    },
    Kind {
        every: 15,
        times: 0..SECONDS,
        fields: r#""comm":"nginx","pid":812,"uid":33,"exe":"/usr/sbin/nginx","service":"nginx.service",
            "role":"server","local":"10.1.4.7","local_port":443,"remote":"203.0.113.9","remote_port":51200,
            "state":"CLOSE_WAIT","errno":"EPIPE","errno_number":32,"cause":"write_after_reset",
            "severity":"notable","call":"write","reason":"written after the peer's RST""#,
    },
    Kind {
        every: 10,
        times: 5..60,
        fields: r#""comm":"curl","pid":9001,"uid":0,"exe":"/usr/bin/curl","service":"backup.service",
            "role":"client","local":"10.1.4.7","local_port":38110,"remote":"10.1.2.2","remote_port":8443,
            "state":"SYN_SENT","errno":"ECONNREFUSED","errno_number":111,"cause":"connect_refused",
            "severity":"failure","call":"connect","reason":"the SYN was answered by RST""#,
    },
    Kind {
        every: 20,
        times: 0..SECONDS,
        fields: r#""repeated":37,"comm":"node","pid":655,"service":"metrics-agent.service","role":"client",
            "remote":"10.1.7.1","service_port":4318,"errno":"ECANCELED","errno_number":125,
            "cause":"connect_cancelled","severity":"expected","call":"connect",
            "reason":"the program closed the socket while it was still connecting""#,
    },
];

fn lines() -> String {
    let mut lines = String::new();
    for second in 0..SECONDS {
        for Kind { every, times, fields } in &KINDS {
            if times.contains(&second) && (second - times.start) % every == 0 {
                let time = Timestamp::from_second(NOON + second).expect("a time");
                let fields = fields.replace('\n', " ");
                let line = format!(
                    r#"{{"time":"{time}","event":"failure","protocol":"tcp","family":"ipv4",{fields}}}"#
                );
                lines += &line;
                lines.push('\n');
            }
        }
    }
    lines
}

#[test]
fn the_picture_is_what_is_drawn() {
    let feed = Feed::default();
    replay(Cursor::new(lines()), &feed);
    let mut screen = screen(Source::Live(0), "");
    screen = screen.on_hooks(27);
    let mut work = Work::new(screen, &feed);
    while work.take() {}
    let area = Rect { x: 0, y: 0, width: 120, height: 34 };
    for key in [Key::Down, Key::Down, Key::Enter, Key::Down, Key::Enter] {
        work.app.settle();
        work.app.press(key);
    }
    let mut buffer = Buffer::empty(area);
    work.app.draw(area, &mut buffer);
    let picture = svg(&buffer);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/top.svg");
    if env::var_os("SOCKTRACE_WRITE_DOCS").is_some() {
        fs::write(&file, &picture).expect("written");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == picture,
        "docs/top.svg is not what is drawn: SOCKTRACE_WRITE_DOCS=1 cargo test -p socktrace picture"
    );
}
