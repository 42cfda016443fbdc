//! Tests of the whole server over real connections: its answers, and its resistance to clients.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prometheus::{IntCounterVec, Opts, Registry, proto::MetricFamily};
use tokio::runtime;

use super::{limits::Limits, *};

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// Upper bound for what must happen, even on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A timeout that tests can wait for.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// Limits that never take effect in a test.
pub(super) const AMPLE: Limits = Limits {
    connections: 8,
    request: Duration::from_mins(5),
    answer: Duration::from_mins(5),
    delivery: Duration::from_mins(5),
    ..Limits::DEFAULT
};

fn families(series: usize) -> Vec<MetricFamily> {
    let registry = Registry::new();
    let counters = IntCounterVec::new(Opts::new("test_total", "A test."), &["l"]).expect("sound");
    registry.register(Box::new(counters.clone())).expect("new");
    for number in 0..series {
        counters.with_label_values(&[format!("{number:0>100}")]).inc();
    }
    registry.gather()
}

pub(super) fn site(gather: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) -> Site {
    let text = "hooks: tcp_done\nnot attached: x: y\n".to_owned();
    let readiness = Readiness { is_ready: true, text };
    let index = "<h1>socktrace</h1>".to_owned();
    let (liveness, watchdog) = Liveness::new();
    let event_loop = runtime::Builder::new_current_thread().build().expect("a runtime");
    thread::spawn(move || event_loop.block_on(watchdog.run()));
    Site { gather: Arc::new(move || Ok(gather())), liveness, readiness, index }
}

fn start(limits: Limits, site: Site) -> (Server, SocketAddr) {
    let listen = Listen::Address(([127, 0, 0, 1], 0).into());
    let mut passed = PassedSockets::from_env();
    let listeners = Listener::bind(&listen, &mut passed).expect("a free port");
    let address = listeners[0].to_string().parse().expect("an address");
    let listeners = Listeners { pages: listeners, health: Vec::new() };
    (Server::start_within(limits, listeners, open(), site).expect("a server"), address)
}

/// Access for everyone.
fn open() -> Access {
    Access::for_everybody().expect("nothing to read")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Reads everything until the server closes.
fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(|_| answer)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("sent");
    String::from_utf8(read(&mut stream).expect("an answer")).expect("text")
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n")
}

/// Checks that a well-behaved client is served promptly.
fn assert_served(address: SocketAddr) {
    let started = Instant::now();
    let answer = ask(address, GET);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

/// Whether the server has closed the connection, or does so within the time.
pub(super) fn is_closed(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).expect("set");
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn every_page_is_there() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    for (path, status, words) in [
        ("/", 200, "<h1>socktrace</h1>"),
        ("/metrics", 200, "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        ("/healthz", 200, "\r\n\r\nok\n"),
        ("/readyz", 200, "\r\n\r\nhooks: tcp_done\nnot attached: x: y\n"),
        ("/metrics/", 404, "there is no /metrics/; the pages are /metrics,"),
        ("/favicon.ico", 404, "there is no /favicon.ico"),
    ] {
        let answer = ask(address, &request("GET", path, ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(words), "{path}: {answer}");
        let head = ask(address, &request("HEAD", path, ""));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        assert!(head.ends_with("\r\n\r\n"), "a body after HEAD {path}: {head}");
    }
}

#[test]
fn other_methods_learn_what_is_allowed() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FROB"] {
        let answer = ask(address, &request(method, "/metrics", "Content-Length: 0\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.contains("\r\nallow: GET,HEAD\r\n"), "{method}: {answer}");
    }
}

#[test]
fn the_page_comes_as_it_is_asked_for() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    let headers = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = ask(address, &request("GET", "/metrics", headers));
    let media_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.contains(&format!("\r\n{media_type}\r\n")), "{answer}");
    assert!(answer.contains("\n# TYPE test counter\n") || answer.contains("\r\n# TYPE test c"));
    assert!(answer.ends_with("\n# EOF\n"), "{answer}");

    let mut stream = connect(address);
    let asking = request("GET", "/metrics", "Accept-Encoding: gzip, deflate\r\n");
    stream.write_all(asking.as_bytes()).expect("sent");
    let answer = read(&mut stream).expect("an answer");
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let (head, body) = answer.split_at(split);
    let head = String::from_utf8_lossy(head);
    for header in ["content-encoding: gzip", "vary: accept", "vary: accept-encoding"] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "no {header} in {head}");
    }
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
    assert!(text.starts_with("# HELP test_total A test.\n"), "{text}");
}

