//! Credentials for reading the metrics: passwords and bearer tokens.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{digest, hmac, rand::SystemRandom};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::web_config::Digest;

/// Credentials, one of which a client must present. Without any, none is required.
pub(super) struct Credentials {
    users: BTreeMap<String, String>,
    tokens: Vec<Digest>,
    /// Hash computed for unknown users, at the same cost as for a known one.
    decoy: Option<String>,
    /// A keyed hash of each user's last correct password. Comparison is fast, and the hash is
    /// useless to anyone else.
    known: Mutex<HashMap<String, hmac::Tag>>,
    key: hmac::Key,
    /// Hashing is slow by design. One at a time uses at most one processor.
    turn: Arc<Semaphore>,
}

impl Credentials {
    /// # Errors
    /// When the system cannot provide random numbers.
    pub(super) fn new(
        users: BTreeMap<String, String>,
        tokens: Vec<Digest>,
    ) -> anyhow::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
        let cost = |hash: &&String| hash.parse().map_or(0, |it: bcrypt::HashParts| it.get_cost());
        let decoy = users.values().max_by_key(cost).cloned();
        let (known, turn) = (Mutex::default(), Arc::new(Semaphore::new(1)));
        Ok(Self { users, tokens, decoy, known, key, turn })
    }

    /// Whether the headers of a request contain valid credentials.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> bool {
        if self.users.is_empty() && self.tokens.is_empty() {
            return true;
        }
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, value)) = shown.and_then(|shown| shown.split_once(' ')) else {
            return false;
        };
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is_token(value);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        match user_and_password(value) {
            Some((user, password)) => self.is_password(&user, password).await,
            None => false,
        }
    }

    /// The authentication schemes, for a client without valid credentials.
    pub(super) fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let basic = (!self.users.is_empty())
            .then_some(HeaderValue::from_static("Basic realm=\"socktrace\", charset=\"UTF-8\""));
        let bearer = (!self.tokens.is_empty())
            .then_some(HeaderValue::from_static("Bearer realm=\"socktrace\""));
        basic.into_iter().chain(bearer)
    }

    /// Whether the text is a token. The time this takes depends only on digests, which do not help
    /// to guess a token.
    fn is_token(&self, token: &str) -> bool {
        let shown = digest::digest(&digest::SHA256, token.as_bytes());
        self.tokens.iter().any(|digest| shown.as_ref() == digest)
    }

    async fn is_password(&self, user: &str, password: String) -> bool {
        if self.is_known(user, &password) {
            return true;
        }
        let Some(hash) = self.users.get(user).or(self.decoy.as_ref()).cloned() else {
            return false;
        };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // Another request of the same client may have verified the password during the wait.
        if self.is_known(user, &password) {
            return true;
        }
        let tag = hmac::sign(&self.key, password.as_bytes());
        // The permit moves into the task and is released at its end, even if the client has gone.
        let check = spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let right = check.await.unwrap_or(false) && self.users.contains_key(user);
        if right {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(user.to_owned(), tag);
        }
        right
    }

    fn is_known(&self, user: &str, password: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = known.get(user);
        // Constant-time comparison.
        tag.is_some_and(|tag| hmac::verify(&self.key, password.as_bytes(), tag.as_ref()).is_ok())
    }
}

fn user_and_password(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// The lowest bcrypt cost.
    const CHEAP: u32 = 4;

    fn credentials(users: &[(&str, &str, u32)], tokens: &[&str]) -> Credentials {
        let user = |&(name, password, cost): &(&str, &str, u32)| {
            (name.to_owned(), bcrypt::hash(password, cost).expect("a hash"))
        };
        let token = |token: &&str| {
            let digest = digest::digest(&digest::SHA256, token.as_bytes());
            digest.as_ref().try_into().expect("32 bytes")
        };
        let users = users.iter().map(user).collect();
        Credentials::new(users, tokens.iter().map(token).collect()).expect("random numbers")
    }

    async fn admit(credentials: &Credentials, value: &str) -> bool {
        let value = HeaderValue::from_str(value).expect("a header");
        credentials.admit(&HeaderMap::from_iter([(AUTHORIZATION, value)])).await
    }

    fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    #[tokio::test]
    async fn the_right_password_admits() {
        let credentials = credentials(&[("alice", "a:b ü", CHEAP), ("bob", "", CHEAP)], &[]);
        for _ in 0..2 {
            assert!(admit(&credentials, &basic("alice", "a:b ü")).await);
            assert!(admit(&credentials, &basic("bob", "")).await);
            assert!(admit(&credentials, &basic("bob", "").replace("Basic", "bASIC ")).await);
            for (user, password) in [("alice", ""), ("alice", "a:b"), ("bob", "a:b ü"), ("", "")] {
                assert!(!admit(&credentials, &basic(user, password)).await, "{user}:{password}");
            }
        }
        for wrong in ["", "Basic", "Basic ", "Basic !!", "Basic YWxpY2U=", "Bearer a:b", "alice"] {
            assert!(!admit(&credentials, wrong).await, "{wrong}");
        }
        assert!(!credentials.admit(&HeaderMap::new()).await);
    }

    #[tokio::test]
    async fn a_hash_of_another_tool_is_understood() {
        // "fakepassword" as hashed by Go's bcrypt, with the prefix that htpasswd writes.
        let hash = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi".to_owned();
        let users = BTreeMap::from([("eve".to_owned(), hash)]);
        let credentials = Credentials::new(users, Vec::new()).expect("random numbers");
        assert!(admit(&credentials, &basic("eve", "fakepassword")).await);
        assert!(!admit(&credentials, &basic("eve", "password")).await);
    }

    #[tokio::test]
    async fn a_password_is_hashed_once() {
        let credentials = credentials(&[("alice", "right", CHEAP)], &[]);
        assert!(admit(&credentials, &basic("alice", "right")).await);
        // Anything that needs a hash now blocks.
        let _turn = Arc::clone(&credentials.turn).acquire_owned().await.expect("never closed");
        let at_once = async |user, password| {
            timeout(Duration::ZERO, admit(&credentials, &basic(user, password))).await.ok()
        };
        assert_eq!(at_once("alice", "right").await, Some(true));
        // Unknown users cannot be distinguished: every wrong password takes a hash.
        for user in ["alice", "nobody"] {
            assert_eq!(at_once(user, "wrong").await, None);
            assert_eq!(at_once(user, "wrong").await, None);
        }
    }

    #[tokio::test]
    async fn tokens_admit() {
        let credentials = credentials(&[], &["first", "second"]);
        for (value, admitted) in [
            ("Bearer first", true),
            ("bearer second", true),
            ("Bearer third", false),
            ("Bearer ", false),
            ("Basic first", false),
        ] {
            assert_eq!(admit(&credentials, value).await, admitted, "{value}");
        }
        assert_eq!(credentials.challenges().count(), 1);
    }

    #[tokio::test]
    async fn without_credentials_everybody_is_admitted() {
        assert!(credentials(&[], &[]).admit(&HeaderMap::new()).await);
    }
}
