//! TLS settings from PEM bytes: certificates come as bytes, configurations for either side go out. No files, no sockets.

use std::{fmt, sync::Arc};

use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// Certificates or keys that cannot be used. The message names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct TlsError {
    field: &'static str,
    reason: String,
}

/// A server's side of TLS.
#[derive(Clone)]
pub struct ServerTls(pub(crate) TlsAcceptor);

/// A client's side of TLS.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
}

impl ServerTls {
    /// From PEM: certificate chain, key, and, to admit only clients with a certificate, their authority.
    ///
    /// # Errors
    /// If a PEM has no such section, or key and certificate do not fit.
    pub fn new(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(wrong("tls"))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(roots("tls client_ca", pem)?);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
                builder.with_client_cert_verifier(verifier.build().map_err(wrong("tls client_ca"))?)
            }
        };
        let chain = certificates("tls certificate", certificate)?;
        let config = builder
            .with_single_cert(chain, private_key("tls key", key)?)
            .map_err(wrong("tls certificate and key"))?;
        Ok(ServerTls(TlsAcceptor::from(Arc::new(config))))
    }

    /// The same for a listener that speaks HTTP/2, which clients want to be told.
    #[must_use]
    pub fn for_http2(self) -> Self {
        let mut config = ServerConfig::clone(self.0.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        ServerTls(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ClientTls {
    /// From PEM: the authority to trust, the name the server must show, and our own chain and key if it asks for one.
    ///
    /// # Errors
    /// If a PEM has no such section, or the name is no host name or address.
    pub fn new(ca: &[u8], name: &str, own: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(wrong("tls"))?;
        let builder = builder.with_root_certificates(roots("tls ca", ca)?);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(certificates("tls certificate", chain)?, private_key("tls key", key)?)
                .map_err(wrong("tls certificate and key"))?,
        };
        let name = ServerName::try_from(name.to_owned()).map_err(wrong("tls server_name"))?;
        Ok(ClientTls { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(wrong(field))?;
    if chain.is_empty() {
        return Err(TlsError { field, reason: "no CERTIFICATE section in the PEM".to_owned() });
    }
    Ok(chain)
}

fn private_key(field: &'static str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(wrong(field))
}

fn roots(field: &'static str, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(field, pem)? {
        store.add(certificate).map_err(|error: rustls::Error| wrong(field)(error))?;
    }
    Ok(store)
}

fn wrong<E: fmt::Display>(field: &'static str) -> impl FnOnce(E) -> TlsError {
    move |error| TlsError { field, reason: error.to_string() }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_by_name() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        ServerTls::new(certificate.as_bytes(), key.as_bytes(), Some(certificate.as_bytes())).unwrap();
        ClientTls::new(certificate.as_bytes(), "127.0.0.1", Some((certificate.as_bytes(), key.as_bytes())))
            .unwrap();
        let error = ServerTls::new(b"", key.as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), "tls certificate: no CERTIFICATE section in the PEM");
        let error = ServerTls::new(certificate.as_bytes(), b"", None).unwrap_err();
        assert!(error.to_string().starts_with("tls key: "), "{error}");
        let error = ClientTls::new(certificate.as_bytes(), "not a name", None).unwrap_err();
        assert!(error.to_string().starts_with("tls server_name: "), "{error}");
    }
}
