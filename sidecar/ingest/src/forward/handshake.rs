//! HELO, PING and PONG: takes and gives message bytes; proves both sides' knowledge of the shared key. No sockets.

use std::fmt;

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use super::{
    frame::{put_binary, put_text},
    value::{Kind, Reader, ValueError},
};

/// Longest handshake message.
pub const MAX_HANDSHAKE_BYTES: usize = 4 << 10;
/// Bytes of a nonce or salt.
const SALT_BYTES: usize = 16;

/// A user of the shared-key protocol.
#[derive(Clone)]
pub struct User {
    /// Name.
    pub name: String,
    /// Password.
    pub password: String,
}

/// What a side proves itself with.
#[derive(Clone)]
pub struct Security {
    /// Known to both sides.
    pub shared_key: String,
    /// Our own name in the handshake; a server must have another than its client.
    pub hostname: String,
    /// Server: who may come, anyone with the key if empty. Client: the first is who we are.
    pub users: Vec<User>,
}

/// The peer did not prove itself, or does not speak the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A message of the wrong shape.
    #[error("handshake message is not valid: {0}")]
    Value(#[from] ValueError),
    /// The peer's digest is not that of our shared key.
    #[error("shared_key mismatch")]
    SharedKey,
    /// The server calls itself what we call ourselves.
    #[error("the server's hostname is our own, `{0}`: so it proves nothing, give one of both another")]
    SameHostname(String),
    /// Unknown user or wrong password.
    #[error("username/password mismatch")]
    User,
    /// The server refused us.
    #[error("refused by the server: {0}")]
    Refused(String),
}

/// What a server offers at the beginning.
#[derive(Debug)]
pub struct Hello {
    nonce: [u8; SALT_BYTES],
    /// Empty: no user authentication.
    auth: Vec<u8>,
}

impl Hello {
    /// Fresh random values.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn new(security: &Security) -> std::io::Result<Hello> {
        let auth = if security.users.is_empty() { Vec::new() } else { random()?.to_vec() };
        Ok(Hello { nonce: random()?, auth })
    }

    /// The HELO message.
    pub fn message(&self) -> Vec<u8> {
        let mut out = vec![0x92];
        put_text(&mut out, b"HELO");
        out.push(0x83);
        put_text(&mut out, b"nonce");
        put_binary(&mut out, &self.nonce);
        put_text(&mut out, b"auth");
        put_binary(&mut out, &self.auth);
        put_text(&mut out, b"keepalive");
        out.push(0xc3);
        out
    }

    /// Checks a PING. The PONG to send in any case, and the verdict.
    ///
    /// # Errors
    /// If it is no PING at all.
    pub fn answer(
        &self,
        security: &Security,
        ping: &[u8],
    ) -> Result<(Vec<u8>, Result<(), HandshakeError>), HandshakeError> {
        let mut reader = Reader::new(ping);
        if reader.array()? != 6 || reader.text()? != b"PING" {
            return Err(reader.unexpected().into());
        }
        let [client, salt, digest, name, password] =
            [reader.text()?, reader.text()?, reader.text()?, reader.text()?, reader.text()?];
        let key = security.shared_key.as_bytes();
        let verdict = if !same(digest, &hex_digest(&[salt, client, &self.nonce, key])) {
            Err(HandshakeError::SharedKey)
        } else if !self.knows(security, name, password) {
            Err(HandshakeError::User)
        } else {
            Ok(())
        };
        let (proof, reason) = match &verdict {
            Ok(()) => (hex_digest(&[salt, security.hostname.as_bytes(), &self.nonce, key]), String::new()),
            Err(error) => (String::new(), error.to_string()),
        };
        let mut pong = vec![0x95];
        put_text(&mut pong, b"PONG");
        pong.push(if verdict.is_ok() { 0xc3 } else { 0xc2 });
        put_text(&mut pong, reason.as_bytes());
        put_text(&mut pong, security.hostname.as_bytes());
        put_text(&mut pong, proof.as_bytes());
        Ok((pong, verdict))
    }

    fn knows(&self, security: &Security, name: &[u8], digest: &[u8]) -> bool {
        // All users are tried, so that the time says nothing about which of them exist.
        let fits = |user: &User| {
            let expected = hex_digest(&[&self.auth, user.name.as_bytes(), user.password.as_bytes()]);
            same(name, &user.name) & same(digest, &expected)
        };
        security.users.is_empty() || security.users.iter().fold(false, |known, user| known | fits(user))
    }
}

/// A client's half-done handshake: what it needs to check the PONG.
#[derive(Debug)]
pub struct Greeting {
    nonce: Vec<u8>,
    salt: [u8; SALT_BYTES],
}

