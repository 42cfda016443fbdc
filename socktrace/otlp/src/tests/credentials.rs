//! Tests of server certificates, and of the credentials sent.

use rustls::crypto::ring::default_provider;

use super::*;

/// A self-signed certificate for this name, and a server that uses it.
fn certificate(name: &str) -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they go together");
    (made.cert.pem(), Arc::new(config))
}

#[tokio::test(start_paused = true)]
async fn only_the_right_certificate_gets_records_and_headers() {
    let directory = tempfile::tempdir().expect("a directory");
    let (trusted, headers) = (directory.path().join("ca.pem"), directory.path().join("headers"));
    std::fs::write(&headers, "Authorization: Bearer secret\n").expect("written");
    let (pem, right) = certificate("collector");
    std::fs::write(&trusted, pem).expect("written");
    let (_, of_nobody) = certificate("collector");
    let (of_another, other_name) = certificate("elsewhere");
    for (trusts, server, arrives) in
        [(None, right, true), (None, of_nobody, false), (Some(of_another), other_name, false)]
    {
        if let Some(pem) = trusts {
            std::fs::write(&trusted, pem).expect("written");
        }
        let collector = Collector::default();
        collector.with(|state| state.tls = Some(server));
        let running = Running::start(&collector, "https://collector:4318", |asked| {
            asked.certificate = Some(trusted.clone());
            asked.headers_file = Some(headers.clone());
        });
        running.push("a");
        sleep(Duration::from_secs(30)).await;
        let numbers = running.end().await;
        assert_eq!(numbers.sent, u64::from(arrives));
        assert_eq!(numbers.dropped(Dropped::Ended), u64::from(!arrives));
        collector.with(|state| {
            assert_eq!(state.seen.is_empty(), !arrives);
            assert!(state.seen.iter().all(|seen| seen.headers["authorization"] == "Bearer secret"));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_can_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let headers = directory.path().join("headers");
    std::fs::write(&headers, "x-key: 1\n").expect("written");
    let collector = Collector::default();
    let running = Running::start(&collector, "http://collector:4318", |asked| {
        asked.headers_file = Some(headers.clone());
    });
    running.push("a");
    sleep(Duration::from_secs(5)).await;
    let changed = crate::headers::Headers::from_file("x-key: 2").expect("sound");
    running.current.set(Credentials { headers: changed, tls: None });
    running.push("b");
    running.end().await;
    collector.with(|state| {
        let keys: Vec<_> = state.seen.iter().map(|seen| seen.headers["x-key"].clone()).collect();
        assert_eq!(keys[..2], ["1", "2"]);
    });
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty"), "").expect("written");
    std::fs::write(path("headers"), "a: b\nsecret\n").expect("written");
    let load = |endpoint: &str, change: &dyn Fn(&mut Asked)| {
        let mut asked = asked(endpoint);
        change(&mut asked);
        let settings = Settings::new(asked, &Environment::default()).expect("sound");
        Credentials::load(&settings).map(drop).map_err(|error| format!("{error:#}"))
    };
    let error = load("http://a:1", &|asked| asked.headers_file = Some(path("none")));
    assert!(error.expect_err("no file").contains("cannot read"));
    let error = load("http://a:1", &|asked| asked.headers_file = Some(path("headers")));
    let error = error.expect_err("no header");
    assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    let error = load("https://a:1", &|asked| asked.certificate = Some(path("empty")));
    assert!(error.expect_err("none").contains("there is no certificate in"));
    let (pem, _) = certificate("a");
    std::fs::write(path("ca"), &pem).expect("written");
    let error = load("https://a:1", &|asked| {
        asked.certificate = Some(path("ca"));
        (asked.client_certificate, asked.client_key) = (Some(path("ca")), Some(path("empty")));
    });
    assert!(error.expect_err("none").contains("no private key in PEM"));
    // No endpoint uses TLS.
    assert_eq!(load("http://a:1", &|asked| asked.certificate = Some(path("empty"))), Ok(()));
}
