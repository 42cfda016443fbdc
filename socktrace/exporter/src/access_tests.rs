//! Tests of access over real connections: TLS, client certificates, passwords, tokens, limits, and
//! changes of the files at run time.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::{
    limits::Limits,
    server_tests::{AMPLE, PATIENCE, SHORT, is_closed, site},
    *,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";

/// "fakepassword", hashed at the lowest cost.
fn hash() -> String {
    bcrypt::hash("fakepassword", 4).expect("a hash")
}

/// "Basic" credentials of `alice:fakepassword`.
const ALICE: &str = "Authorization: Basic YWxpY2U6ZmFrZXBhc3N3b3Jk\r\n";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A directory with a configuration file and the certificates named in it.
struct Files {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files =
            Self { directory: tempfile::tempdir().expect("a directory"), authority: authority() };
        fs::write(files.path("ca.pem"), files.authority.pem()).expect("written");
        files.renew_server();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the server's certificate as the usual tools do: the key first.
    fn renew_server(&self) {
        let (certificate, key) = issue(&self.authority, "127.0.0.1");
        self.replace("server.key", &key);
        self.replace("server.pem", &certificate);
    }

    /// Replaces a file atomically.
    fn replace(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).expect("written");
        fs::rename(self.path("new"), self.path(name)).expect("renamed");
    }

    fn config(&self, text: &str) -> PathBuf {
        self.replace("web.yml", text);
        self.path("web.yml")
    }

    fn serve(&self, text: &str) -> (Server, SocketAddr) {
        serve(AMPLE, &self.config(text))
    }
}

fn serve(limits: Limits, config: &Path) -> (Server, SocketAddr) {
    let listen = Listen::Address(([127, 0, 0, 1], 0).into());
    let listeners = Listener::bind(&listen, &mut PassedSockets::from_env()).expect("a free port");
    let address = listeners[0].to_string().parse().expect("an address");
    let access = Access::open(Some(config), false).expect("sound files");
    let listeners = Listeners { pages: listeners, health: Vec::new() };
    let server = Server::start_within(limits, listeners, access, site(Vec::new));
    (server.expect("a server"), address)
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// A certificate for this name and its key, as PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let mut params = CertificateParams::default();
    let dns = || SanType::DnsName(name.try_into().expect("a name"));
    params.subject_alt_names = vec![name.parse().map_or_else(|_| dns(), SanType::IpAddress)];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

/// Client side of a TLS connection.
#[derive(Default)]
struct Client<'a> {
    identity: Option<&'a (String, String)>,
    versions: Option<&'static rustls::SupportedProtocolVersion>,
}

struct Answer {
    text: String,
    version: Option<ProtocolVersion>,
    server: Vec<u8>,
}

fn ask_by_tls(
    files: &Files,
    address: SocketAddr,
    client: &Client<'_>,
    headers: &str,
) -> io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(files.authority.der().clone()).expect("an authority");
    let versions = client.versions.map_or_else(|| vec![&TLS12, &TLS13], |version| vec![version]);
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&versions)
        .expect("known versions")
        .with_root_certificates(roots);
    let mut config = match client.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            let chain = vec![certificate.expect("a certificate")];
            builder.with_client_auth_cert(chain, key).expect("they go together")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = connect(address);
    let mut tls = StreamOwned::new(connection, stream);
    tls.write_all(format!("{GET}{headers}\r\n").as_bytes())?;
    let mut text = String::new();
    tls.read_to_string(&mut text)?;
    let server = tls.conn.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default();
    Ok(Answer { text, version: tls.conn.protocol_version(), server })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// The status of an answer, and the complete answer.
