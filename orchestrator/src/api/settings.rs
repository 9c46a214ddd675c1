//! `[http]` of `service.toml`: where the API listens, and its limits.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

/// The settings of the API. Without any, it listens on the Unix socket in the service's directory only.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Whether there is a Unix socket.
    pub socket: bool,
    /// Absolute path of another Unix socket, to which all users of the host can connect. What they may do depends on their rights
    /// to the files, as on the other one. For a service with a directory that they cannot enter.
    pub public_socket: Option<PathBuf>,
    /// Address and port to listen on; only a port means localhost. Not set: no TCP.
    listen: Option<Listen>,
    /// Names under which clients may address the service, besides those of this host and its own address.
    pub hosts: Vec<String>,
    /// Allows to listen on other addresses than localhost without TLS.
    plain_text: bool,
    /// PEM file with the certificate and those of its issuers.
    certificate: Option<PathBuf>,
    /// PEM file with the key of the certificate.
    key: Option<PathBuf>,
    /// What comes before the paths of the API, if a proxy passes it on: `/amore`.
    pub base_path: String,
    /// The largest body of a request.
    pub max_body_bytes: usize,
    /// Connections at the same time, of all clients.
    pub max_connections: usize,
    /// Connections at the same time, of one client.
    pub max_connections_per_client: usize,
    /// Requests per second of one client, on average; for a moment four times as many.
    pub requests_per_second: f64,
    /// How long the header of a request, and a client that does not read, may take.
    header_seconds: f64,
    /// How long a request may take until its answer begins.
    request_seconds: f64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            socket: true,
            public_socket: None,
            listen: None,
            hosts: Vec::new(),
            plain_text: false,
            certificate: None,
            key: None,
            base_path: String::new(),
            max_body_bytes: 1 << 20,
            max_connections: 256,
            max_connections_per_client: 64,
            requests_per_second: 50.0,
            header_seconds: 10.0,
            request_seconds: 60.0,
        }
    }
}

/// The system allows 108 characters for the address of a socket, with the NUL.
const LONGEST_SOCKET: usize = 107;

/// Where to listen: a port of localhost, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Listen {
    Port(u16),
    Address(SocketAddr),
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFiles {
    /// Certificates.
    pub certificate: PathBuf,
    /// Their key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// With their paths in this directory, if they are relative.
    pub fn within(&self, directory: &Path) -> Self {
        TlsFiles { certificate: directory.join(&self.certificate), key: directory.join(&self.key) }
    }
}

impl HttpSettings {
    /// Where to listen for TCP connections.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.map(|listen| match listen {
            Listen::Port(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            Listen::Address(address) => address,
        })
    }

    /// The files of TLS, if it is used.
    pub fn tls(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.certificate.clone().zip(self.key.clone())?;
        Some(TlsFiles { certificate, key })
    }

    /// How long the header of a request may take.
    pub fn header_patience(&self) -> Duration {
        Duration::from_secs_f64(self.header_seconds)
    }

    /// How long a request may take.
    pub fn request_patience(&self) -> Duration {
        Duration::from_secs_f64(self.request_seconds)
    }

    /// What contradicts itself.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err("http.certificate and http.key belong together".to_owned());
        }
        if let Some(address) = self.address()
            && !address.ip().is_loopback()
            && self.certificate.is_none()
            && !self.plain_text
        {
            return Err(format!(
                "http.listen = \"{address}\" would send tokens unencrypted: set http.certificate and http.key, or \
                 http.plain_text = true if the network is trusted"
            ));
        }
        if let Some(path) = &self.public_socket
            && (!path.is_absolute() || path.file_name().is_none() || path.as_os_str().len() > LONGEST_SOCKET)
        {
            return Err(format!(
                "http.public_socket must be an absolute path of at most {LONGEST_SOCKET} characters, not {:?}",
                path.display()
            ));
        }
        let path = &self.base_path;
        if !path.is_empty()
            && (!path.starts_with('/') || path.ends_with('/') || path.contains(['{', '}', '*']))
        {
            return Err(format!("http.base_path must begin with a slash and not end with one, not {path:?}"));
        }
        for (name, seconds) in
            [("header_seconds", self.header_seconds), ("request_seconds", self.request_seconds)]
        {
            if !(seconds > 0.0 && seconds <= 3600.0) {
                return Err(format!("http.{name} must be from 0 to 3600, not {seconds}"));
            }
        }
        if !(self.requests_per_second.is_finite() && self.requests_per_second > 0.0) {
            let given = self.requests_per_second;
            return Err(format!("http.requests_per_second must be greater than 0, not {given}"));
        }
        if self.max_connections == 0 || self.max_connections_per_client == 0 {
            return Err("http.max_connections and http.max_connections_per_client must not be 0".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HttpSettings, String> {
        let settings: HttpSettings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn a_port_means_localhost() {
        assert_eq!(parse("").unwrap().address(), None);
        assert_eq!(parse("listen = 8711").unwrap().address(), Some("127.0.0.1:8711".parse().unwrap()));
        assert_eq!(parse("listen = '[::1]:80'").unwrap().address(), Some("[::1]:80".parse().unwrap()));
        assert!(parse("listen = 'localhost'").is_err() && parse("listen = 70000").is_err());
    }

    #[test]
    fn tokens_are_sent_unencrypted_only_if_somebody_says_so() {
        let refused = parse("listen = '0.0.0.0:8711'").unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        parse("listen = '0.0.0.0:8711'\nplain_text = true").unwrap();
        parse("listen = '0.0.0.0:8711'\ncertificate = 'c.pem'\nkey = 'k.pem'").unwrap();
        assert!(parse("certificate = 'c.pem'").is_err());
    }

    #[test]
    fn limits_make_sense() {
        for wrong in [
            "header_seconds = 0",
            "request_seconds = inf",
            "requests_per_second = nan",
            "max_connections = 0",
            "base_path = 'amore'",
            "base_path = '/'",
            "unknown = 1",
            "public_socket = 'amore.sock'",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
