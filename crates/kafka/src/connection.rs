//! How to reach the brokers, and with which secrets.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rdkafka::{ClientConfig, error::KafkaError};
use serde::Deserialize;

/// A connection to a cluster of brokers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// `host:port` of some of its brokers.
    pub brokers: Vec<String>,
    /// TLS, if it is used.
    pub tls: Option<Tls>,
    /// How to log in, if that is necessary.
    pub sasl: Option<Sasl>,
}

/// TLS. Without further keys, the broker's certificate is checked against those that the operating system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// File with the certificates of the authorities that are trusted instead (PEM).
    pub ca: Option<PathBuf>,
    /// File with the certificate of this client (PEM).
    pub certificate: Option<PathBuf>,
    /// File with its private key (PEM, not encrypted), for owner and group alone.
    pub key: Option<PathBuf>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// The password is sent to the broker; only with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// The password does not leave this host.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password does not leave this host.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    fn word(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// File whose first line is the password, for owner and group alone.
    pub password_file: PathBuf,
}

/// The connection cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret can be read by everyone.
    #[error("{what} {} can be read by everyone (mode {mode:04o})", path.display())]
    Exposed {
        /// Which file.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file of the password is empty.
    #[error("the password file {} is empty", path.display())]
    NoPassword {
        /// Where.
        path: PathBuf,
    },
    /// A password would be sent unencrypted.
    #[error("the mechanism PLAIN sends the password, and there is no TLS")]
    Unencrypted,
    /// A certificate needs a key, and the reverse.
    #[error("kafka.tls has a {there}, but no {missing}")]
    HalfCertificate {
        /// What is there.
        there: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// The library refuses it.
    #[error("the connection to Kafka cannot be set up: {0}")]
    Refused(#[from] KafkaError),
}

impl ConnectionError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConnectionError::Exposed { path, .. } => Some(format!("chmod o= {}", path.display())),
            ConnectionError::Unencrypted => {
                Some("add the section [kafka.tls], or use SCRAM-SHA-512".to_owned())
            }
            _ => None,
        }
    }
}

impl Connection {
    /// The same with paths that are absolute: relative ones are below this directory.
    #[must_use]
    pub fn below(mut self, directory: &Path) -> Self {
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.ca, &mut tls.certificate, &mut tls.key]);
        let password = self.sasl.iter_mut().map(|sasl| &mut sasl.password_file);
        for path in tls.flatten().chain(password) {
            *path = directory.join(&*path);
        }
        self
    }

    /// Whether it depends on the content of files: certificates, keys or a password.
    pub fn reads_files(&self) -> bool {
        self.tls.is_some() || self.sasl.is_some()
    }

    /// The settings of the library. Secrets are read now.
    pub(crate) fn client(&self) -> Result<ClientConfig, ConnectionError> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.brokers.join(","));
        client.set("client.id", "amore");
        // A broker that comes back is found within seconds.
        client.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "5000");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            set_tls(&mut client, tls)?;
        }
        if let Some(sasl) = &self.sasl {
            if sasl.mechanism == Mechanism::Plain && self.tls.is_none() {
                return Err(ConnectionError::Unencrypted);
            }
            client.set("sasl.mechanisms", sasl.mechanism.word());
            client.set("sasl.username", &sasl.username);
            client.set("sasl.password", password(&sasl.password_file)?);
        }
        Ok(client)
    }

    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// Why the connection cannot be set up.
    pub fn check(&self) -> Result<(), ConnectionError> {
        self.client()?.create_native_config()?;
        Ok(())
    }
}

fn set_tls(client: &mut ClientConfig, tls: &Tls) -> Result<(), ConnectionError> {
    match &tls.ca {
        Some(ca) => {
            let pem = fs::read_to_string(ca);
            let pem = pem.map_err(|source| unreadable("the certificates", ca, source))?;
            client.set("ssl.ca.pem", pem)
        }
        // The library is linked statically: it does not know where this system has its certificates.
        None => client.set("ssl.ca.location", "probe"),
    };
    let (certificate, key) = match (&tls.certificate, &tls.key) {
        (None, None) => return Ok(()),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            return Err(ConnectionError::HalfCertificate { there: "certificate", missing: "key" });
        }
        (None, Some(_)) => {
            return Err(ConnectionError::HalfCertificate { there: "key", missing: "certificate" });
        }
    };
    let pem = fs::read_to_string(certificate);
    client
        .set("ssl.certificate.pem", pem.map_err(|source| unreadable("the certificate", certificate, source))?)
        .set("ssl.key.pem", secret("the key", key)?);
    Ok(())
}

fn unreadable(what: &'static str, path: &Path, source: io::Error) -> ConnectionError {
    ConnectionError::Unreadable { what, path: path.to_owned(), source }
}

/// The content of a file that not everyone can read.
fn secret(what: &'static str, path: &Path) -> Result<String, ConnectionError> {
    let read = || {
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        Ok((mode, fs::read_to_string(path)?))
    };
    let (mode, text) = read().map_err(|source| unreadable(what, path, source))?;
    if mode & 0o007 != 0 {
        return Err(ConnectionError::Exposed { what, path: path.to_owned(), mode });
    }
    Ok(text)
}

fn password(path: &Path) -> Result<String, ConnectionError> {
    let text = secret("the password file", path)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(ConnectionError::NoPassword { path: path.to_owned() });
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_password(mechanism: Mechanism, folder: &Path, mode: u32) -> Connection {
        let password_file = folder.join("password");
        fs::write(&password_file, "secret\n").unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(mode)).unwrap();
        let sasl = Sasl { mechanism, username: "amore".to_owned(), password_file: "password".into() };
        Connection { brokers: vec!["localhost:9".to_owned()], tls: None, sasl: Some(sasl) }.below(folder)
    }

    #[test]
    fn a_secret_is_for_owner_and_group_alone() {
        let folder = tempfile::tempdir().unwrap();
        let client = with_password(Mechanism::ScramSha512, folder.path(), 0o640).client().unwrap();
        assert_eq!(client.get("sasl.password"), Some("secret"));
        assert_eq!(client.get("security.protocol"), Some("sasl_plaintext"));
        let exposed = with_password(Mechanism::ScramSha512, folder.path(), 0o644).check().unwrap_err();
        assert!(matches!(&exposed, ConnectionError::Exposed { mode: 0o644, .. }), "{exposed}");
        assert!(!exposed.to_string().contains("secret"));
        assert!(exposed.hint().is_some());
    }

    #[test]
    fn a_password_is_not_sent_without_tls() {
        let folder = tempfile::tempdir().unwrap();
        let plain = with_password(Mechanism::Plain, folder.path(), 0o600);
        assert!(matches!(plain.check(), Err(ConnectionError::Unencrypted)));
        let encrypted = Connection { tls: Some(Tls::default()), ..plain };
        encrypted.check().unwrap();
        assert_eq!(encrypted.client().unwrap().get("security.protocol"), Some("sasl_ssl"));
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let tls = Tls { certificate: Some("c.pem".into()), ..Tls::default() };
        let connection = Connection { tls: Some(tls), ..Connection::default() };
        assert!(matches!(connection.check(), Err(ConnectionError::HalfCertificate { missing: "key", .. })));
    }
}