fn ask(address: SocketAddr, headers: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(format!("{GET}{headers}\r\n").as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    (text[9..12].parse().expect("a status"), text)
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

#[test]
fn tls_is_spoken() {
    let files = Files::new();
    let (_server, address) = files.serve(TLS);
    for version in [&TLS12, &TLS13] {
        let client = Client { versions: Some(version), ..Client::default() };
        let answer = ask_by_tls(&files, address, &client, "").expect("an answer");
        assert!(answer.text.starts_with("HTTP/1.1 200 "), "{}", answer.text);
        assert_eq!(answer.version, Some(version.version));
    }
    // A client without TLS is dropped and does no harm.
    let mut plain = connect(address);
    plain.write_all(format!("{GET}\r\n").as_bytes()).expect("sent");
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    ask_by_tls(&files, address, &Client::default(), "").expect("an answer");
}

#[test]
fn a_handshake_that_comes_slowly_is_not_waited_for() {
    let files = Files::new();
    let limits = Limits { request: SHORT, ..AMPLE };
    let (_server, address) = serve(limits, &files.config(TLS));
    let mut slow = connect(address);
    slow.write_all(b"\x16\x03\x01\x02\x00").expect("sent");
    assert!(is_closed(&mut slow, PATIENCE), "the server waits");
}

#[test]
fn probes_of_health_need_no_credentials() {
    let files = Files::new();
    let config = files.config(&format!("basic_auth_users:\n  alice: {}\n", hash()));
    for (protects_health, health) in [(false, "200"), (true, "401")] {
        let bind = || {
            let listen = Listen::Address(([127, 0, 0, 1], 0).into());
            Listener::bind(&listen, &mut PassedSockets::from_env()).expect("a free port")
        };
        let listeners = Listeners { pages: bind(), health: bind() };
        let [pages, open] = [&listeners.pages, &listeners.health]
            .map(|bound| bound[0].to_string().parse::<SocketAddr>().expect("an address"));
        let access = Access::open(Some(&config), protects_health).expect("sound files");
        let _server = Server::start(listeners, access, site(Vec::new)).expect("a server");
        for (address, path, status) in [
            (pages, "/healthz", health),
            (pages, "/readyz", health),
            (pages, "/metrics", "401"),
            (pages, "/", "401"),
            (open, "/healthz", "200"),
            (open, "/readyz", "200"),
            (open, "/metrics", "404"),
            (open, "/", "404"),
        ] {
            let mut stream = TcpStream::connect(address).expect("connected");
            let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert_eq!(
                answer.split(' ').nth(1),
                Some(status),
                "{protects_health} {address} {path}"
            );
        }
    }
}

#[test]
fn versions_are_enforced() {
    let files = Files::new();
    let (_server, address) = files.serve(&format!("{TLS}  min_version: TLS13\n"));
    let older = Client { versions: Some(&TLS12), ..Client::default() };
    assert!(ask_by_tls(&files, address, &older, "").is_err());
    ask_by_tls(&files, address, &Client::default(), "").expect("an answer");
}

#[test]
fn clients_show_the_certificates_that_are_asked_for() {
    let files = Files::new();
    let good = issue(&files.authority, "scraper.example");
    let other = issue(&files.authority, "other.example");
    let address_only = issue(&files.authority, "10.0.0.7");
    let foreign = issue(&authority(), "scraper.example");
    let certificates = [None, Some(&good), Some(&other), Some(&address_only), Some(&foreign)];
    let authority = "  client_ca_file: ca.pem\n";
    let names = "  client_allowed_sans: [scraper.example, 10.0.0.7]\n";
    for (auth, more, admitted) in [
        ("RequestClientCert", "", [true, true, true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true, true, true]),
        ("RequireAnyClientCert", names, [false, true, false, true, true]),
        ("VerifyClientCertIfGiven", authority, [true, true, true, true, false]),
        ("RequireAndVerifyClientCert", authority, [false, true, true, true, false]),
        (
            "RequireAndVerifyClientCert",
            &[authority, names].concat(),
            [false, true, false, true, false],
        ),
    ] {
        let (_server, address) = files.serve(&format!("{TLS}  client_auth_type: {auth}\n{more}"));
        for (number, (identity, admitted)) in certificates.into_iter().zip(admitted).enumerate() {
            for version in [&TLS12, &TLS13] {
                let client = Client { identity, versions: Some(version) };
                let answer = ask_by_tls(&files, address, &client, "");
                let got_in = answer.is_ok_and(|answer| answer.text.contains(" 200 "));
                assert_eq!(got_in, admitted, "{auth} {more}: certificate {number}, {version:?}");
            }
        }
    }
}

#[test]
fn certificates_are_renewed_without_a_restart() {
    let files = Files::new();
    let (_server, address) = files.serve(TLS);
    let seen = || {
        let answer = ask_by_tls(&files, address, &Client::default(), "");
        answer.expect("an answer").server
    };
    let first = seen();
    assert_eq!(seen(), first);
    // The new key does not match the certificate yet, so the previous pair stays in use.
    let (certificate, key) = issue(&files.authority, "127.0.0.1");
    files.replace("server.key", &key);
    assert_eq!(seen(), first);
    files.replace("server.pem", &certificate);
    let second = seen();
    assert_ne!(second, first);
    fs::remove_file(files.path("server.pem")).expect("removed");
    assert_eq!(seen(), second);
}

#[test]
fn passwords_and_tokens_are_asked_for() {
    let files = Files::new();
    let token = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let (_server, address) = files.serve(&format!(
        "basic_auth_users:\n  alice: {}\nbearer_tokens:\n  prometheus: {token}\n\
         http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
        hash()
    ));
    for (headers, status) in [
        ("", 401),
        (ALICE, 200),
        ("Authorization: Bearer secret\r\n", 200),
        ("Authorization: Bearer Secret\r\n", 401),
        ("Authorization: Basic YWxpY2U6d3Jvbmc=\r\n", 401),
        ("Authorization: Basic Ym9iOmZha2VwYXNzd29yZA==\r\n", 401),
    ] {
        let (got, answer) = ask(address, headers);
        assert_eq!(got, status, "{headers}: {answer}");
        assert!(answer.contains("\r\nx-frame-options: deny\r\n"), "{answer}");
        let challenged = answer.contains("\r\nwww-authenticate: Basic realm=")
            && answer.contains("\r\nwww-authenticate: Bearer realm=");
        assert_eq!(challenged, status == 401, "{answer}");
    }
}

#[test]
fn a_changed_file_is_in_force_at_once_unless_it_is_wrong() {
    let files = Files::new();
    let (_server, address) = files.serve("");
    assert_eq!(ask(address, "").0, 200);
    files.config(&format!("basic_auth_users:\n  alice: {}\n", hash()));
    assert_eq!(ask(address, "").0, 401);
    assert_eq!(ask(address, ALICE).0, 200);
    for wrong in ["basic_auth_users:\n  alice: plain\n", "nonsense: 1\n", "[\n"] {
        files.config(wrong);
        assert_eq!(ask(address, "").0, 401, "{wrong}");
        assert_eq!(ask(address, ALICE).0, 200, "{wrong}");
    }
    files.config("# open to everybody\n");
    assert_eq!(ask(address, "").0, 200);
}

#[test]
fn requests_are_limited() {
    let files = Files::new();
    let (_server, address) = files.serve("rate_limit:\n  interval: 1h\n  burst: 2\n");
    let statuses = [(); 4].map(|()| ask(address, "").0);
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn unusable_files_are_reported_at_the_start() {
    let files = Files::new();
    let foreign = issue(&authority(), "127.0.0.1");
    files.replace("foreign.key", &foreign.1);
    for (text, words) in [
        ("tls_server_confg: {}\n", "line 1: unknown key \"tls_server_confg\"; did you mean tls_s"),
        ("tls_server_config:\n  cert_file: none.pem\n  key_file: server.key\n", "none.pem"),
        ("tls_server_config:\n  cert_file: server.key\n  key_file: server.key\n", "no certificate"),
        ("tls_server_config:\n  cert_file: ca.pem\n  key_file: ca.pem\n", "no private key"),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: foreign.key\n", "go together"),
    ] {
        let path = files.config(text);
        let error = Access::open(Some(&path), false).err().expect(text);
        assert!(error.is::<UnusableWebConfig>(), "{error:?}");
        let error = format!("{error:#}");
        assert!(error.contains(words), "{text}: {error}");
        assert!(error.contains(&path.display().to_string()), "{text}: {error}");
    }
    let error = Access::open(Some(Path::new("/nowhere/web.yml")), false).err().expect("no file");
    assert!(format!("{error:#}").contains("/nowhere/web.yml"), "{error:#}");
}