impl Greeting {
    /// Reads a HELO; the PING to answer with.
    ///
    /// # Errors
    /// If it is no HELO.
    pub fn answer(
        security: &Security,
        helo: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Result<(Greeting, Vec<u8>), HandshakeError> {
        let mut reader = Reader::new(helo);
        if reader.array()? < 2 || reader.text()? != b"HELO" {
            return Err(reader.unexpected().into());
        }
        let (mut nonce, mut auth) = (&b""[..], &b""[..]);
        for _ in 0..reader.map()? {
            match (reader.text()?, reader.peek()?) {
                (b"nonce", Kind::Text) => nonce = reader.text()?,
                (b"auth", Kind::Text) => auth = reader.text()?,
                _ => {
                    reader.any()?;
                }
            }
        }
        let key = security.shared_key.as_bytes();
        let user = security.users.first().filter(|_| !auth.is_empty());
        let mut ping = vec![0x96];
        put_text(&mut ping, b"PING");
        put_text(&mut ping, security.hostname.as_bytes());
        put_text(&mut ping, &salt);
        put_text(&mut ping, hex_digest(&[&salt, security.hostname.as_bytes(), nonce, key]).as_bytes());
        put_text(&mut ping, user.map_or(&b""[..], |user| user.name.as_bytes()));
        let password = user.map(|user| hex_digest(&[auth, user.name.as_bytes(), user.password.as_bytes()]));
        put_text(&mut ping, password.unwrap_or_default().as_bytes());
        Ok((Greeting { nonce: nonce.to_vec(), salt }, ping))
    }

    /// Checks the server's PONG.
    ///
    /// # Errors
    /// If it is no PONG, refuses us, has our own name, or does not prove the shared key.
    pub fn check(&self, security: &Security, pong: &[u8]) -> Result<(), HandshakeError> {
        let mut reader = Reader::new(pong);
        if reader.array()? != 5 || reader.text()? != b"PONG" {
            return Err(reader.unexpected().into());
        }
        let Kind::Bool(accepted) = reader.peek()? else { return Err(reader.unexpected().into()) };
        reader.any()?;
        let [reason, server, digest] = [reader.text()?, reader.text()?, reader.text()?];
        if !accepted {
            let reason =
                String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(HandshakeError::Refused(reason));
        }
        // The proof is then the one that we have just sent: whoever got it could send it back without the key.
        if server == security.hostname.as_bytes() {
            return Err(HandshakeError::SameHostname(security.hostname.clone()));
        }
        let proof = hex_digest(&[&self.salt, server, &self.nonce, security.shared_key.as_bytes()]);
        if same(digest, &proof) { Ok(()) } else { Err(HandshakeError::SharedKey) }
    }
}

/// Random bytes for salts and chunk ids.
///
/// # Errors
/// If the operating system has none to give.
pub fn random() -> std::io::Result<[u8; SALT_BYTES]> {
    let mut bytes = [0; SALT_BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn hex_digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

fn same(given: &[u8], expected: &str) -> bool {
    given.ct_eq(expected.as_bytes()).into()
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("hostname", &self.hostname)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(shared_key: &str, users: &[(&str, &str)]) -> Security {
        Security { hostname: "server".into(), ..side(shared_key, users) }
    }

    fn side(shared_key: &str, users: &[(&str, &str)]) -> Security {
        let user =
            |(name, password): &(&str, &str)| User { name: (*name).into(), password: (*password).into() };
        Security {
            shared_key: shared_key.into(),
            hostname: "host".into(),
            users: users.iter().map(user).collect(),
        }
    }

    /// The server's and the client's opinion of each other.
    fn meet(
        server: &Security,
        client: &Security,
    ) -> (Result<(), HandshakeError>, Result<(), HandshakeError>) {
        let hello = Hello::new(server).unwrap();
        let (greeting, ping) = Greeting::answer(client, &hello.message(), random().unwrap()).unwrap();
        let (pong, verdict) = hello.answer(server, &ping).unwrap();
        (verdict, greeting.check(client, &pong))
    }

    #[test]
    fn right_and_wrong_keys_and_users() {
        let alice = &[("alice", "wonder")][..];
        assert_eq!(meet(&server("k", &[]), &side("k", &[])), (Ok(()), Ok(())));
        assert_eq!(meet(&server("k", alice), &side("k", alice)), (Ok(()), Ok(())));
        let refused =
            |error: HandshakeError| (Err(error.clone()), Err(HandshakeError::Refused(error.to_string())));
        assert_eq!(meet(&server("k", &[]), &side("wrong", &[])), refused(HandshakeError::SharedKey));
        assert_eq!(
            meet(&server("k", alice), &side("k", &[("alice", "wrong")])),
            refused(HandshakeError::User)
        );
        assert_eq!(
            meet(&server("k", alice), &side("k", &[("bob", "wonder")])),
            refused(HandshakeError::User)
        );
        assert_eq!(meet(&server("k", alice), &side("k", &[])), refused(HandshakeError::User));
    }

    #[test]
    fn a_server_without_the_key_is_found_out() {
        let client = side("k", &[]);
        let hello = Hello::new(&client).unwrap();
        let (greeting, _) = Greeting::answer(&client, &hello.message(), [0; 16]).unwrap();
        let mut pong = vec![0x95, 0xa4, b'P', b'O', b'N', b'G', 0xc3, 0xa0, 0xa0];
        put_text(&mut pong, &[b'0'; 128]);
        assert_eq!(greeting.check(&client, &pong), Err(HandshakeError::SharedKey));
    }

    #[test]
    fn a_server_that_sends_our_own_proof_back_is_found_out() {
        let client = side("k", &[]);
        let hello = Hello::new(&client).unwrap();
        let (greeting, ping) = Greeting::answer(&client, &hello.message(), [0; 16]).unwrap();
        let mut reader = Reader::new(&ping);
        reader.array().unwrap();
        let [_, name, _, proof] = [(); 4].map(|()| reader.text().unwrap());
        let mut pong = vec![0x95, 0xa4, b'P', b'O', b'N', b'G', 0xc3, 0xa0];
        put_text(&mut pong, name);
        put_text(&mut pong, proof);
        let error = greeting.check(&client, &pong).unwrap_err();
        assert_eq!(error, HandshakeError::SameHostname("host".into()));
        assert!(error.to_string().contains("`host`"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?}", side("hush", &[("alice", "wonder")]));
        assert!(
            printed.contains("alice") && !printed.contains("hush") && !printed.contains("wonder"),
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let security = side("k", &[]);
            let hello = Hello::new(&security).unwrap();
            let _ = hello.answer(&security, &bytes);
            if let Ok((greeting, _)) = Greeting::answer(&security, &bytes, [0; 16]) {
                let _ = greeting.check(&security, &bytes);
            }
        }
    }
}
