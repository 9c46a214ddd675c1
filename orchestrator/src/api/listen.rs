//! Accepts connections on a Unix socket and on a TCP port, with or without TLS, and serves them within their limits.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amore_model::DatabaseDir;
use amore_shared_files::own_folder::Folder;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::unistd::{Gid, chown};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::{
    caller::Peer,
    patient::Patient,
    settings::{HttpSettings, TlsFiles},
};
use crate::advice::Advice;

/// How long to wait before it is tried again to listen.
const PAUSE: Duration = Duration::from_secs(2);
/// How long to wait after the system refused a connection: it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest header of a request.
const MAX_HEADER: usize = 16 * 1024;
/// The number of header lines.
const MAX_HEADER_LINES: usize = 64;

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the certificate {} cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: rustls::Error },
}

impl Advice for TlsError {
    fn hint(&self) -> Option<String> {
        Some("[http] certificate and key in service.toml name PEM files that the service can read".to_owned())
    }
}

/// Reads the files of TLS.
///
/// # Errors
/// One cannot be read, or they do not belong together.
pub fn tls(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let wrong = |path: &Path, why: String| TlsError::File { path: path.to_owned(), why };
    let path = &files.certificate;
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(path, error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong(path, "there is no certificate in it".to_owned()));
    }
    let mode = fs::metadata(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?.mode();
    if mode & 0o007 != 0 {
        return Err(wrong(&files.key, "everybody may read or write the key: chmod o= it".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |source| TlsError::Unusable { path: path.clone(), source };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Where the API listens, with its limits. It ends when `ends` says so.
#[derive(Clone)]
pub struct Listening {
    router: Router,
    settings: Arc<HttpSettings>,
    connections: Connections,
    ends: watch::Receiver<bool>,
}

impl Listening {
    /// Serves these routes.
    pub fn of(settings: &HttpSettings, router: Router, ends: watch::Receiver<bool>) -> Self {
        let connections = Connections::at_most(settings.max_connections);
        Listening { router, settings: Arc::new(settings.clone()), connections, ends }
    }

    /// Listens on a TCP port. If that is not possible now, it is tried again.
    pub async fn on_port(mut self, address: SocketAddr, acceptor: Option<TlsAcceptor>) {
        let mut told = false;
        loop {
            let listener = tokio::select! {
                biased;
                () = ended(&mut self.ends) => return,
                listener = TcpListener::bind(address) => listener,
            };
            match listener {
                Ok(listener) => {
                    let scheme = if acceptor.is_some() { "https" } else { "http" };
                    tracing::info!("the API listens on {scheme}://{address}");
                    return self.accept_tcp(listener, acceptor).await;
                }
                Err(error) => {
                    if !told {
                        tracing::error!(%error, %address, "the API cannot listen; trying again");
                    }
                    told = true;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept_tcp(mut self, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = ended(&mut self.ends) => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, address)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let peer = Peer::Remote { address: address.ip() };
            let Some(place) = self.connections.take(&peer, &self.settings) else { continue };
            let (own, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match acceptor {
                    None => own.serve(stream, peer, place).await,
                    Some(acceptor) => {
                        let patience = own.settings.header_patience();
                        match timeout(patience, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => own.serve(stream, peer, place).await,
                            Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS"),
                            Err(_) => tracing::debug!(%address, "TLS takes too long"),
                        }
                    }
                }
            });
        }
    }

    /// Listens on a Unix socket at this path.
    pub async fn on_socket(mut self, path: PathBuf, users: Users) {
        let mut told = false;
        loop {
            let own = path.clone();
            let bound = tokio::task::spawn_blocking(move || bind(&own, users)).await;
            let listener = bound.map_err(io::Error::other).and_then(|bound| UnixListener::from_std(bound?));
            match listener {
                Ok(listener) => {
                    tracing::info!("the API listens on {}", path.display());
                    self.accept_unix(listener).await;
                    let _ = tokio::task::spawn_blocking(move || fs::remove_file(path)).await;
                    return;
                }
                Err(error) => {
                    if !told {
                        let path = path.display();
                        tracing::error!(%error, %path, "the API cannot make its socket; trying again");
                    }
                    told = true;
                    tokio::select! {
                        biased;
                        () = ended(&mut self.ends) => return,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    async fn accept_unix(&mut self, listener: UnixListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = ended(&mut self.ends) => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(peer) = who(&stream) else { continue };
            let Some(place) = self.connections.take(&peer, &self.settings) else { continue };
            let own = self.clone();
            tokio::spawn(async move { own.serve(stream, peer, place).await });
        }
    }

    async fn serve<S>(mut self, stream: S, peer: Peer, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let patience = self.settings.header_patience();
        let service = self.router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(MAX_HEADER)
            .max_headers(MAX_HEADER_LINES)
            .serve_connection(
                TokioIo::new(Patient::new(stream, patience)),
                TowerToHyperService::new(service),
            );
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection broke");
                }
            }
            () = ended(&mut self.ends) => {
                // Answers that have begun are finished, for as long as the service waits.
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
        drop(place);
    }
}

async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ = ends.wait_for(|ends| *ends).await;
}

fn who(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    Some(Peer::Local { uid: credentials.uid(), gid: credentials.gid() })
}

/// The name of the socket in a directory.
pub const SOCKET: &str = "service.sock";

/// Who can connect to a socket. What they may do is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Its owner, and the group of its folder.
    Group,
    /// All users of the host.
    All,
}

/// Makes a socket. Only the service of the directory does so, so a socket that is there belongs to one that has ended, and a link
/// to a service that this directory had before.
fn bind(path: &Path, users: Users) -> io::Result<std::os::unix::net::UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    make_way(path)?;
    // The system allows 108 characters for the address of a socket. By way of the open folder it is always short.
    let open = fs::File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join(name);
    let listener = std::os::unix::net::UnixListener::bind(&short)?;
    if users == Users::All {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        return Ok(listener);
    }
    // Until it has its group, it is for the owner alone: nothing that connects earlier could do more.
    if open.metadata()?.gid() != fs::metadata(path)?.gid() {
        // Only a member of the group can do so. Otherwise the socket has the owner's group.
        let _ = chown(path, None, Some(Gid::from_raw(open.metadata()?.gid())));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes a socket or link that was left behind.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() || meta.is_symlink() => fs::remove_file(path),
        Ok(_) => Err(io::Error::other(format!("{} is not a socket", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Leads the users of a directory to the socket of its service. The socket of a service that runs in the directory itself stays.
///
/// # Errors
/// Nothing can be written there.
pub fn link(dir: &DatabaseDir, socket: &Path) -> io::Result<()> {
    let own = dir.own_files();
    if fs::read_link(own.join(SOCKET)).is_ok_and(|to| to == socket) {
        return Ok(());
    }
    if !own.is_dir() {
        fs::create_dir(&own)?;
    }
    let folder = Folder::open(&own)?;
    let path = folder.path(SOCKET);
    let is_socket = fs::symlink_metadata(&path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Ok(());
    }
    make_way(&path)?;
    std::os::unix::fs::symlink(socket, &path)
}

/// Counts connections.
#[derive(Clone, Debug)]
struct Connections {
    all: Arc<Semaphore>,
    clients: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// The place of one connection.
#[derive(Debug)]
struct Place {
    client: String,
    clients: Arc<Mutex<BTreeMap<String, usize>>>,
    _one_of_all: OwnedSemaphorePermit,
}

impl Connections {
    /// So many at the same time.
    fn at_most(number: usize) -> Self {
        Connections { all: Arc::new(Semaphore::new(number)), clients: Arc::default() }
    }

    /// `None`: there are too many, of this client or of all. The connection is closed.
    fn take(&self, peer: &Peer, settings: &HttpSettings) -> Option<Place> {
        let client = format!("{peer:?}");
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let number = clients.entry(client.clone()).or_default();
        if *number >= settings.max_connections_per_client {
            return None;
        }
        *number += 1;
        Some(Place { client, clients: Arc::clone(&self.clients), _one_of_all: one_of_all })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = clients.get_mut(&self.client) {
            *number -= 1;
            if *number == 0 {
                clients.remove(&self.client);
            }
        }
    }
}