#[test]
fn a_connection_serves_several_requests() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    let mut stream = connect(address);
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("more");
            answer.push(byte[0]);
        }
    }
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("metrics.sock");
    let listen = Listen::Unix { path: path.clone(), mode: 0o600 };
    let pages = Listener::bind(&listen, &mut PassedSockets::from_env()).expect("bound");
    let listeners = Listeners { pages, health: Vec::new() };
    let server = Server::start(listeners, open(), site(|| families(1))).expect("a server");
    let mut stream = UnixStream::connect(&path).expect("connected");
    stream.write_all(GET.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(server);
    assert!(!path.exists());
}

#[test]
fn headers_that_come_slowly_are_not_waited_for() {
    let (_server, address) = start(Limits { request: SHORT, ..AMPLE }, site(|| families(1)));
    let mut silent = connect(address);
    let mut slow = connect(address);
    let started = Instant::now();
    // Sending a byte now and then gains no time.
    while slow.write_all(b"G").is_ok() && started.elapsed() < PATIENCE {
        thread::sleep(SHORT / 10);
    }
    assert!(started.elapsed() < PATIENCE, "a slow client is still connected");
    assert!(is_closed(&mut silent, PATIENCE));
    assert_served(address);
}

#[test]
fn idle_connections_keep_nobody_out() {
    // Descriptors for both ends of all connections, and for other tests.
    const IDLE: usize = 3_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8_192), hard).expect("a higher limit");

    let (_server, address) = start(AMPLE, site(|| families(1)));
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let mut stream = connect(address);
        if number % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").expect("sent");
        }
        idle.push(stream);
        if number % 500 == 0 {
            assert_served(address);
        }
    }
    assert_served(address);
    // The last ones may be open; all others must be closed.
    let (rest, last) = idle.split_at_mut(IDLE - AMPLE.connections);
    assert!(rest.iter_mut().all(|stream| is_closed(stream, PATIENCE)));
    let open = last.iter_mut().filter_map(|stream| {
        let closed = is_closed(stream, Duration::from_millis(1));
        (!closed).then_some(())
    });
    assert!(open.count() < AMPLE.connections, "more are open than may be");
}

#[test]
fn oversized_heads_are_refused() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    let long = format!("X-Long: {}\r\n", "x".repeat(2 * AMPLE.head_bytes));
    let many = "X-Many: x\r\n".repeat(AMPLE.headers + 1);
    for headers in [long, many] {
        let mut stream = connect(address);
        // The server may close before it has read everything.
        drop(stream.write_all(request("GET", "/metrics", &headers).as_bytes()));
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 431");
        assert!(is_closed_in_the_end(&mut stream));
    }
    let path = format!("/{}", "x".repeat(2 * AMPLE.head_bytes));
    let mut stream = connect(address);
    drop(stream.write_all(request("GET", &path, "").as_bytes()));
    assert!(is_closed_in_the_end(&mut stream));
    assert_served(address);
}

fn is_closed_in_the_end(stream: &mut TcpStream) -> bool {
    match read(stream) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn garbage_is_refused() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let binary: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    for bytes in [tls_hello, http2, &binary, b"\r\n\r\n\0", b"GET\n\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = connect(address);
        drop(stream.write_all(bytes));
        stream.shutdown(std::net::Shutdown::Write).ok();
        assert!(is_closed_in_the_end(&mut stream), "{bytes:?}");
    }
    assert_served(address);
}

#[test]
fn a_body_is_not_taken() {
    let (_server, address) = start(AMPLE, site(|| families(1)));
    let mut stream = connect(address);
    let head = "GET /metrics HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let started = Instant::now();
    // The answer arrives and the connection ends, although more was to be sent.
    while stream.write_all(&[0; 4096]).is_ok() {
        assert!(started.elapsed() < PATIENCE, "the body is read");
    }
    assert_served(address);
}

#[test]
fn clients_that_never_read_are_left() {
    let limits = Limits { delivery: SHORT, ..AMPLE };
    // More than all buffers on the way can hold.
    let page = families(100_000);
    let (_server, address) = start(limits, site(move || page.clone()));
    let mut stalled: Vec<_> = (0..2 * AMPLE.connections).map(|_| connect(address)).collect();
    for stream in &mut stalled {
        drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    assert_served(address);
    thread::sleep(2 * SHORT);
    // Each one gets what was in flight, but not the end.
    for mut stream in stalled {
        let got = read(&mut stream).map_or(0, |answer| answer.len());
        assert!(got < 10_000_000, "a stalled client got all {got} bytes");
    }
}

#[test]
fn a_slow_scrape_is_given_up() {
    let (_end, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = move || {
        assert!(held.lock().expect("nobody panicked").recv().is_err(), "nothing is ever sent");
        families(1)
    };
    let (_server, address) = start(Limits { answer: SHORT, ..AMPLE }, site(slow));
    let answer = ask(address, GET);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // The other pages are available meanwhile.
    let health = ask(address, &request("GET", "/healthz", ""));
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}
