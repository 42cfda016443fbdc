//! Listening addresses as given by the user.

use std::{
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
};

/// Default mode of a UNIX socket: access for owner and group.
const DEFAULT_MODE: u32 = 0o660;

/// The valid forms.
const FORMS: &str = "expected an IP address and a port, such as 127.0.0.1:10054, 0.0.0.0:10054 or \
     [::]:10054; a UNIX socket, such as unix:/run/socktrace/metrics.sock or with a mode \
     unix:/run/socktrace/metrics.sock,mode=0666; or systemd, for sockets passed by systemd";

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Address(SocketAddr),
    /// A UNIX socket to create.
    Unix {
        /// Its absolute path.
        path: PathBuf,
        /// Its permissions, which decide who may connect.
        mode: u32,
    },
    /// The sockets passed by systemd.
    Systemd,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        let Some(socket) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Address).map_err(|_| FORMS.to_owned());
        };
        let (path, mode) = match socket.rsplit_once(",mode=") {
            None => (socket, DEFAULT_MODE),
            Some((path, mode)) => (path, parse_mode(mode)?),
        };
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(format!("the path of a UNIX socket is not absolute; {FORMS}"));
        }
        Ok(Self::Unix { path: path.into(), mode })
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("the mode is not octal from 0000 to 0777; {FORMS}"))
}

impl Display for Listen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        let socket = |path: &str, mode| Listen::Unix { path: path.into(), mode };
        for (text, listen) in [
            ("127.0.0.1:0", Listen::Address(([127, 0, 0, 1], 0).into())),
            ("[::1]:9", Listen::Address("[::1]:9".parse().expect("an address"))),
            ("unix:/run/a.sock", socket("/run/a.sock", 0o660)),
            ("unix:/run/a,b.sock,mode=0606", socket("/run/a,b.sock", 0o606)),
            ("systemd", Listen::Systemd),
        ] {
            assert_eq!(text.parse(), Ok(listen), "{text}");
        }
    }

    #[test]
    fn errors_name_the_accepted_forms() {
        for text in [
            "",
            "10054",
            ":10054",
            "localhost:10054",
            "127.0.0.1",
            "127.0.0.1:65536",
            "unix:",
            "unix:run/a.sock",
            "unix:/run/",
            "unix:/run/a.sock,mode=0888",
            "unix:/run/a.sock,mode=1777",
            "unix:/run/a.sock,mode=",
            "Systemd",
        ] {
            let error = text.parse::<Listen>().expect_err(text);
            assert!(
                ["127.0.0.1:10054", "[::]:10054", "unix:/", "mode=0666", "systemd"]
                    .iter()
                    .all(|form| error.contains(form)),
                "{text}: {error}"
            );
        }
    }
}
