//! Tests of whole screens, and of keys.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Modifier},
};

use crate::{
    About, Action, App, Event, Explained, Key, Plain, Severity, Source,
    app::{Mode, View},
};

const SECOND: i64 = 1_000_000_000;

/// Start of the events, 12:00 of a day.
const BEGIN: u64 = 1_764_504_000;

/// A failure at a given second.
pub(crate) fn event(second: u64, cause: &str) -> Event {
    let errno = if cause == "refused" { "ECONNREFUSED" } else { "ECONNRESET" };
    let text = format!(
        r#"{{"event":"failure","protocol":"tcp","family":"ipv4","state":"ESTABLISHED","local":"10.0.0.1",
        "local_port":41234,"remote":"192.0.2.7","remote_port":443,"role":"client","flow":"0123456789abcdef",
        "pid":4711,"comm":"nginx","uid":33,"exe":"/usr/sbin/nginx","service":"nginx.service","netns":4026531840,
        "retransmits":3,"rto_ms":1600,"elapsed_ms":2900,"silent_ms":3100,"errno":"{errno}","errno_number":104,
        "cause":"{cause}","call":"read","severity":"failure","delivered":null}}"#
    );
    Event {
        time: i64::try_from(second).expect("a time") * SECOND,
        count: 1,
        is_failure: true,
        severity: Severity::Failure,
        errno: Plain::new(errno),
        cause: Plain::new(cause),
        service: Plain::new("nginx.service"),
        process: Plain::new("nginx[4711]"),
        peer: Plain::new("192.0.2.7:443"),
        reason: Plain::new(
            "the peer sent RST in the middle of a live connection, 3.1 s after its last data",
        ),
        text: text.into_bytes().into(),
        ..Event::default()
    }
}

fn empty(is_colored: bool) -> App {
    let about = About {
        host: "web-1".to_owned(),
        source: Source::Live(24),
        zone: TimeZone::UTC,
        is_colored,
    };
    let texts = |cause: &str| Explained {
        advice: format!(
            "What to do about {cause}, in words that take more than a line of 80 columns."
        ),
        page: format!("{cause}: a page\n\nHow to confirm\n    tcpdump -ni any port 443"),
    };
    App::new(about, Box::new(texts))
}

/// A host with three services that fail for some minutes.
fn busy(is_colored: bool) -> App {
    let mut app = empty(is_colored);
    for second in 0..200_u64 {
        if second % 3 == 0 {
            app.add(event(BEGIN + second, "reset_by_peer"), true);
        }
        if second % 7 == 0 {
            let other = event(BEGIN + second, "refused");
            let peer = Plain::new(&format!("198.51.100.{}:5432", second % 4));
            let (service, process) = ("shop/api-0".into(), "java[900]".into());
            app.add(Event { service, process, peer, severity: Severity::Notable, ..other }, true);
        }
        if second % 50 == 10 {
            let other = event(BEGIN + second, "reset_by_peer");
            let (service, process) = ("cron.service".into(), "curl[77]".into());
            let flood = Event { service, process, is_flood: true, count: 40, ..other };
            app.add(Event { severity: Severity::Expected, ..flood }, true);
        }
    }
    app.add(
        Event { follows: true, is_failure: false, ..event(BEGIN + 199, "reset_by_peer") },
        true,
    );
    app.set_now(i64::try_from(BEGIN + 200).expect("a time") * SECOND);
    app.set_lost([12, 0]);
    app
}

fn draw(app: &mut App, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| app.draw(frame.area(), frame.buffer_mut())).expect("drawn");
    terminal.backend().clone()
}

fn text(app: &mut App) -> String {
    draw(app, 100, 30).to_string()
}

fn press(app: &mut App, keys: &str) -> Option<Action> {
    let mut last = None;
    for c in keys.chars() {
        // Draws after each key, as a terminal would.
        draw(app, 100, 30);
        last = app.press(match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\u{1b}' => Key::Esc,
            c => Key::Char(c),
        });
    }
    last
}

/// Compares the screens that keys lead to with snapshots.
macro_rules! screens {
    ($($name:ident($app:expr, $keys:literal, $width:literal, $height:literal);)+) => {
        $(
            #[test]
            fn $name() {
                let mut app = $app;
                press(&mut app, $keys);
                insta::assert_snapshot!(draw(&mut app, $width, $height));
            }
        )+
    };
}

