//! A private PostgreSQL server for the tests of this process; it is stopped and removed when the process ends.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

/// The address of a server in which databases can be made, or why there is none.
pub fn server() -> Result<&'static str, &'static str> {
    static SERVER: OnceLock<Result<(String, Option<Child>), String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match std::env::var("AMORE_TEST_POSTGRES_URL") {
        Ok(url) => Ok((url, None)),
        Err(_) => start().map(|(url, child)| (url, Some(child))),
    });
    match server {
        Ok((url, _)) => Ok(url),
        Err(why) => Err(why),
    }
}

fn start() -> Result<(String, Child), String> {
    let bin = binaries().ok_or("no initdb and postgres on PATH or in /usr/lib/postgresql/*/bin")?;
    let dir = tempfile::Builder::new().prefix("amore-pg-").tempdir().map_err(|e| e.to_string())?.keep();
    // PostgreSQL refuses to run as root.
    let nobody = nix::unistd::geteuid().is_root().then_some(65534);
    if let Some(id) = nobody {
        chown(&dir, Some(id), Some(id)).map_err(|e| e.to_string())?;
    }
    // The shell outlives this process by as long as it takes to clean up: its standard input ends with us.
    let script = r#"
        trap '' INT TERM HUP
        cd "$2" || exit 1
        "$1/initdb" -D data -U amore -A trust -E UTF8 --locale=C --no-sync >log 2>&1 &&
        { "$1/postgres" -D data -k "$2" -c listen_addresses= -c fsync=off -c max_connections=200 >>log 2>&1 </dev/null &
          server=$!; }
        echo started
        read -r _
        [ -n "$server" ] && kill -QUIT "$server" && wait "$server"
        cd / && rm -rf "$2"
    "#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(&bin).arg(&dir).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(id) = nobody {
        shell.uid(id).gid(id);
    }
    let mut child = shell.spawn().map_err(|e| e.to_string())?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut word = [0; 1];
        let _ = tell.send(std::io::Read::read(&mut stdout, &mut word));
        // Kept open: the shell would die of writing to a closed pipe.
        thread::park();
    });
    told.recv_timeout(Duration::from_secs(120))
        .map_err(|e| format!("initdb: {e}"))?
        .map_err(|e| e.to_string())?;
    let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
    for _ in 0..1200 {
        // initdb writes to the same log, but never this.
        if log().contains("database system is ready to accept connections") {
            return Ok((format!("postgres://amore@localhost/postgres?host={}", dir.display()), child));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("PostgreSQL did not start: {}", log()))
}

/// The directory of a PostgreSQL's programs, the newest one's if there are several.
fn binaries() -> Option<PathBuf> {
    let complete = |dir: &Path| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|dir| complete(dir));
    // The programs find their libraries beside themselves, and not beside a link.
    let real = |dir: PathBuf| fs::canonicalize(dir.join("postgres")).ok()?.parent().map(Path::to_owned);
    on_path.and_then(real).or_else(|| {
        let version = |dir: &PathBuf| dir.file_name()?.to_str()?.parse::<u32>().ok();
        let mut versions: Vec<PathBuf> =
            fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(version);
        versions.into_iter().rev().map(|dir| dir.join("bin")).find(|dir| complete(dir))
    })
}
