//! The proposal's credentials: `usr/mymdc-credentials.yml`, as `extra_proposal` uses them.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use reqwest::{Url, header::HeaderValue};
use saphyr::{LoadableYamlNode, Yaml};

use crate::error::MymdcError;

/// Longer files are no credentials.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret. It is shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The header's value, which libraries do not log.
    pub(crate) fn header(&self) -> HeaderValue {
        // Checked when it was read.
        let mut value = HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// A text of the server without the token, should the server have repeated it.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(***)")
    }
}

/// Where MyMdC is, and the token for a proposal.
#[derive(Clone, Debug)]
pub struct Credentials {
    token: Token,
    server: Url,
}

impl Credentials {
    /// Where the file is in a proposal's directory.
    pub fn path_in(proposal_directory: &Path) -> PathBuf {
        proposal_directory.join("usr/mymdc-credentials.yml")
    }

    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// The file is missing, cannot be read, or does not contain a token and a server.
    pub fn read(path: &Path) -> Result<Self, MymdcError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => MymdcError::NoCredentials { path: path.to_owned() },
            _ => MymdcError::Unreadable { path: path.to_owned(), source: Arc::new(source) },
        };
        let data = fs::metadata(path).map_err(failed)?;
        if !data.is_file() || data.len() > MAX_BYTES {
            return Err(invalid(path, "it is not a small text file".to_owned()));
        }
        let text = fs::read(path).map_err(failed)?;
        let text =
            String::from_utf8(text).map_err(|_| invalid(path, "it is not a text in UTF-8".to_owned()))?;
        Credentials::parse(&text).map_err(|why| invalid(path, why))
    }

    /// The content of such a file. The message of an error contains nothing of the text.
    fn parse(text: &str) -> Result<Self, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| {
            let place = error.marker();
            format!("line {}, column {}: it is not valid YAML", place.line(), place.col() + 1)
        })?;
        let document = documents.first().filter(|document| document.is_mapping());
        let document = document.ok_or("it has no keys")?;
        let word = |key: &str| {
            let value = document.as_mapping_get(key).ok_or(format!("the key {key:?} is missing"))?;
            let value = value.as_str().map(str::trim).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(format!("the value of {key:?} is not a text"))
        };
        let (token, server) = (word("token")?, word("server")?);
        if HeaderValue::from_str(&token).is_err() {
            return Err("the value of \"token\" has characters that no token has".to_owned());
        }
        let server = Url::parse(&server).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        let server =
            server.ok_or("the value of \"server\" is not an address like https://in.xfel.eu/metadata")?;
        Ok(Credentials { token: Token(token), server })
    }

    /// The address of the server, for users.
    pub fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// The address of something in the API.
    pub(crate) fn address(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "mymdc"]).extend(segments);
        }
        url
    }

    pub(crate) fn token(&self) -> &Token {
        &self.token
    }
}

fn invalid(path: &Path, why: String) -> MymdcError {
    MymdcError::Invalid { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-t0k3n";

    fn refused(text: &str) -> String {
        let why = Credentials::parse(text).unwrap_err();
        assert!(!why.contains(SECRET), "{why}");
        why
    }

    #[test]
    fn the_address_of_the_api_follows_that_of_the_server() {
        for server in ["https://in.xfel.eu/metadata", "'https://in.xfel.eu/metadata/'"] {
            let read = Credentials::parse(&format!("token: {SECRET}\nserver: {server}\n")).unwrap();
            assert_eq!(read.server(), "https://in.xfel.eu/metadata");
            let address = read.address(&["samples", "7"]);
            assert_eq!(address.as_str(), "https://in.xfel.eu/metadata/api/mymdc/samples/7");
        }
    }

    #[test]
    fn the_token_is_not_printed() {
        let read = Credentials::parse(&format!("token: {SECRET}\nserver: http://h\nextra: 1\n")).unwrap();
        assert!(!format!("{read:?}").contains(SECRET));
        assert!(!format!("{:?}", read.token().header()).contains(SECRET));
        assert_eq!(read.token().hidden_in(&format!("<{SECRET}>")), "<***>");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_content() {
        for (text, words) in [
            ("".to_owned(), "no keys"),
            ("just words".to_owned(), "no keys"),
            (format!("token: {SECRET}\n"), "\"server\" is missing"),
            ("server: http://h\n".to_owned(), "\"token\" is missing"),
            (format!("token: [{SECRET}]\nserver: http://h\n"), "\"token\" is not a text"),
            ("token: 12\nserver: http://h\n".to_owned(), "\"token\" is not a text"),
            (format!("token: \"{SECRET}\\n\\x01x\"\nserver: http://h\n"), "no token has"),
            (format!("token: {SECRET}\nserver: in.xfel.eu\n"), "not an address"),
            (format!("token: t\nserver: https://me:{SECRET}@h/\n"), "not an address"),
            (format!("token: t\nserver: ftp://h/{SECRET}\n"), "not an address"),
            (format!("token: {SECRET}\n  server: [}}\n"), "line 2"),
        ] {
            let why = refused(&text);
            assert!(why.contains(words), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_and_one_that_is_no_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = Credentials::path_in(folder.path());
        assert!(matches!(Credentials::read(&path), Err(MymdcError::NoCredentials { .. })));
        fs::create_dir_all(&path).unwrap();
        assert!(matches!(Credentials::read(&path), Err(MymdcError::Invalid { .. })));
        // A file where a folder should be.
        assert!(matches!(
            Credentials::read(Path::new("/dev/null/mymdc-credentials.yml")),
            Err(MymdcError::Unreadable { .. })
        ));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, b"token: \xff\nserver: http://h\n").unwrap();
        assert!(matches!(Credentials::read(&path), Err(MymdcError::Invalid { .. })));
    }
}