screens! {
    usual_size(busy(true), "", 80, 24);
    wide(busy(true), "j\nj\n", 132, 43);
    narrow(busy(true), "", 40, 16);
    tiny(busy(true), "", 20, 5);
    nothing_yet(empty(true), "", 80, 24);
    by_cause(busy(true), "2j\n", 80, 24);
    by_peer(busy(true), "3j", 100, 24);
    events(busy(true), "4kk", 132, 30);
    events_narrow(busy(true), "4", 40, 12);
    grouped_by_cause(busy(true), "jaj\n", 80, 24);
    all_of_an_event(busy(true), "4\n", 80, 24);
    help(busy(true), "?", 80, 24);
    frozen(busy(true), " ", 80, 24);
    prompt(busy(true), "/errno ECONNRESET", 80, 24);
}

#[test]
fn hostile_names_move_nothing() {
    let mut app = empty(true);
    for name in [
        "\u{1b}[2J\u{1b}[1;1Hroot",
        "\r\n\t\u{8}",
        "\u{202e}gpj.exe",
        "e\u{301}\u{301}\u{301}",
        "שלום עולם",
        "数据库-服务",
        "👩‍👩‍👧👩‍👩‍👧",
        "\u{9b}31mred",
        &"\u{200b}".repeat(300),
    ] {
        let hostile = Plain::new(name);
        let mut event = event(BEGIN, "reset_by_peer");
        event.text = serde_json::json!({ "comm": name, "pid": 1, "exe": name, "path": name, "x\u{1b}y": name })
            .to_string().into_bytes().into();
        let [service, process, peer, reason] = [(); 4].map(|()| hostile.clone());
        app.add(Event { service, process, peer, reason, ..event }, true);
    }
    press(&mut app, "j\n");
    insta::assert_snapshot!(draw(&mut app, 80, 32));
    for keys in ["4", "g", "\n"] {
        press(&mut app, keys);
        let screen = draw(&mut app, 80, 24);
        for cell in screen.buffer().content() {
            let is_bad = |c: char| !"…│└".contains(c) && Plain::new(&c.to_string()).as_str() == "?";
            let bad = cell.symbol() != "?" && cell.symbol().contains(is_bad);
            assert!(!bad, "{:?}", cell.symbol());
        }
    }
}

