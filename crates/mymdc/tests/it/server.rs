//! An HTTP server that answers each path as a test wants.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How a path is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes; then the connection is closed.
    Raw(Vec<u8>),
    /// Never.
    Hang,
    /// The rest of the answer never comes.
    HangWithin,
    /// The answer never ends.
    Endless,
}

impl Reply {
    pub fn status(status: u16, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} Words\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply::Raw([head.as_bytes(), body.as_bytes()].concat())
    }

    pub fn json(body: &str) -> Self {
        Reply::status(200, body)
    }

    pub fn redirect(to: &str) -> Self {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        Reply::Raw(head.into_bytes())
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Ends when it is dropped.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(replies: Vec<(&str, Reply)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let replies: BTreeMap<String, Reply> =
            replies.into_iter().map(|(path, reply)| (path.to_owned(), reply)).collect();
        let replies = Arc::new(replies);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, replies.clone(), seen.clone()));
            }
        });
        Server { address, requests, task }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, replies: Arc<BTreeMap<String, Reply>>, seen: Arc<Mutex<Vec<Request>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let headers = rest
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let reply = replies.get(&path).cloned().unwrap_or_else(|| Reply::status(404, ""));
    seen.lock().unwrap().push(Request { path, headers });
    let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n{\"runs\": [";
    match reply {
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Hang => std::future::pending().await,
        Reply::HangWithin => {
            let _ = stream.write_all(begin).await;
            std::future::pending().await
        }
        Reply::Endless => {
            let _ = stream.write_all(begin).await;
            while stream.write_all(&[b' '; 65536]).await.is_ok() {}
        }
    }
}