#[test]
fn without_color_there_is_none_and_nothing_is_missing() {
    let colored = text(&mut busy(true));
    let mut app = busy(false);
    assert_eq!(text(&mut app), colored);
    for keys in ["4", "?", "q", "\n"] {
        press(&mut app, keys);
        let screen = draw(&mut app, 80, 24);
        let plain = |cell: &Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
        assert!(screen.buffer().content().iter().all(plain), "{keys}");
    }
    let mut app = busy(true);
    let screen = draw(&mut app, 80, 24);
    assert!(screen.buffer().content().iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn the_chosen_row_is_seen() {
    let mut app = busy(false);
    press(&mut app, "jj");
    let screen = draw(&mut app, 80, 24);
    let rows = screen.buffer().content().chunks(80);
    let reversed =
        rows.filter(|row| row[..40].iter().all(|it| it.modifier.contains(Modifier::REVERSED)));
    let texts: Vec<String> =
        reversed.map(|row| row.iter().take(22).map(Cell::symbol).collect()).collect();
    assert_eq!(texts.len(), 3, "the header, the title and the row: {texts:?}");
    assert!(texts[2].contains("nginx.service"), "{texts:?}");
}

#[test]
fn keys_choose_fold_and_sort() {
    let mut app = busy(true);
    let chosen = |app: &App| app.chosen.iter().map(Plain::to_string).collect::<Vec<_>>().join("/");
    press(&mut app, "j");
    assert_eq!(chosen(&app), "cron.service", "most in the last minute");
    press(&mut app, "sG");
    assert_eq!(chosen(&app), "shop/api-0", "least in 15 minutes");
    press(&mut app, "\nj\nj");
    assert_eq!(chosen(&app), "shop/api-0/java[900]/198.51.100.0:5432");
    press(&mut app, "\n");
    assert!(matches!(app.mode, Mode::Detail(0)));
    press(&mut app, "\u{1b}\u{1b}");
    assert_eq!(chosen(&app), "shop/api-0/java[900]");
    press(&mut app, "\u{1b}");
    assert_eq!(chosen(&app), "shop/api-0");
    press(&mut app, "gk");
    assert_eq!(chosen(&app), "");
    press(&mut app, "\t\t\t");
    assert_eq!((app.view, app.tree_view), (View::Events, View::Peers));
    press(&mut app, "\t");
    assert_eq!(app.view, View::Services);
    press(&mut app, "sss");
    assert_eq!(app.sort.name(), "now");
    assert_eq!(press(&mut app, "q"), Some(Action::Quit));
    assert_eq!(app.press(Key::Control('c')), Some(Action::Quit));
}

#[test]
fn the_newest_event_is_followed_until_another_is_picked() {
    let mut app = busy(true);
    press(&mut app, "4");
    app.add(event(BEGIN + 201, "refused"), true);
    draw(&mut app, 100, 30);
    assert_eq!(app.event().map(|event| event.time), Some((BEGIN.cast_signed() + 201) * SECOND));
    press(&mut app, "kk");
    let picked = app.event().map(|event| event.time);
    app.add(event(BEGIN + 202, "refused"), true);
    draw(&mut app, 100, 30);
    assert_eq!(app.event().map(|event| event.time), picked);
    press(&mut app, "G");
    assert_eq!(app.event().map(|event| event.time), Some((BEGIN.cast_signed() + 202) * SECOND));
    press(&mut app, "g");
    assert_eq!(app.event().map(|event| event.time), Some(BEGIN.cast_signed() * SECOND));
}

#[test]
fn filters_are_asked_for_and_applied_to_what_is_there() {
    let mut app = busy(true);
    assert_eq!(press(&mut app, "/errno X\n"), Some(Action::Filter("errno X".to_owned())));
    app.refuse("errno X", "no such errno\u{1b}[2J");
    assert!(text(&mut app).contains("/errno X   no such errno?[2J"));
    app.press(Key::Control('u'));
    assert_eq!(
        press(&mut app, "cause refused\n"),
        Some(Action::Filter("cause refused".to_owned()))
    );
    app.filtered("cause refused", "--cause refused", |event| event.cause.as_str() == "refused");
    let screen = text(&mut app);
    assert!(screen.contains("--cause refused") && !screen.contains("reset_by_peer"), "{screen}");
    let command = "sudo socktrace --cause refused".to_owned();
    assert_eq!(press(&mut app, "y"), Some(Action::Copy(command)));
    app.filtered("", "", |_| true);
    assert!(text(&mut app).contains("reset_by_peer"));
    press(&mut app, "/abc\u{1b}");
    assert!(matches!(app.mode, Mode::Browse));
}

#[test]
fn a_frozen_screen_stays_and_counting_goes_on() {
    let mut app = busy(true);
    press(&mut app, " ");
    let before = text(&mut app);
    assert!(before.contains("FROZEN"));
    app.add(event(BEGIN + 230, "refused"), true);
    app.set_now((BEGIN.cast_signed() + 230) * SECOND);
    assert_eq!(text(&mut app), before);
    press(&mut app, " ");
    assert!(text(&mut app).contains("12:03:50"));
}

#[test]
fn steps_are_asked_for() {
    let mut app = busy(true);
    assert_eq!(press(&mut app, "]"), Some(Action::Step(1)));
    assert_eq!(press(&mut app, "{"), Some(Action::Step(-60)));
    app.restart(5 * SECOND);
    assert!(text(&mut app).contains("nothing has failed"));
    assert_eq!(app.now(), 5 * SECOND);
}

proptest! {
    #[test]
    fn no_keys_on_no_size_do_harm(keys in "[jkgGsa /\n\t\u{1b}?y1234\\[\\]x]{0,20}", width in 0..140_u16, height in 0..50_u16) {
        let mut app = busy(true);
        let area = Rect { x: 0, y: 0, width, height };
        for key in keys.chars() {
            app.draw(area, &mut Buffer::empty(area));
            app.press(match key {
                '\n' => Key::Enter,
                '\t' => Key::BackTab,
                '\u{1b}' => Key::Esc,
                ' ' => Key::PageDown,
                'x' => Key::PageUp,
                key => Key::Char(key),
            });
        }
        app.draw(area, &mut Buffer::empty(area));
    }
}
